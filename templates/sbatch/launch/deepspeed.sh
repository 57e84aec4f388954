# One launcher of DeepSpeed's per node, started by srun: what `deepspeed` itself starts over ssh. It needs no list of hosts.
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
    export NODE_RANK=$SLURM_NODEID LOCAL_WORLD_SIZE={{ processes_per_node }}
    # Behind as many words as the first one says comes what only the task knows.
    set -- "${@:2:$1}" --node_rank="$SLURM_NODEID" --world_info="$(ty_world_info)" "${@:$(($1 + 2))}"
{%- include "sbatch/launch/srun_task_end.sh" %}
{% include "sbatch/launch/srun_options.sh" %}
  local ty_deepspeed=(
{%- if container.is_none() %}
    "$ty_python"
{%- endif %}
    -m deepspeed.launcher.launch
    --master_addr="$MASTER_ADDR"
    --master_port="$MASTER_PORT"
  )
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" \
    $((${#ty_deepspeed[@]}{% if container.is_some() %} + ${#ty_inside[@]}{% endif %})) {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_deepspeed[@]}" "${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}

{% include "sbatch/launch/world_info.sh" %}
