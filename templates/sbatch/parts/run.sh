# --- The training, from its start to its end

ty_run() {
  local ty_log=$ty_run_dir{{ files.logs }}/$ty_attempt.out
  { : >>"$ty_log"; } 2>/dev/null || ty_fail "cannot write the training's log $ty_log on $ty_host"
{%- if launch.uses_srun() %}
  ty_failure=$ty_run_dir{{ files.logs }}/$ty_attempt.failed.$ty_job_id.$ty_restart
{%- endif %}
  ty_end_if_signalled
  ty_state=launching
  ty_launch >>"$ty_log" 2>&1 &
  ty_training=$!
  ty_state=training
  [[ -z $ty_signal || $ty_signal == USR1 ]] || ty_forward "$ty_signal"
{%- if resume.is_some() %}
  ty_emit launched "$ty_resume_from"
{%- else %}
  ty_emit launched
{%- endif %}
{%- if watchdog.is_some() %}
  ty_watch_progress </dev/null >/dev/null 2>&1 &
  ty_watchdog=$!
{%- endif %}
  ty_wait
}

# `wait` is asked only for what has ended: a signal that comes while it waits can cost it the status of what ends at the
# same moment. Until then the script sleeps.
ty_wait() {
  ty_warned='' ty_answered='' ty_told=0
  ty_open_clock
  while kill -0 "$ty_training" 2>/dev/null; do
    ty_tell_warning
{%- if watchdog.is_some() %}
    ty_tell_hang
{%- endif %}
{%- if let Some(requeue) = requeue %}{% if requeue.by_script && requeue.at_limit %}
    ty_tell_limit
{%- endif %}{% endif %}
    ty_pause
  done
  ty_state=ended
  trap '' TERM INT HUP USR1
  ty_tell_warning
  wait "$ty_training"
  ty_code=$?
{%- if launch.uses_srun() %}
  ty_judge_tasks
{%- else if container.is_some() %}
  ty_judge_container
{%- endif %}
{%- if launch.has_elastic_agents() %}
  ty_judge_agents
{%- endif %}
{%- if watchdog.is_some() %}
  ty_judge_hang
{%- endif %}
  ty_settle
{%- if !is_sweep %}
  ty_say "the training ended with exit code $ty_code"
{%- endif %}
}

ty_open_clock() { exec {ty_clock}<> <(:); }

# Before 5.2 bash times `read` by SIGALRM, and never wakes up where that comes while it hears that a child ended, stopped or
# went on.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 502)); then
  ty_pause() { read -r -t 0.1 -u "$ty_clock"; }
else
  ty_pause() { sleep 0.2; }
fi
{%- if !epilogue.is_empty() %}
{%- for piece in epilogue %}

# shellcheck disable=all
site_epilogue{% if epilogue.len() > 1 %}_{{ loop.index }}{% endif %}() {
{{ piece }}
}
{%- endfor %}

# The training's exit code stands, whatever happens here.
ty_epilogue() {
{%- for piece in epilogue %}
  ty_outside "the site's epilogue" site_epilogue{% if epilogue.len() > 1 %}_{{ loop.index }}{% endif %} ||
    ty_say "the site's epilogue ended with status $?"
{%- endfor %}
}
{%- endif %}
