sbatch --parsable --job-name=few-1 --output=/dev/null --qos=few --hold
