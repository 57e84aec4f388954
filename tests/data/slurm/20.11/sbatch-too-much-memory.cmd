sbatch --parsable --job-name=too-much-memory --output=/dev/null --mem=900G
