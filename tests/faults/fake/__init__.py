"""A fake Slurm that misbehaves by a seed. README.md beside this tells of it."""
