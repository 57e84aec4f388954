    # This shell stays, to leave the exit code of the first task that fails. Signals are for the training alone.
    ty_failure=$1 ty_host=$(uname -n) ty_held="" ty_child="" ty_recorder="" ty_watcher=""
    shift
    ty_leave() {
      ((${1%% *} == 0)) || (trap "" TERM && set -C && printf "%s\n" "$1" >"$ty_failure") 2>/dev/null
      # As the batch script does, for a training that was over at once.
      while [[ -n $ty_recorder ]] && ((SECONDS < 5)) && kill -0 "$ty_recorder" 2>/dev/null; do sleep 0.1; done
{%- if local_scratch.is_none() %}
      ty_release "$TRAINYARD_LOCAL_SCRATCH"
{%- else if stages %}
      ty_release "$ty_staged"
{%- endif %}
      [[ -z $ty_watcher ]] || kill -KILL "$ty_watcher" 2>/dev/null
      exit "${1%% *}"
    }
    trap : HUP INT QUIT ALRM TERM USR1 USR2 XCPU XFSZ VTALRM PROF IO PWR
    (ty_watch) </dev/null >/dev/null 2>&1 &
    ty_watcher=$!
    disown "$ty_watcher"
{%- if local_scratch.is_some() %}
{%- if scratch_of_node %}
    ty_first=$TRAINYARD_LOCAL_SCRATCH
    ty_find_scratch
    # What was copied lies elsewhere on this node.
    set -- "${@//"$ty_first"/"$TRAINYARD_LOCAL_SCRATCH"}"
    for ty_variable in "${!TRAINYARD_DATA_PATH@}"; do
      export "$ty_variable=${!ty_variable//"$ty_first"/"$TRAINYARD_LOCAL_SCRATCH"}"
    done
{%- if stages %}
    ty_staged=$TRAINYARD_LOCAL_SCRATCH/${ty_staged##*/}
{%- endif %}
{%- endif %}
    mkdir -p -- "$TRAINYARD_LOCAL_SCRATCH" || ty_leave "{{ launch_failed_exit }} cannot make the local scratch directory"
{%- if stages %}
    ty_hold "$ty_staged"
{%- endif %}
{%- else %}
    # Whoever knows the job number can be there first. What holds it on the first node may be missing on this one.
    [[ -d $TRAINYARD_LOCAL_SCRATCH ]] || mkdir -m 0700 -- "$TRAINYARD_LOCAL_SCRATCH" 2>/dev/null ||
      [[ -d $TRAINYARD_LOCAL_SCRATCH ]] || {
      TRAINYARD_LOCAL_SCRATCH=/tmp/${TRAINYARD_LOCAL_SCRATCH##*/}
      mkdir -m 0700 -- "$TRAINYARD_LOCAL_SCRATCH" 2>/dev/null
    }
    [[ -O $TRAINYARD_LOCAL_SCRATCH && ! -L $TRAINYARD_LOCAL_SCRATCH ]] ||
      ty_leave "{{ launch_failed_exit }} the local scratch directory is missing, or belongs to somebody else"
    ty_hold "$TRAINYARD_LOCAL_SCRATCH"
{%- endif %}
    # The batch script does the same on the first node.
    if [[ $SLURM_LOCALID == 0 && $SLURM_NODEID != 0 ]]; then
      (ty_record_node) </dev/null >/dev/null 2>&1 &
      ty_recorder=$!
      (ty_clear_left) </dev/null >/dev/null 2>&1 &
    fi
    # Slurm or its prologs may have set another one for the task.
    export TMPDIR=$TRAINYARD_LOCAL_SCRATCH
{%- if has_secrets %}
    # Read on each node, so that they travel with nothing. A line is NAME=VALUE as it is, and nothing in it is code.
    ty_secrets={{ files.shared_in_task }}/secrets.env
    if [[ $TRAINYARD_RUN_ID == 0 ]]; then
      ty_secrets=/dev/null
    elif ! { : <"$ty_secrets"; } 2>/dev/null; then
      ty_leave "{{ launch_failed_exit }} the secrets cannot be read"
    fi
{%- endif %}
{%- if let Some(container) = container %}
{%- if container.is_pyxis %}
    # This shell is in the container already.
    : >"$ty_failure.entered"
{%- endif %}
    export TRAINYARD_ENTERED=$TRAINYARD_LOCAL_SCRATCH/.entered.$SLURM_PROCID
    rm -f -- "$TRAINYARD_ENTERED"
{%- endif %}
