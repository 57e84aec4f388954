sbatch --parsable --job-name=bad-dependency --output=/dev/null --dependency=afterok:999999
