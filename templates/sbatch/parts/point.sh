# --- The point: what it is given, and what it leaves

# A line of the table has the point's number, its run's, its arguments and its variables. The last two are bash: Trainyard
# has quoted what stands in them, as it has in this script.
ty_read_point() {
  local ty_table=$ty_sweep_dir/{{ files.points }} ty_lines=() ty_pattern
  ty_pattern="^$ty_point"$'\t([1-9][0-9]*)\t([(][^\t]*[)])\t([^\t]*)\n$'
  { mapfile -s "$ty_point" -n 1 ty_lines <"$ty_table"; } 2>/dev/null ||
    ty_fail "the table of the sweep's points cannot be read on $ty_host: $ty_table"
  [[ ${ty_lines[0]-} =~ $ty_pattern ]] ||
    ty_fail "the table of the sweep's points is damaged: line $((ty_point + 1)) of $ty_table is not that of point $ty_point"
  ty_run_id=${BASH_REMATCH[1]}
  ty_args=${BASH_REMATCH[2]}
  ty_exports=${BASH_REMATCH[3]}
}

# Points are many: what is left of each is what its training wrote, its log, its claim and its exit marker.
ty_tidy() {
  local ty_log=$ty_run_dir{{ files.logs }}/$ty_attempt.out
{%- if on_slurm %}
  local ty_said=$ty_sweep_dir/logs/slurm-$ty_slurm_job.out
{%- else %}
  local ty_said=$ty_sweep_dir/logs/local-$ty_job_id.out
{%- endif %}
  {
    cd / # not in what is removed
    ty_empty_work
    rm -f -- "$ty_run_dir/stop.$ty_attempt"
    rmdir -- "$ty_run_dir/"{work,output,checkpoints}
  } 2>/dev/null
  # What this script and Slurm had to say, mostly nothing, goes to the end of the training's log, where there is one.
  if [[ -e $ty_log ]] && { [[ ! -s $ty_said ]] || cat -- "$ty_said" >>"$ty_log"; }; then
    rm -f -- "$ty_said"
    exec 2>>"$ty_log"
  fi
}
