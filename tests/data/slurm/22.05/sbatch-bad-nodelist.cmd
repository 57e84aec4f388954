sbatch --parsable --job-name=bad-nodelist --output=/dev/null --nodelist=n9
