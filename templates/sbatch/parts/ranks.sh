# --- A log of each rank, beside that of all

# What becomes the rank, after it has started what copies its output. That must be no child of it, which it might wait for,
# and hears none of the signals that end others: it ends when nobody is left who could write to it.
ty_rank_log='
  ty_rank=${RANK:-0}
  ty_pipe=${TRAINYARD_LOCAL_SCRATCH:-/tmp}/.rank.$ty_rank.$$
  ty_own=$TRAINYARD_RUN_DIR{{ files.logs }}/$TRAINYARD_ATTEMPT.rank$ty_rank.out
  if command -v tee >/dev/null && : >>"$ty_own" && mkfifo -m 600 "$ty_pipe"; then
    (
      trap "" HUP INT QUIT TERM USR1 USR2
      tee -a "$ty_own" <"$ty_pipe" &
    )
    exec >"$ty_pipe" 2>&1
    rm -f "$ty_pipe"
  else
    echo "trainyard: rank $ty_rank has no log of its own" >&2
  fi
  unset ty_rank ty_pipe ty_own
{%- if is_python %}
  if command -v python >/dev/null; then set -- python{% if agent.is_some() %} -u{% endif %} "$@"; else set -- python3{% if agent.is_some() %} -u{% endif %} "$@"; fi
{%- if launch.is_deepspeed() %}
  set -- "$@" --local_rank="$LOCAL_RANK"
{%- endif %}
{%- endif %}
  exec "$@"'
