sbatch --parsable --job-name=bad-reservation --output=/dev/null --reservation=nothing
