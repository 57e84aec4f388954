sbatch --parsable --job-name=too-many-nodes --output=/dev/null --nodes=9
