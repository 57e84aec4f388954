sbatch --parsable --job-name=submit-limit --output=/dev/null --account=limited
