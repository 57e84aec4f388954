# --- Whether the nodes are there and find each other: ranks would wait for one that is missing until their patience ends

# Each node is asked by a task of its own, whether it knows the name under which all are to meet.
ty_meet() {
  local ty_reports ty_place=0 ty_node ty_lost='' ty_silent='' ty_said=''
  local ty_report='
    getent hosts "$1" >/dev/null || ty_lost=lost
    echo "node $SLURM_NODEID ${ty_lost:-there}"'
  local ty_options=(--nodes="$ty_node_count" --ntasks="$ty_node_count" --ntasks-per-node=1 --distribution=block --export=ALL)
{% include "sbatch/launch/srun_args.sh" %}
  ty_reports=$(timeout --kill-after=10 {{ report_seconds }} "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_report" trainyard "$MASTER_ADDR" 2>&1 </dev/null)
  ty_reports=$'\n'$ty_reports$'\n'
  for ty_node in $ty_nodes; do
    case $ty_reports in
      *$'\n'"node $ty_place there"$'\n'*) ;;
      *$'\n'"node $ty_place lost"$'\n'*) ty_lost+=" $ty_node" ;;
      *) ty_silent+=" $ty_node" ;;
    esac
    ty_place=$((ty_place + 1))
  done
  ty_end_if_signalled
  [[ -z $ty_lost ]] || ty_fail "the first node's name $MASTER_ADDR does not resolve on:$ty_lost"
  [[ -n $ty_silent ]] || return 0
  ty_said=${ty_reports%$'\n'}
  ty_said=${ty_said##*$'\n'}
  ty_fail "these nodes did not report in within {{ report_seconds }} s:$ty_silent${ty_said:+; srun said: $ty_said}"
}
