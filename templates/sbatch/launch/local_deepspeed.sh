# DeepSpeed's launcher of one node, which starts the ranks.
ty_launch() {
  local ty_deepspeed=(
{%- if container.is_none() %}
    "$ty_python"
{%- endif %}
    -m deepspeed.launcher.launch
    --master_addr="$MASTER_ADDR"
    --master_port="$MASTER_PORT"
    --node_rank=0
    --world_info="$(ty_world_info)"
  )
  export NODE_RANK=0 LOCAL_WORLD_SIZE=$WORLD_SIZE
  ty_start {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_deepspeed[@]}" "${ty_command[@]}"
}

ty_forward() { kill -TERM "$ty_training" 2>/dev/null; }

{% include "sbatch/launch/world_info.sh" %}
