sbatch --parsable --job-name=bad-gpu-type --output=/dev/null --gpus-per-node=h100:1
