sbatch --parsable --job-name=limited-1 --output=/dev/null --account=limited --hold
