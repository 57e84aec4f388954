sbatch --parsable --account=anything --output=/dev/null
