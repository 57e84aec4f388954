# One agent, which starts the ranks.
ty_launch() {
  local ty_torchrun=(
    --nnodes=1
    --nproc-per-node={{ processes_per_node }}
    --max-restarts=0
    --rdzv-backend=c10d
    --rdzv-id="$ty_job_id.$ty_restart"
    --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT"
  )
  export NODE_RANK=0
  export TORCHELASTIC_ERROR_FILE=$TRAINYARD_RUN_DIR{{ files.logs }}/$TRAINYARD_ATTEMPT.error.0.json
  ty_start {% if container.is_some() %}"${ty_inside[@]}" {% endif %}torchrun "${ty_torchrun[@]}" "${ty_command[@]}"
}

ty_forward() { kill -TERM "$ty_training" 2>/dev/null; }

{% include "sbatch/launch/agents_end.sh" %}
