    export JAX_COORDINATOR_ADDRESS=$MASTER_ADDR:$MASTER_PORT JAX_NUM_PROCESSES=$WORLD_SIZE JAX_PROCESS_ID=$RANK
{%- if gpus_per_process > 1 %}
    # JAX gives a process of Slurm one GPU if it is not told otherwise.
    JAX_LOCAL_DEVICE_IDS=$(seq -s , $((LOCAL_RANK * {{ gpus_per_process }})) $((LOCAL_RANK * {{ gpus_per_process }} + {{ gpus_per_process }} - 1)))
    export JAX_LOCAL_DEVICE_IDS
{%- endif %}
