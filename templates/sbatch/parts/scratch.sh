# --- Scratch on each node: whoever uses it holds it, the last one removes it, and what a killed job left a later one does

# ty_hold FOLDER: nobody else removes it as long as this shell lives. The kernel ends that, however the shell ends.
ty_hold() {
  { printf '%s\n' "$ty_host" >"$1/.held" && exec {ty_held}<>"$1/.held" && flock -s -n "$ty_held"; } 2>/dev/null
}

# For what may outlive the shell that holds, and need not.
ty_let_go() {
  [[ -z $ty_held ]] || exec {ty_held}>&-
}

# ty_release FOLDER: removes what this shell holds, unless somebody else does, too.
ty_release() {
  [[ -n $ty_held ]] && flock -n "$ty_held" 2>/dev/null && ty_remove "$1"
}

# ty_clear FOLDER...: removes those of this user that were used on this machine, an hour ago or more, and that nobody holds.
ty_clear() {
  local ty_left ty_there ty_lock
  for ty_left in "$@"; do
    [[ -O $ty_left && -d $ty_left && ! -L $ty_left && -f $ty_left/.held && ! -L $ty_left/.held ]] || continue
    IFS= read -r ty_there <"$ty_left/.held"
    [[ $ty_there == "$ty_host" && -n $(find "$ty_left/.held" -mmin +60) ]] || continue
    { exec {ty_lock}<>"$ty_left/.held"; } || continue
    ! flock -n "$ty_lock" || ty_remove "$ty_left"
    exec {ty_lock}>&-
  done
} 2>/dev/null

# What earlier jobs left where this one has its scratch.
ty_clear_left() {
{%- if local_scratch.is_some() %}
  ty_clear "$TRAINYARD_LOCAL_SCRATCH"/data.*
{%- else %}
  ty_clear "${TRAINYARD_LOCAL_SCRATCH%/*}"/trainyard.*
{%- endif %}
}

# ty_remove FOLDER: also where the data had directories that nobody may write to.
ty_remove() {
  chmod -R u+rwX -- "$1" 2>/dev/null
  rm -rf --one-file-system -- "$1"
}
{%- if let Some(path) = local_scratch %}

# Where the site has it on this node.
ty_find_scratch() { TRAINYARD_LOCAL_SCRATCH={{ path }}; }
{%- endif %}
{%- if launch.uses_srun() %}

# What the tasks on the nodes know of this script.
ty_tasks_know() {
  declare -p ty_job_id{% if stages %} ty_staged{% endif %}
  declare -f ty_hold ty_release ty_clear ty_clear_left ty_remove {% if local_scratch.is_some() %}ty_find_scratch {% endif %}\
    {% if launch.is_deepspeed() %}ty_world_info {% endif %}ty_note ty_timed ty_record_node ty_record_machine ty_record_gpus \
    ty_watch ty_find_children ty_warn_below ty_warn_tree ty_look_at ty_is_prepared{% if watchdog.is_some() %} \
    ty_find_below ty_stacks_below ty_stack{% endif %}
}
{%- endif %}
