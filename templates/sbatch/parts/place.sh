# --- Where it runs: nodes, the place to meet, scratch, and the variables that tell of them

ty_find_nodes() {
{%- if on_slurm %}
  local ty_list{% if launch.uses_srun() && !is_alone %} ty_breaks{% endif %}
  # No node list means no training: a guess would make as many worlds of one as there are nodes.
  ty_list=$(scontrol show hostnames "${SLURM_JOB_NODELIST:-}") || ty_list=''
  [[ -n $ty_list ]] ||
    ty_fail "scontrol cannot tell the job's nodes on $ty_host (SLURM_JOB_NODELIST is '${SLURM_JOB_NODELIST:-}')"
{%- if is_alone %}
  ty_node_count=1
{%- else if launch.uses_srun() %}
  ty_breaks=${ty_list//[!$'\n']/}
  ty_node_count=$((${#ty_breaks} + 1))
{%- endif %}
{%- if launch.uses_srun() && !is_alone %}
  # Options of the spec or of the site may have asked for others. The record has the world of these.
  [[ -z $ty_token || $ty_node_count == {{ nodes }} ]] ||
    ty_fail "the job's nodes are $ty_node_count, and the world of {{ world_size }} ranks is for {{ nodes }}"
{%- endif %}
  ty_nodes=${ty_list//$'\n'/ }
  ty_head=${ty_list%%$'\n'*}
  MASTER_ADDR={{ head_address }}
  # Another port after a restart, and not the next job's.
  MASTER_PORT=$(({{ ports.low }} + (SLURM_JOB_ID + ty_restart * {{ ports.stride }}) % {{ ports.count }}))
{%- else %}
  local ty_offset=${ty_job_id#local-} ty_tries
  ty_nodes=$ty_host
  MASTER_ADDR=127.0.0.1
  for ((ty_tries = 0; ty_tries < {{ ports.tries }}; ty_tries++)); do
    MASTER_PORT=$(({{ ports.low }} + (10#$ty_offset + ty_tries) % {{ ports.count }}))
    (exec 3<>"/dev/tcp/$MASTER_ADDR/$MASTER_PORT") 2>/dev/null || return 0
  done
  ty_fail "no free port for the ranks to meet at: $ty_tries from {{ ports.low }} on were tried on $ty_host"
{%- endif %}
}
{%- if local_scratch.is_none() %}

# Where this node keeps temporary files: what it set as TMPDIR itself, else /tmp.
ty_find_tmp() {
  ty_tmp=${TMPDIR:-/tmp}
{%- if on_slurm %}
  # Trainyard submits without a TMPDIR, so there is none but the node's. A submission by hand takes along that of the
  # machine where it was made: only one that names this job was made for it.
  [[ -n $ty_token || $ty_tmp =~ (^|[^0-9])$SLURM_JOB_ID([^0-9]|$) ]] || ty_tmp=/tmp
{%- endif %}
  [[ $ty_tmp == /* && -d $ty_tmp && -w $ty_tmp && -x $ty_tmp ]] || ty_tmp=/tmp
}
{%- endif %}

ty_make_scratch() {
{%- if local_scratch.is_some() %}
  ty_find_scratch
  mkdir -p -- "$TRAINYARD_LOCAL_SCRATCH"
  [[ -d $TRAINYARD_LOCAL_SCRATCH && -w $TRAINYARD_LOCAL_SCRATCH ]] ||
    ty_fail "cannot make the local scratch directory $TRAINYARD_LOCAL_SCRATCH on $ty_host"
{%- else %}
  local ty_tmp
  ty_find_tmp
  # A job's number may be another's as well: each user's own on this machine, and given out again by a slurmctld that
  # forgot the job, which may still run here.
  TRAINYARD_LOCAL_SCRATCH=$ty_tmp/trainyard.${ty_token:-$ty_job_id}
  [[ -d $TRAINYARD_LOCAL_SCRATCH ]] || mkdir -m 0700 -- "$TRAINYARD_LOCAL_SCRATCH" ||
    ty_fail "cannot make the local scratch directory $TRAINYARD_LOCAL_SCRATCH on $ty_host"
  [[ -O $TRAINYARD_LOCAL_SCRATCH && ! -L $TRAINYARD_LOCAL_SCRATCH ]] ||
    ty_fail "the local scratch directory $TRAINYARD_LOCAL_SCRATCH on $ty_host belongs to somebody else"
  ty_own_scratch=$TRAINYARD_LOCAL_SCRATCH
  ty_hold "$ty_own_scratch"
{%- endif %}
}

ty_export() {
  export TRAINYARD_RUN_ID=$ty_run_id
  export TRAINYARD_RUN_NAME={{ name }}
{%- if is_sweep %}
  export TRAINYARD_SWEEP_ID=$ty_sweep_id
  export TRAINYARD_SWEEP_POINT=$ty_point
{%- else if let Some(point) = repeats %}
  export TRAINYARD_SWEEP_ID={{ point.sweep }}
  export TRAINYARD_SWEEP_POINT={{ point.point }}
{%- endif %}
  export TRAINYARD_ATTEMPT=$ty_attempt
  export TRAINYARD_RUN_DIR=$ty_run_dir
  export TRAINYARD_WORK_DIR=$ty_run_dir/work
  export TRAINYARD_OUTPUT_PATH=$ty_run_dir/output
  export TRAINYARD_CHECKPOINT_DIR={{ checkpoint_directory }}
{%- if let Some(every_steps) = checkpoint_every_steps %}
  export TRAINYARD_CHECKPOINT_EVERY_STEPS={{ every_steps }}
{%- endif %}
  export TRAINYARD_METRICS_PATH={{ metrics_file }}
  export TRAINYARD_RESUME_FROM={% if resume.is_some() %}$ty_resume_from{% else %}''{% endif %}
  export TRAINYARD_STOP_FILE=$ty_run_dir/stop.$ty_attempt
  export TRAINYARD_NODES=$ty_nodes
  export TRAINYARD_LOCAL_SCRATCH
  export TMPDIR=$TRAINYARD_LOCAL_SCRATCH
  export MASTER_ADDR MASTER_PORT
  export WORLD_SIZE={% if launch.is_one_process() %}1{% else if on_slurm %}$((ty_node_count * {{ processes_per_node }})){% else %}{{ processes_per_node }}{% endif %}
  export PYTHONUNBUFFERED=${PYTHONUNBUFFERED-1}
{%- if on_slurm %}
  export SLURM_EXPORT_ENV=ALL # srun inherits what sbatch was told, which may be NONE
{%- endif %}
}
