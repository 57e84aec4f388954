sbatch --parsable --job-name=refused --comment=reject-me --output=/dev/null
