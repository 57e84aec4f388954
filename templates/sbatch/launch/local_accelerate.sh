# One `accelerate launch`, which starts the ranks.
ty_launch() {
  local ty_accelerate=(
    accelerate launch
    --num_machines=1
    --num_processes="$WORLD_SIZE"
    --main_process_ip="$MASTER_ADDR"
    --main_process_port="$MASTER_PORT"
    --machine_rank=0
    --rdzv_backend=static
    --max_restarts=0
  )
  # It would guess from the GPUs that it sees, or take the word of a file in the home directory.
  ((WORLD_SIZE == 1)) || ty_accelerate+=(--multi_gpu)
  export NODE_RANK=0 LOCAL_WORLD_SIZE=$WORLD_SIZE
  ty_start {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_accelerate[@]}" "${ty_command[@]}"
}

ty_forward() { kill -TERM "$ty_training" 2>/dev/null; }

{% include "sbatch/launch/agents_end.sh" %}
