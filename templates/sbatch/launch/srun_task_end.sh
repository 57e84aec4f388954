{%- if has_secrets %}
    (
      { set +xv; } 2>/dev/null
      while IFS= read -r ty_line; do export "${ty_line?}"; done <"$ty_secrets"
      exec -- "$@"
    )
{%- else %}
    (exec -- "$@")
{%- endif %}
{%- if container.is_some() %}
    ty_status=$?
    [[ $ty_status == 0 || -e $TRAINYARD_ENTERED ]] ||
      ty_status="{{ launch_failed_exit }} the container did not start on $(uname -n) (exit code $ty_status)"
    rm -f -- "$TRAINYARD_ENTERED"
    ty_leave "$ty_status"'
{%- else %}
    ty_leave "$?"'
{%- endif %}
