# ty_forward SIGNAL: srun answers SIGTERM by killing the tasks at once, so it is never sent one. A SIGTERM from Slurm has
# reached the tasks already; what reached only this script is passed on to them, as SIGTERM.
ty_forward() {
  [[ $1 == TERM ]] || scancel --quiet --signal=TERM "$ty_slurm_job" &
}

# srun tells the highest exit code of all tasks: where one failed, that of another which was ended for it. The first counts.
ty_judge_tasks() {
  local ty_first='' ty_why=''
  # The name is this start's own and is not looked up before: NFS would remember that it was not there.
  { read -r ty_first ty_why <"$ty_failure"; } 2>/dev/null
  rm -f -- "$ty_failure" "$ty_failure.heard"
{%- if let Some(container) = container %}{% if container.is_pyxis %}
  if ((ty_code != 0)) && [[ -z $ty_first && ! -e $ty_failure.entered ]]; then
    ty_code={{ launch_failed_exit }} ty_reason=launch_failed
    ty_message="the container did not start on any node; the training's log has what srun said"
  fi
  rm -f -- "$ty_failure.entered"
{%- endif %}{% endif %}
  [[ -n $ty_first && $ty_first != *[!0-9]* ]] || return 0
  ty_code=$ty_first
  [[ -z $ty_why ]] || ty_reason=launch_failed ty_message=$ty_why
}
