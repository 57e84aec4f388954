# --- The warning before the end: a file that appears, and a signal for those processes of the training that catch it

# Puts into the caller's ty_children, by process, what it has started.
ty_find_children() {
  local ty_path ty_text ty_parent
  ty_children=()
  for ty_path in /proc/[0-9]*; do
    ty_text=''
    { IFS= read -r -d '' ty_text <"$ty_path/stat"; } 2>/dev/null
    ty_text=${ty_text##*) } # the name before may hold anything
    ty_text=${ty_text#* }
    ty_parent=${ty_text%% *}
    [[ -z $ty_parent ]] || ty_children[ty_parent]="${ty_children[ty_parent]:-} ${ty_path#/proc/}"
  done
}

# ty_warn_below PID: sends the signal to PID and what descends from it, where there is a handler for it: it would end whoever
# has none. Puts into ty_told how many there were.
ty_warn_below() {
  local ty_children=() ty_words ty_name ty_caught
  ty_told=0
  ty_find_children
  ty_look_at "$$"
  ty_warn_tree "$1" "$ty_caught" "$ty_words"
}

# ty_warn_tree PID CAUGHT WORDS: the last two are its parent's. A fork that goes on with its parent's program, such as a data
# loader's worker, has the handler only because it inherited it, and the parent knows what is to be done.
ty_warn_tree() {
  local ty_child ty_words ty_name ty_caught
  ty_look_at "$1"
  if ty_is_prepared && ! { (($2 >> {{ warn_signal.number() - 1 }} & 1)) && [[ $3 == "$ty_words" ]]; }; then
    kill -{{ warn_signal }} "$1" 2>/dev/null && ((++ty_told))
  fi
  for ty_child in ${ty_children[$1]:-}; do
    ty_warn_tree "$ty_child" "$ty_caught" "$ty_words"
  done
}

# ty_look_at PID: puts into ty_name what it is called, into ty_words the command line, a word in a line, and into ty_caught
# the signals that it has handlers for.
ty_look_at() {
  local ty_key ty_value ty_count=0
  ty_words='' ty_name='' ty_caught=0
  while IFS= read -r -d '' ty_value && ((ty_count++ < 30)); do
    ty_words+=${ty_value:0:500}$'\n'
  done <"/proc/$1/cmdline"
  while IFS=$':\t' read -r ty_key ty_value; do
    case $ty_key in
      Name) ty_name=$ty_value ;;
      SigCgt) ty_caught=$((0x$ty_value)) ;;
    esac
  done <"/proc/$1/status"
} 2>/dev/null

# Whether the process that was looked at has a handler of its own, and not one that ends or passes on whatever it hears.
ty_is_prepared() {
  ((ty_caught >> {{ warn_signal.number() - 1 }} & 1)) || return 1
  case $ty_name in
    srun | mpirun | mpiexec* | orterun | prterun | prte* | orted | hydra* | pmi_proxy) return 1 ;;
    torchrun | accelerate | deepspeed | starter* | apptainer | singularity | ch-run | enroot* | timeout) return 1 ;;
    # With a trap on EXIT bash catches all that would end it, SIGVTALRM too, and ends.
    bash | sh) ((!(ty_caught >> 25 & 1))) || return 1 ;;
  esac
  case $ty_words in
    */torchrun$'\n'* | */accelerate$'\n'* | */deepspeed$'\n'*) return 1 ;;
    *$'\n-m\n'torch.distributed.* | *$'\n-m\n'accelerate.commands.* | *$'\n-m\n'deepspeed.launcher.*) return 1 ;;
  esac
}

# A training of which no process has a handler may still look for the file, and is given some seconds for it. Then that is
# told: nobody has to wait for it any longer.
ty_tell_warning() {
  [[ -n $ty_signal ]] || return 0
  if [[ -z $ty_warned ]]; then
    ty_warned=$SECONDS
    [[ $ty_signal != USR1 ]] || ty_warn_training
    ty_emit warned "SIG$ty_signal"
  elif [[ $ty_signal == USR1 && -z $ty_answered ]] && ((SECONDS - ty_warned >= 10)); then
    ty_answered=1
    ty_is_heard || ty_emit unheard
  fi
}
{%- if launch.uses_srun() %}

# On all nodes, by what stands beside each task. SIGURG does nothing to whoever does not wait for it.
ty_warn_training() {
  local ty_try
  for ty_try in 1 2 3; do
    ! timeout -k 5 20 scancel --quiet --signal=URG "$ty_slurm_job" || return
    sleep "$ty_try"
  done </dev/null &
}

# The name is not looked up before: NFS would remember that it was not there.
ty_is_heard() { [[ -e $ty_failure.heard ]]; }

# ty_watch: beside the training of a task, until it is to be warned.
ty_watch() {
  local ty_warning='' ty_clock ty_told
  trap : HUP INT QUIT ALRM USR1 USR2
  trap 'ty_warning=1' URG
  # Where preemption leaves some time, only the tasks are told.
  trap '{ : >"$TRAINYARD_STOP_FILE"; } 2>/dev/null' TERM
  exec {ty_clock}<> <(:)
  [[ ! -e $TRAINYARD_STOP_FILE ]] || ty_warning=1
{%- if watchdog.is_some() %}
  while :; do
    if [[ -n $ty_warning && -d $TRAINYARD_RUN_DIR{{ files.logs }}/$TRAINYARD_ATTEMPT.stacks ]]; then
      ty_stacks_below "$$"
      return
    elif [[ -n $ty_warning ]]; then
      ty_warning=''
      ty_warn_below "$$"
      ((ty_told == 0)) || : >"$ty_failure.heard"
    fi
    read -r -t 2 -u "$ty_clock"
    (($? > 128)) || [[ -n $ty_warning ]] || return
  done
{%- else %}
  while [[ -z $ty_warning ]]; do
    read -r -t 2 -u "$ty_clock"
    (($? > 128)) || return
  done
  ty_warn_below "$$"
  ((ty_told == 0)) || : >"$ty_failure.heard"
{%- endif %}
}
{%- else %}

ty_warn_training() { ty_warn_below "$ty_training"; }

ty_is_heard() { ((ty_told > 0)); }
{%- endif %}
