sbatch --parsable --job-name=bad-time --output=/dev/null --time=never
