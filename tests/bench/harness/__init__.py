"""What the benchmarks share: worlds, a Slurm, copies of runs, figures and the table."""
