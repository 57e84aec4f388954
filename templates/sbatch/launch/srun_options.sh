  local ty_options=(
    --nodes="$ty_node_count"
{%- if launch.has_task_per_rank() %}
    --ntasks="$WORLD_SIZE"
    --ntasks-per-node={{ processes_per_node }}
{%- else %}
    --ntasks="$ty_node_count"
    --ntasks-per-node=1
{%- endif %}
    --distribution=block
    --kill-on-bad-exit=1
    --label
    --export=ALL
  )
  # Whether srun takes this from the job has changed from version to version.
  [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || ty_options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
{%- if !srun_args.is_empty() %}
  ty_options+=(
{%- for word in srun_args %}
    {{ word }}
{%- endfor %}
  )
{%- endif %}
{%- if let Some(container) = container %}{% if container.is_pyxis %}
  ty_options+=("${ty_container[@]}")
{%- endif %}{% endif %}
