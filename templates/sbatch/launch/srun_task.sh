    # This shell stays, to leave the exit code of the first task that fails. Signals are for the training alone.
    ty_failure=$1
    shift
    ty_leave() {
      ((${1%% *} == 0)) || (trap "" TERM && set -C && printf "%s\n" "$1" >"$ty_failure") 2>/dev/null
      exit "${1%% *}"
    }
    trap : HUP INT QUIT ALRM TERM USR1 USR2 XCPU XFSZ VTALRM PROF IO PWR
{%- if local_scratch.is_some() %}
    mkdir -p -- "$TRAINYARD_LOCAL_SCRATCH" || ty_leave "{{ launch_failed_exit }} cannot make the local scratch directory"
{%- else %}
    # Whoever knows the job number can be there first. What holds it on the first node may be missing on this one.
    [[ -d $TRAINYARD_LOCAL_SCRATCH ]] || mkdir -m 0700 -- "$TRAINYARD_LOCAL_SCRATCH" 2>/dev/null ||
      [[ -d $TRAINYARD_LOCAL_SCRATCH ]] || {
      TRAINYARD_LOCAL_SCRATCH=/tmp/${TRAINYARD_LOCAL_SCRATCH##*/}
      mkdir -m 0700 -- "$TRAINYARD_LOCAL_SCRATCH" 2>/dev/null
    }
    [[ -O $TRAINYARD_LOCAL_SCRATCH && ! -L $TRAINYARD_LOCAL_SCRATCH ]] ||
      ty_leave "{{ launch_failed_exit }} the local scratch directory is missing, or belongs to somebody else"
{%- endif %}
    # Slurm or its prologs may have set another one for the task.
    export TMPDIR=$TRAINYARD_LOCAL_SCRATCH
{%- if has_secrets %}
    # Read on each node, so that they travel with nothing. A line is NAME=VALUE as it is, and nothing in it is code.
    ty_secrets=$TRAINYARD_RUN_DIR/secrets.env
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
