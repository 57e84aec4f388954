# The ranks as processes of this machine. The first that fails decides the exit code and takes the others with it.
ty_ranks() {
  local ty_pids=() ty_rank ty_failed=0 ty_deadline='' ty_told=''
  trap 'ty_told=1; ty_tell_ranks TERM' TERM
  for ((ty_rank = 0; ty_rank < WORLD_SIZE; ty_rank++)); do
    (
      trap - TERM
      export RANK=$ty_rank LOCAL_RANK=$ty_rank LOCAL_WORLD_SIZE=$WORLD_SIZE NODE_RANK=0
{%- if launch.is_jax() %}
      ty_jax
{%- endif %}
      ty_start {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
    ) &
    ty_pids+=("$!")
  done
  [[ -z $ty_told ]] || ty_tell_ranks TERM # it may have come before all were known
  ty_open_clock
  while ((${#ty_pids[@]} > 0)); do
    ty_pause
    ty_gather_ranks
    ((ty_failed == 0)) || ty_end_ranks
  done
  exit "$ty_failed"
}

# Takes the ranks that have ended out of the list.
ty_gather_ranks() {
  local ty_pid ty_status ty_running=()
  for ty_pid in "${ty_pids[@]}"; do
    if kill -0 "$ty_pid" 2>/dev/null; then
      ty_running+=("$ty_pid")
      continue
    fi
    wait "$ty_pid"
    ty_status=$?
    # Above 128 it may be the trap's. Asked again, bash tells the rank's own.
    if ((ty_status > 128)); then
      wait "$ty_pid"
      ty_status=$?
    fi
    ((ty_failed != 0)) || ty_failed=$ty_status
  done
  ty_pids=(${ty_running[@]+"${ty_running[@]}"})
}

# The others would wait for the one that failed: SIGTERM, and SIGKILL when that has not helped for 10 seconds. Where the
# whole job was told to end, they have as long as the job has.
ty_end_ranks() {
  if [[ -z $ty_deadline && -z $ty_told ]]; then
    ty_tell_ranks TERM
    ty_deadline=$((SECONDS + 10))
  elif [[ -n $ty_deadline ]] && ((SECONDS > ty_deadline)); then
    ty_tell_ranks KILL
  fi
}

ty_tell_ranks() { ((${#ty_pids[@]} == 0)) || kill "-$1" "${ty_pids[@]}" 2>/dev/null; }

ty_forward() { kill -TERM "$ty_training" 2>/dev/null; }
