ty_launch() { ty_ranks; }

# JAX knows no other way to be told of its process than to find itself in a cluster: it reads these, and starts nothing.
ty_jax() {
{% include "sbatch/launch/jax_rank.sh" %}
    export SLURM_JOB_ID=${ty_job_id#local-} SLURM_STEP_NODELIST=$ty_host SLURM_STEP_NUM_NODES=1 SLURM_NTASKS=$WORLD_SIZE
    export SLURM_PROCID=$RANK SLURM_LOCALID=$LOCAL_RANK
}

{% include "sbatch/launch/local_ranks.sh" %}
