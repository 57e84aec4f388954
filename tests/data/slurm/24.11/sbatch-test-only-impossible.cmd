sbatch --parsable --job-name=test-only-impossible --output=/dev/null --test-only --nodes=9 --gpus-per-node=7
