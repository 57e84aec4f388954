# --- Which run this is, and whether it is ours

ty_identify() {
  local ty_name ty_pattern='(^|[^0-9])([0-9]+-[a-z0-9][a-z0-9._-]*){% if is_sweep %}@([0-9]{1,9}){% endif %}\.([0-9]{1,9})\.(ty[a-z2-7]{20})'
  ty_run_root={{ run_root }}
  ty_host=$(uname -n)
  ty_index=0
{%- if on_slurm %}
  [[ -n ${SLURM_JOB_ID:-} ]] || ty_fail "this script is for Slurm: submit it with sbatch"
  ty_name=${SLURM_JOB_NAME:-}
  ty_job_id=$SLURM_JOB_ID
  ty_restart=${SLURM_RESTART_COUNT:-0}
  # An array's last task has the array's own number; only both numbers together say which task it is.
  ty_slurm_job=$SLURM_JOB_ID
  [[ -z ${SLURM_ARRAY_JOB_ID:-} || -z ${SLURM_ARRAY_TASK_ID:-} ]] ||
    ty_slurm_job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  ty_job={{ cluster }}:$ty_slurm_job
{%- else %}
  ty_name=${TRAINYARD_JOB_NAME:-}
  ty_job_id=${TRAINYARD_JOB_ID:-}
  ty_restart=0
  ty_job={{ cluster }}:$ty_job_id
  unset TRAINYARD_JOB_NAME TRAINYARD_JOB_ID # this script started by the training would be another job
{%- endif %}
  unset TRAINYARD_STOP_FILE # that of a run in which this one was submitted
  # Plugins of the site may have added words before and after.
  if ! [[ $ty_name =~ $ty_pattern ]]; then
{%- if is_sweep %}
    ty_fail "this script is for the points of a sweep, and only Trainyard says for which one: submit the sweep's spec, or what \`trainyard render SPEC --point N\` gives"
{%- else %}
    ty_by_hand
    return
{%- endif %}
  fi
{%- if !on_slurm %}
  [[ -n $ty_job_id && $ty_job_id != *[!0-9]* ]] || ty_fail "TRAINYARD_JOB_ID is no number: '$ty_job_id'"
{%- endif %}
{%- if is_sweep %}
{%- if on_slurm %}
  ty_index=${SLURM_ARRAY_TASK_ID:-}
  [[ -n $ty_index && $ty_index != *[!0-9]* ]] || ty_fail "this job is of no array: SLURM_ARRAY_TASK_ID is '$ty_index'"
{%- endif %}
  ty_token=${BASH_REMATCH[5]}_$ty_index
  ty_attempt=$((10#${BASH_REMATCH[4]} + ty_restart))
  ty_point=$((10#${BASH_REMATCH[3]} + ty_index))
  ty_sweep_id=${BASH_REMATCH[2]%%-*}
  ty_sweep_dir=$ty_run_root/${BASH_REMATCH[2]}
  ty_run_dir=$ty_sweep_dir/{{ files.points_folder }}/$ty_point
}
{%- else %}
  ty_token=${BASH_REMATCH[4]}
  ty_attempt=$((10#${BASH_REMATCH[3]} + ty_restart))
  ty_run_id=${BASH_REMATCH[2]%%-*}
  ty_run_dir=$ty_run_root/${BASH_REMATCH[2]}
}

# Submitted by hand: no claim, no events, a directory for this job alone.
ty_by_hand() {
{%- if code.is_directory %}
  local ty_code_dir={{ code.path }} ty_entry
{%- endif %}
  ty_run_id=0
  ty_attempt=1
{%- if !on_slurm %}
  ty_job_id=local-$$
{%- endif %}
  ty_run_dir=$ty_run_root/by-hand/$ty_job_id
  ty_say "not submitted by Trainyard: this job works in $ty_run_dir"
  mkdir -p -- "$ty_run_dir/work" || ty_fail "cannot make $ty_run_dir on $ty_host"
{%- if code.is_directory %}
  [[ -d $ty_code_dir ]] || ty_fail "there is no directory $ty_code_dir on $ty_host"
  for ty_entry in "$ty_code_dir"/* "$ty_code_dir"/.[!.]* "$ty_code_dir"/..?*; do
    [[ -e $ty_entry || -L $ty_entry ]] || continue
    [[ -L $ty_run_dir/work/${ty_entry##*/} ]] || ln -sn -- "$ty_entry" "$ty_run_dir/work/${ty_entry##*/}"
  done
{%- else %}
  ty_fail "the code of this script is an archive, which only Trainyard unpacks: submit its spec"
{%- endif %}
}
{%- endif %}

# One job per submission may train: the one whose key the claim's link holds. Judged by what the link says, not by
# whether `ln` succeeded: NFS may report an existing file to the very client that made it.
ty_claim() {
  local ty_link=$ty_run_dir{{ files.claims }}/$ty_token ty_owner
{%- if is_sweep %}
  [[ -d $ty_sweep_dir ]] || ty_fail "there is no directory of the sweep $ty_sweep_dir on $ty_host"
  mkdir -p -- "$ty_run_dir"
{%- else %}
  [[ -d $ty_run_dir ]] || ty_fail "there is no run directory $ty_run_dir on $ty_host"
  mkdir -p -- "$ty_run_dir/claims"
{%- endif %}
  ln -sn -- "$ty_job" "$ty_link" 2>/dev/null
  ty_owner=$(readlink -- "$ty_link") # nothing when it cannot be read
  [[ -n $ty_owner ]] || ty_fail "the claim $ty_link can be neither made nor read on $ty_host"
  if [[ $ty_owner != "$ty_job" ]]; then
    ty_message="this job is $ty_job, and its submission belongs to: $ty_owner"
    ty_code={{ superseded_exit }} ty_reason=superseded
    ty_say "$ty_message"
    exit "$ty_code"
  fi
  ty_claimed=1
}

# A slurmctld that was killed may have forgotten that it started this job, and start it as if nothing had been: with the
# same number, and no restart counted. One whose end is told does not train once more; it only ends as it did.
ty_end_as_before() {
  local ty_marker=$ty_run_dir{{ files.exits }}/$ty_attempt.json ty_line ty_escaped ty_pattern='"exit_code":([0-9]{1,3}),'
  { read -r ty_line <"$ty_marker"; } 2>/dev/null || return 0
  ty_json "$ty_job"
  [[ $ty_line == *"\"token\":\"$ty_token\",\"job\":\"$ty_escaped\",\"index\":$ty_index,"* ]] || return 0
  [[ $ty_line == *",\"restart\":$ty_restart,"* && $ty_line =~ $ty_pattern ]] || return 0
  ty_token='' # nothing new is to be told
  ty_code=${BASH_REMATCH[1]}
  ty_say "this start of the job has ended before, with exit code $ty_code: Slurm has forgotten that it started it"
  exit "$ty_code"
}

ty_directories() {
  mkdir -p -- "$ty_run_dir/"{% if is_sweep %}{output,checkpoints}{% else %}{logs,output,checkpoints}{% endif %} || ty_fail "cannot make directories in $ty_run_dir on $ty_host"
  rm -f -- "$ty_run_dir"/stop.[0-9]*
}
