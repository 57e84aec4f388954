sbatch --parsable --job-name=frozen --output=/dev/null
