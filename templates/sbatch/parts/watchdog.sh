# --- The watchdog: a training whose log, metrics and checkpoints stand still is ended

# It looks from a process of its own, since it may hang on a file system; that ends with 3 when nothing has changed for too
# long.
ty_watch_progress() {
  local ty_before='' ty_now ty_since=$SECONDS ty_clock
  trap - TERM INT HUP USR1 EXIT
  exec {ty_clock}<> <(:)
  while :; do
    # Of the checkpoints only the directories are looked at: there may be a million files in them.
    ty_now=$(
      stat -c '%n %s %y' -- "$ty_run_dir{{ files.logs }}/$ty_attempt".* "$TRAINYARD_METRICS_PATH" 2>/dev/null
      find "$TRAINYARD_CHECKPOINT_DIR" -maxdepth {{ watchdog.depth_max }} -type d -printf '%T@ %p\n' 2>/dev/null | cksum
    )
    # A look that failed has not seen that nothing changed.
    if [[ $ty_now != "$ty_before" || $ty_now != *"$ty_log "* ]]; then
      ty_before=$ty_now ty_since=$SECONDS
    elif ((SECONDS - ty_since >= {{ watchdog.seconds }})); then
      return 3
    fi
    read -r -t {{ watchdog.tick_seconds }} -u "$ty_clock"
  done
}

# Called again and again while the training runs. What hangs is looked at first, then asked to end, and then killed.
ty_tell_hang() {
  local ty_found
  if [[ -n $ty_watchdog ]]; then
    ! kill -0 "$ty_watchdog" 2>/dev/null || return 0
    wait "$ty_watchdog"
    ty_found=$?
    ty_watchdog=''
    ((ty_found == 3)) || return 0
    ty_reason=hung
    ty_message="no line of its log, no metric and no checkpoint for {{ watchdog.words }}"
    ty_say "$ty_message: the training is ended"
    ty_hang=looked_at ty_hang_until=$((SECONDS + {{ watchdog.look_seconds }}))
    mkdir -p -- "$ty_run_dir{{ files.logs }}/$ty_attempt.stacks" 2>/dev/null
    ty_take_stacks
  elif [[ -n $ty_hang ]] && ((SECONDS >= ty_hang_until)); then
    if [[ $ty_hang == looked_at ]]; then
      ty_hang=asked ty_hang_until=$((SECONDS + {{ watchdog.kill_wait_seconds }}))
      ty_forward HUNG
    else
      ty_hang_until=$((SECONDS + 10))
      ty_kill
    fi
  fi
}

# A training that was done in the last moment is done; what ends with 0 because it was asked to end is not.
ty_judge_hang() {
  [[ -z $ty_watchdog ]] || kill -KILL "$ty_watchdog" 2>/dev/null
  [[ -n $ty_hang && $ty_code == 0 ]] || return 0
  if [[ $ty_hang == looked_at ]]; then
    ty_reason='' ty_message=''
  else
    ty_code=143
  fi
}

# ty_find_below PID: puts it and all that descends from it into the caller's ty_tree.
ty_find_below() {
  local ty_children=() ty_index=0
  ty_find_children
  ty_tree=("$1")
  while ((ty_index < ${#ty_tree[@]})); do
    # shellcheck disable=SC2206 # numbers
    ty_tree+=(${ty_children[ty_tree[ty_index++]]:-})
  done
}

# ty_stacks_below PID: what each process from PID on waits for, into files of its own.
ty_stacks_below() {
  local ty_tree=() ty_pid ty_stacks=$TRAINYARD_RUN_DIR{{ files.logs }}/$TRAINYARD_ATTEMPT.stacks
  mkdir -p -- "$ty_stacks"
  ty_find_below "$1"
  for ty_pid in "${ty_tree[@]:0:200}"; do
    ty_stack "$ty_pid" >"$ty_stacks/$(uname -n).$ty_pid.txt"
  done
} 2>/dev/null

# ty_stack PID: py-spy tells the lines of a Python program, where it is there and may look.
ty_stack() {
  printf '%s\n' "$(tr '\0' ' ' <"/proc/$1/cmdline")"
  grep -E '^(Name|State|Threads|VmRSS):' "/proc/$1/status"
  printf 'Waits in: %s\n' "$(cat "/proc/$1/wchan")"
  ! command -v py-spy >/dev/null || timeout -k 2 10 py-spy dump --nonblocking --pid "$1"
}
{%- if launch.uses_srun() %}

# On all nodes, by what stands beside each task.
ty_take_stacks() { scancel --quiet --signal=URG "$ty_slurm_job" & }

# scancel would end the whole job. srun kills the tasks at once when it is told to end; a job's end ends what is left.
ty_kill() {
  kill -"$ty_srun_signal" "$ty_training" 2>/dev/null
  ty_srun_signal=KILL
}
{%- else %}

ty_take_stacks() { ty_stacks_below "$ty_training" & }

ty_kill() {
  local ty_tree=()
  ty_find_below "$ty_training"
  kill -KILL "${ty_tree[@]}" 2>/dev/null
}
{%- endif %}
