sbatch --parsable --job-name=bad-gres --output=/dev/null --gres=quantum:1
