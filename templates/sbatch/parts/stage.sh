# ty_copy JOB FOLDER [NAME BYTES PATH]...: copies data into a folder of this node. Prints what is wrong, and nothing else.
ty_copy() {
  local ty_job_id=$1 ty_folder ty_top ty_host ty_held='' ty_free ty_from ty_why
  ty_find_folder "$2"
  shift 2
  ty_host=$(uname -n)
  umask 077
  if ! ty_why=$(mkdir -p -- "${ty_folder%/*}" 2>&1 && mkdir -m 0700 -- "$ty_folder" 2>&1); then
    if [[ -O $ty_folder && ! -L $ty_folder ]]; then
      # Nodes that share their scratch share the copy: another one makes it. If that fails, this ends with it.
      until [[ -e $ty_folder/.whole ]]; do sleep 1; done
      return
    fi
    printf 'cannot make the directory %s for the data on %s: %s\n' "$ty_folder" "$ty_host" "$ty_why"
    return 1
  fi
  # Where the whole job is told to end, no other step comes after this one.
  trap 'ty_remove "$ty_folder"; ty_release "$ty_top"; exit 143' TERM
  ty_hold "$ty_top"
  ty_clear_left
  for (( ; $# > 0; )); do
    if [[ ! -r $3 ]]; then
      printf 'the dataset `%s` cannot be read on %s: %s\n' "$1" "$ty_host" "$3"
      return 1
    fi
    ty_free=$(stat -f -c '%a * %S' -- "$ty_folder") || ty_free=0
    if [[ $2 != - ]] && (($2 > ty_free)); then
      printf 'the dataset `%s` does not fit into %s on %s: it has %d MiB, and %d MiB are free\n' \
        "$1" "${ty_folder%/*}" "$ty_host" "$(($2 >> 20))" "$((ty_free >> 20))"
      return 1
    fi
    ty_from=$3
    [[ ! -d $3 ]] || ty_from+=/.
    if ! ty_why=$(mkdir -- "$ty_folder/$1" 2>&1 &&
      cp -R -H --preserve=mode,timestamps -- "$ty_from" "$ty_folder/$1/" 2>&1); then
      printf 'the dataset `%s` cannot be copied to %s on %s: %s\n' "$1" "$ty_folder" "$ty_host" "${ty_why##*$'\n'}"
      return 1
    fi
    shift 3
  done
  : >"$ty_folder/.whole"
}

# ty_find_folder FOLDER: puts into ty_folder where it is on this node, and into ty_top what is Trainyard's own there.
ty_find_folder() {
{%- if scratch_of_node %}
  ty_find_scratch
  ty_folder=$TRAINYARD_LOCAL_SCRATCH/${1##*/}
{%- else %}
  TRAINYARD_LOCAL_SCRATCH=${1%/*}
  ty_folder=$1
{%- endif %}
{%- if local_scratch.is_some() %}
  ty_top=$ty_folder
{%- else %}
  ty_top=$TRAINYARD_LOCAL_SCRATCH
{%- endif %}
}

# --- Copies of the data on each node

# Puts into ty_each what stands before a command that every node of the job is to run.
ty_each_node() {
  ty_each=()
{%- if on_slurm %}
  local ty_all
  read -ra ty_all <<<"$ty_nodes"
  ((${#ty_all[@]} > 1)) || return 0
  ty_each=(
    srun
    --nodes="${#ty_all[@]}"
    --ntasks="${#ty_all[@]}"
    --ntasks-per-node=1
    --distribution=block
    --kill-on-bad-exit=1
    --export=ALL
{%- for word in srun_args %}
    {{ word }}
{%- endfor %}
  )
{%- endif %}
}

ty_stage() {
  local ty_each ty_answer ty_status
  ty_staged=$TRAINYARD_LOCAL_SCRATCH/data.${ty_token:-$ty_job_id}.$ty_restart # no other start has it
  ty_each_node
  ty_say "copying the data into $ty_staged on $ty_nodes"
  ty_ask 0 "${ty_each[@]}" /bin/bash -c "$ty_alone" trainyard ty_copy "$ty_job_id" "$ty_staged" "${ty_copies[@]}"
  ((ty_status == 0)) ||
    ty_fail "${ty_answer:-the data cannot be copied to the nodes ($ty_nodes); the log of the scheduler has more}"
{%- if local_scratch.is_some() %}
  ty_hold "$ty_staged"
{%- endif %}
}

# ty_find_copy NAME PATH: puts into ty_place where the copy is. That of a single file keeps its name.
ty_find_copy() {
  ty_place=$ty_staged/$1
  [[ -d $2 ]] || ty_place+=/${2##*/}
}

# The tasks of a launch remove the copies of their nodes when they end; this is for those that never started.
ty_unstage() {
  local ty_each ty_remover
  ty_remover="$(declare -f ty_unstage_here ty_find_folder {% if local_scratch.is_some() %}ty_find_scratch {% endif %}ty_remove)"$'\n''"$@"'
  ty_unstage_here "$ty_job_id" "$ty_staged" # there may be little time
  ty_each_node
  ((${#ty_each[@]} == 0)) ||
    timeout -k 5 60 "${ty_each[@]}" /bin/bash -c "$ty_remover" trainyard ty_unstage_here "$ty_job_id" "$ty_staged" </dev/null
}

# ty_unstage_here JOB FOLDER
ty_unstage_here() {
  local ty_job_id=$1 ty_host ty_folder ty_top
  ty_host=$(uname -n)
  ty_find_folder "$2"
  ty_remove "$ty_top"
}
