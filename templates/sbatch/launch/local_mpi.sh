# mpirun, where there is one, starts the ranks on this machine. Which rank a process is, Open MPI, MPICH and Intel MPI tell in
# variables of their own.
ty_launch() {
  local ty_rank='
    export RANK=${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-${PMI_RANK:-}}}
    [[ -n $RANK ]] || { echo "trainyard: mpirun does not tell its processes their ranks" >&2; exit {{ launch_failed_exit }}; }
    export LOCAL_RANK=$RANK LOCAL_WORLD_SIZE=$WORLD_SIZE NODE_RANK=0
    exec -- "$@"'
  [[ -n $ty_mpirun ]] || ty_ranks
  # There may be more ranks than processors.
  export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  ty_start mpirun -n "$WORLD_SIZE" /bin/bash -c "$ty_rank" trainyard {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
}

{% include "sbatch/launch/local_ranks.sh" %}
