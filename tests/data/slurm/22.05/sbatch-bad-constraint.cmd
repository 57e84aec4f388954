sbatch --parsable --job-name=bad-constraint --output=/dev/null --constraint=nothing
