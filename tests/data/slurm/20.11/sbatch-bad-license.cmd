sbatch --parsable --job-name=bad-license --output=/dev/null --licenses=nothing:1
