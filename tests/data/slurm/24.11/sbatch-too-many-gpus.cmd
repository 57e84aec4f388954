sbatch --parsable --job-name=too-many-gpus --output=/dev/null --gpus-per-node=3
