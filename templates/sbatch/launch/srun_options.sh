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
{% include "sbatch/launch/srun_args.sh" %}
{%- if let Some(container) = container %}{% if container.is_pyxis %}
  ty_options+=("${ty_container[@]}")
{%- endif %}{% endif %}
