    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE={{ processes_per_node }} NODE_RANK=$SLURM_NODEID
    [[ ${SLURM_STEP_NUM_TASKS:-$WORLD_SIZE} == "$WORLD_SIZE" ]] ||
      ty_leave "{{ launch_failed_exit }} srun started $SLURM_STEP_NUM_TASKS tasks for a world of $WORLD_SIZE"
