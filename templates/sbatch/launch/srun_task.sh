
    # The shell stays, to leave the exit code of the first task that fails. Signals are for the training alone.
    ty_failure=$1
    shift
    trap : HUP INT QUIT ALRM TERM USR1 USR2
    "$@"
    ty_status=$?
    ((ty_status == 0)) || (set -C && printf "%s\n" "$ty_status" >"$ty_failure") 2>/dev/null
    exit "$ty_status"