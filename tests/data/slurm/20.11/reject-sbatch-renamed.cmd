sbatch --parsable --job-name=renamed --output=/dev/null
