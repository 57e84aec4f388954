sbatch --parsable --job-name=accepted --output=/dev/null
