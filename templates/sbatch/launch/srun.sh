# One task per rank. What each does first is expanded in the task, where Slurm has said which one it is.
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE={{ processes_per_node }} NODE_RANK=$SLURM_NODEID
{%- include "sbatch/launch/srun_task_end.sh" %}
  local ty_options=(
    --nodes="$ty_node_count"
    --ntasks="$WORLD_SIZE"
    --ntasks-per-node={{ processes_per_node }}
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
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}
