# --- Started again by Slurm

# Slurm knows no limit, nor whether the training was done when it took the job back; and nobody else may be there who stops
# it.
ty_check_restart() {
  local ty_line=''
  ((ty_restart > 0)) || return 0
  { read -r ty_line <"$ty_run_dir{{ files.exits }}/$((ty_attempt - 1)).json"; } 2>/dev/null
  if [[ $ty_line == *"\"token\":\"$ty_token\","*',"event":"ended",'*',"exit_code":0,"reason":null,'* ]]; then
    ty_code=0 ty_message='the training was done before Slurm started the job again'
    ty_say "$ty_message"
    exit 0
  fi
  ((ty_restart > {{ requeue.max_restarts }})) || return 0
  ty_message='restarted more than {{ requeue.max_restarts }} times'
  ty_say "$ty_message"
  ty_code={{ launch_failed_exit }} ty_reason=stopped_by_policy
  exit "$ty_code"
}
{%- if requeue.by_script %}

# The script itself asks for the next start, so that a training goes on from job to job also while no daemon lives. This is
# the last thing it does. What ended with 0 is done.
ty_come_back() {
  ((ty_code != 0)) || return 0
  [[ -z $ty_asker ]] || ! wait "$ty_asker" || return 0
  if ty_has_saved{% if requeue.at_limit %} || ty_is_at_limit{% endif %}; then ty_ask_back; fi
}

ty_has_saved() {
  [[ -z $ty_reason || $ty_reason == hung ]] || return 1
{%- if requeue.codes.is_empty() %}
  return 1
{%- else %}
  case $ty_code in
    {{ requeue.codes }}) return 0 ;;
  esac
  return 1
{%- endif %}
}
{%- if requeue.at_limit %}

# A training that its time limit ends may take all the time until the script is killed with it, so that is asked at once.
ty_tell_limit() {
  [[ $ty_signal == TERM && -z $ty_asker ]] || return 0
  (
    trap '' TERM INT HUP USR1
    trap - EXIT
    ty_is_at_limit && ty_ask_back
  ) </dev/null &
  ty_asker=$!
}

# Whoever cancels the job sends the same signal. By then Slurm tells why.
ty_is_at_limit() {
  [[ $ty_signal == TERM ]] || return 1
  [[ $(timeout -k 5 {{ requeue.answer_seconds }} squeue --noheader --job "$ty_slurm_job" --format=%r 2>/dev/null) == TimeLimit ]]
}
{%- endif %}

ty_ask_back() {
  if ((ty_restart >= {{ requeue.max_restarts }})); then
    ty_say 'the job has been started again as often as it may be'
    return 1
{%- if resume.is_some() %}
  elif ! (ty_is_further); then
    ty_say 'the job is not requeued: it has left no newer complete checkpoint than it began from'
    return 1
{%- endif %}
  elif ! timeout -k 5 {{ requeue.answer_seconds }} scontrol requeue "$ty_slurm_job" </dev/null; then
    ty_say 'Slurm does not requeue the job'
    return 1
  fi
  ty_say 'Slurm starts the job again'
}
{%- if resume.is_some() %}

# Called in a subshell: a search takes only what is newer than what is known.
ty_is_further() {
  local ty_from=$ty_resume_from ty_since=$ty_resume_time
  ty_find_checkpoint
  [[ $ty_resume_from != "$ty_from" ]] || ((ty_resume_time > ty_since))
}
{%- endif %}
{%- endif %}
