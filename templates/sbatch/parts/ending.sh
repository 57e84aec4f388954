# --- Ending: every way this script can end comes through ty_finish

# How things stand. The environment may hold the same names, so each is given its value here.
ty_begin() {
  ty_state=starting # then launching, training, ended
  ty_phase=''       # whose code is running, if not ours
  ty_code=''        # what the script will exit with, once that is known
  ty_reason=''
  ty_message=''
  ty_signal=''      # the last one that came
  ty_token=''       # stays empty when submitted by hand
  ty_claimed=''
  ty_own_scratch=''
  ty_held=''
{%- if stages %}
  ty_staged=''
{%- endif %}
  ty_recorder=''
{%- if let Some(requeue) = requeue %}{% if requeue.by_script %}
  ty_asker=''
{%- endif %}{% endif %}
{%- if watchdog.is_some() %}
  ty_watchdog=''
  ty_hang=''        # then looked_at, asked
  ty_hang_until=0
{%- if launch.uses_srun() %}
  ty_srun_signal=TERM
{%- endif %}
{%- endif %}
{%- if resume.is_some() %}
  ty_resume_from='' # a fresh start
  ty_resume_step=''
  ty_resume_time=0
{%- endif %}
}

# The shell as this script expects it; called again after all code that is not the script's own.
ty_settle() {
  set +eCf
  set -u
  shopt -u nocasematch
  IFS=$' \t\n'
  trap ty_finish EXIT
  trap 'ty_signalled TERM' TERM
  trap 'ty_signalled INT' INT
  trap 'ty_signalled HUP' HUP
  trap 'ty_signalled USR1' USR1
}

ty_say() { printf 'trainyard: %s\n' "$1" >&2; }

# ty_fail MESSAGE: the training cannot be started.
ty_fail() {
  ty_say "$1"
  ty_code={{ launch_failed_exit }} ty_reason=launch_failed ty_message=$1
  exit "$ty_code"
}

# ty_outside WHAT COMMAND...: runs code that is not the script's own. When it ends the whole script, that is told.
ty_outside() {
  local ty_status
  ty_phase=$1
  set +eu
  "${@:2}"
  ty_status=$?
  ty_settle
  ty_phase=''
  ty_end_if_signalled
  return "$ty_status"
}

ty_finish() {
  local ty_status=$?
  trap '' TERM INT HUP USR1
  trap - EXIT
  set +eCf
  if [[ -z $ty_code ]]; then
    ty_code={{ launch_failed_exit }} ty_reason=launch_failed
    ty_message="${ty_phase:-an error of the script itself} ended the script (exit code $ty_status)"
    ty_say "$ty_message"
  fi
  ty_end_record
  [[ -z $ty_token ]] || ty_emit_end
{%- if stages %}
  [[ -z $ty_staged ]] || ty_unstage
{%- endif %}
  [[ -z $ty_own_scratch ]] || ty_remove "$ty_own_scratch"
{%- if is_sweep %}
  [[ -z $ty_claimed ]] || ty_tidy
{%- endif %}
{%- if let Some(requeue) = requeue %}{% if requeue.by_script %}
  [[ $ty_state != ended ]] || ty_come_back
{%- endif %}{% endif %}
  exit "$ty_code"
}

# ty_signalled SIGNAL: the traps. They may run in the midst of anything, so they only note and pass on: a trap that itself
# substitutes commands can break the substitution that it interrupted. SIGUSR1 is the warning before the end: it asks for
# none, and ty_wait passes it on.
ty_signalled() {
  ty_signal=$1
  # For a training that looks for a file instead of catching signals.
  [[ -z ${TRAINYARD_STOP_FILE:-} ]] || { : >"$TRAINYARD_STOP_FILE"; } 2>/dev/null
  [[ $ty_state != training || $1 == USR1 ]] || ty_forward "$1"
}

# Before there is a training, the end that a signal asks for comes at the next good place.
ty_end_if_signalled() {
  [[ $ty_state == starting && -n $ty_signal ]] || return 0
  ty_message="SIG$ty_signal came before the training was started"
  ty_code=$((128 + $(kill -l "$ty_signal")))
  ty_say "$ty_message"
  exit "$ty_code"
}
