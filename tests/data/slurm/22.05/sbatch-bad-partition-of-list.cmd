sbatch --parsable --job-name=bad-partition-of-list --output=/dev/null --partition=main,nowhere
