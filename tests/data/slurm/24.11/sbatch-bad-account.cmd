sbatch --parsable --job-name=bad-account --output=/dev/null --account=nobody
