sbatch --parsable --job-name=bad-option --output=/dev/null --no-such-option
