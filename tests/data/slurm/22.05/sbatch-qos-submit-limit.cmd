sbatch --parsable --job-name=qos-submit-limit --output=/dev/null --qos=few
