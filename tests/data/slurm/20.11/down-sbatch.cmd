sbatch --parsable --job-name=down --output=/dev/null
