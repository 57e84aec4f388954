  # Whether srun takes this from the job has changed from version to version.
  [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || ty_options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
{%- if !srun_args.is_empty() %}
  ty_options+=(
{%- for word in srun_args %}
    {{ word }}
{%- endfor %}
  )
{%- endif %}
