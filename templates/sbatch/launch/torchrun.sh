# One agent per node, started by srun; each agent starts its node's ranks. What is done first is expanded in the task.
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
    export NODE_RANK=$SLURM_NODEID
    export TORCHELASTIC_ERROR_FILE=$TRAINYARD_RUN_DIR{{ files.logs }}/$TRAINYARD_ATTEMPT.error.$SLURM_NODEID.json
{%- include "sbatch/launch/srun_task_end.sh" %}
{% include "sbatch/launch/srun_options.sh" %}
  local ty_torchrun=(
    --nnodes="$ty_node_count"
    --nproc-per-node={{ processes_per_node }}
    --max-restarts=0
    --rdzv-backend=c10d
    --rdzv-id="$ty_job_id.$ty_restart"
    --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"
    --rdzv-conf="join_timeout=600,timeout=600"
  )
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" \
    {% if container.is_some() %}"${ty_inside[@]}" {% endif %}torchrun "${ty_torchrun[@]}" "${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}

{% include "sbatch/launch/agents_end.sh" %}
