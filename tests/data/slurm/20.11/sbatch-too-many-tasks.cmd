sbatch --parsable --job-name=too-many-tasks --output=/dev/null --array=0-1001
