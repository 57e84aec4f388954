sbatch --parsable --job-name=test-only --output=/dev/null --test-only --nodes=2
