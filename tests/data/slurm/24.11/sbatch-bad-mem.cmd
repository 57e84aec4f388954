sbatch --parsable --job-name=bad-mem --output=/dev/null --mem=much
