sbatch --parsable --job-name=limited-2 --output=/dev/null --account=limited --hold
