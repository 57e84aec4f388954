# One `accelerate launch` per node, started by srun; each starts its node's ranks, and numbers them after its own number.
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
    export NODE_RANK=$SLURM_NODEID LOCAL_WORLD_SIZE={{ processes_per_node }}
    # Behind as many words as the first one says comes what only the task knows.
    set -- "${@:2:$1}" --machine_rank="$SLURM_NODEID" "${@:$(($1 + 2))}"
{%- include "sbatch/launch/srun_task_end.sh" %}
{% include "sbatch/launch/srun_options.sh" %}
  local ty_accelerate=(
    accelerate launch
    --num_machines="$ty_node_count"
    --num_processes="$WORLD_SIZE"
    --main_process_ip="$MASTER_ADDR"
    --main_process_port="$MASTER_PORT"
    --rdzv_backend=static
    --max_restarts=0
  )
  # It would guess from the GPUs that it sees, or take the word of a file in the home directory.
  ((WORLD_SIZE == 1)) || ty_accelerate+=(--multi_gpu)
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" \
    $((${#ty_accelerate[@]}{% if container.is_some() %} + ${#ty_inside[@]}{% endif %})) {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_accelerate[@]}" "${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}

{% include "sbatch/launch/agents_end.sh" %}
