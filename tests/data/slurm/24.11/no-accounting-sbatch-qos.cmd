sbatch --parsable --qos=anything --output=/dev/null
