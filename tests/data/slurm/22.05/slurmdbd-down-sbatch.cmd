sbatch --parsable --job-name=slurmdbd-down --output=/dev/null
