sbatch --parsable --job-name=bad-partition --output=/dev/null --partition=nowhere
