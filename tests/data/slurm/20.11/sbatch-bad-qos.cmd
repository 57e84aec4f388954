sbatch --parsable --job-name=bad-qos --output=/dev/null --qos=nobody
