# --- Which checkpoint the training goes on from: the newest that is complete

{%- if resume.is_required %}
# Where there is none, and the training has begun before, it is not begun anew.
{%- endif %}
ty_resume() {
  ty_find_checkpoint
  ty_end_if_signalled
  if [[ -n $ty_resume_from ]]; then
    ty_say "the training goes on from $ty_resume_from"
{%- if resume.is_required %}
  elif ty_has_begun; then
    ty_message='there is no complete checkpoint to go on from, and `checkpoint.resume` is `require`'
    ty_say "$ty_message"
    ty_code={{ launch_failed_exit }} ty_reason=no_checkpoint
    exit "$ty_code"
{%- endif %}
  fi
}
{%- if resume.is_required %}

# An earlier start that came to its training has left a log.
ty_has_begun() {
  local ty_log
  for ty_log in "$ty_run_dir{{ files.logs }}/"[0-9]*.out; do
    [[ ! -e $ty_log ]] || return 0
  done
  return 1
}
{%- endif %}

# Complete is what has the mark that its writer leaves last. `trainyard checkpoints` judges by the same rules; what cannot
# be proven here is passed over. The cost does not grow with a checkpoint's size, and no pickle is loaded.
ty_find_checkpoint() {
  local -x LC_ALL=C
  local TRAINYARD_RUN_DIR=$ty_run_dir ty_root ty_format ty_step ty_time ty_branch='' ty_branch_time=0 ty_below=''
  local ty_lists_left={{ resume.lists_max }} ty_judged_left={{ resume.judged_max }} ty_files_left={{ resume.files_max }}
  local ty_names=() ty_files=() ty_shards=() ty_folders=() ty_unrenamed{% if resume.seeks("huggingface") %} ty_trainers{% endif %} ty_beside=()
  local ty_looked=() ty_sizes=() ty_times=()
  ty_root={{ checkpoint_directory }}
  ty_root=${ty_root%/}
  ty_find_branch
  ty_list "$ty_root" || return 0
  ty_scan
  ty_recognise "${ty_root##*/}" ''
  if [[ $ty_format != dcp && $ty_format != huggingface ]]; then
    ty_look_in "$ty_root" 0 ''
  elif ty_is_complete "$ty_root" d; then
    ty_step_of "${ty_root##*/}"
    ty_take "$ty_root" "$ty_step"
  fi
}

# What a person chose to go on from: then what is older and something else counts no more.
ty_find_branch() {
  local ty_chosen=$ty_run_dir/{{ resume.branch_file }}
  { IFS= read -r ty_branch <"$ty_chosen"; } 2>/dev/null || return 0
  ! ty_stat "$ty_chosen" || ty_branch_time=${ty_times[0]}
}

# ty_take PATH STEP: a complete checkpoint; whether it counts. The newest of those that are taken stays.
ty_take() {
  [[ -z $ty_branch || $1 == "$ty_branch" ]] || ((ty_time > ty_branch_time)) || return 1
  [[ -z $ty_resume_from ]] || ((ty_time > ty_resume_time)) || return 0
  ty_resume_from=$1 ty_resume_step=$2 ty_resume_time=$ty_time
}

# ty_list DIRECTORY: its names in ty_names, each after its kind (f, d or another letter) and a slash.
ty_list() {
  local ty_entry
  ty_names=()
  ((ty_lists_left-- > 0)) || return 1
  while IFS= read -r -d '' ty_entry; do
    ((${#ty_names[@]} < {{ resume.names_max }})) || return 1
    ty_names+=("$ty_entry")
  done < <(find -H "$1" -mindepth 1 -maxdepth 1 -printf '%y/%f\0' 2>/dev/null)
}

# ty_has KIND/NAME LIST...
ty_has() {
  local ty_entry
  for ty_entry in "${@:2}"; do
    [[ $ty_entry != "$1" ]] || return 0
  done
  return 1
}

# What lies in a directory, by the names in ty_names.
ty_scan() {
  local ty_entry ty_name
  ty_files=() ty_shards=() ty_folders=() ty_unrenamed=''{% if resume.seeks("huggingface") %} ty_trainers=''{% endif %}
  for ty_entry in ${ty_names[@]+"${ty_names[@]}"}; do
    ty_name=${ty_entry#*/}
    [[ $ty_name != *{{ resume.temporary }} ]] || ty_unrenamed=1
    case $ty_entry in
      d/*)
        ty_folders+=("$ty_name")
{%- if resume.seeks("huggingface") %}
        [[ ! $ty_name =~ ^(tmp-)?checkpoint-[0-9]+$ ]] || ty_trainers=1
{%- endif %}
        ;;
      f/*)
        ty_files+=("$ty_name")
        case $ty_name in
          {{ resume.weights }}) ty_shards+=("$ty_name") ;;
        esac
        ;;
    esac
  done
}

# ty_ends ENDING NAME...: whether one of the names ends so.
ty_ends() {
  local ty_name
  for ty_name in "${@:2}"; do
    [[ $ty_name != *"$1" ]] || return 0
  done
  return 1
}

ty_has_distributed() {
  ty_has .metadata ${ty_files[@]+"${ty_files[@]}"} || ty_ends .distcp ${ty_files[@]+"${ty_files[@]}"}
}

# ty_recognise NAME PATH: which format the scanned directory has, in ty_format; none where it is no checkpoint.
ty_recognise() {
  ty_format=''
{%- if resume.seeks("megatron") %}
  if [[ $1 =~ ^iter_[0-9]+$ ]] || { [[ $1 == release ]] && ty_has f/{{ resume.megatron_pointer }} ${ty_beside[@]+"${ty_beside[@]}"}; }; then
    ty_format=megatron
    return
  fi
{%- endif %}
{%- if resume.seeks("huggingface") %}
  if [[ $1 =~ ^(tmp-)?checkpoint-[0-9]+$ ]] ||
    { [[ -z $ty_trainers ]] && ty_has trainer_state.json ${ty_files[@]+"${ty_files[@]}"}; }; then
    ty_format=huggingface
    return
  fi
{%- endif %}
{%- if resume.seeks("deepspeed") %}
  if [[ $1 =~ ^global_step[0-9]+$ ]] || ty_ends _model_states.pt ${ty_files[@]+"${ty_files[@]}"} ||
    ty_ends _optim_states.pt ${ty_files[@]+"${ty_files[@]}"}; then
    ty_format=deepspeed
    return
  fi
{%- endif %}
{%- if resume.seeks("nemo") %}
  if [[ -n $2 && -e $2{{ resume.unfinished }} ]] ||
    { ty_has weights ${ty_folders[@]+"${ty_folders[@]}"} && ty_has context ${ty_folders[@]+"${ty_folders[@]}"}; }; then
    ty_format=nemo
    return
  fi
{%- endif %}
{%- if resume.seeks("lightning") %}
  if [[ $1 == *.ckpt ]] && { ty_has_distributed || ty_has meta.pt ${ty_files[@]+"${ty_files[@]}"}; }; then
    ty_format=lightning
    return
  fi
{%- endif %}
{%- if resume.seeks("dcp") %}
  ! ty_has_distributed || ty_format=dcp
{%- endif %}
  return 0
}

# ty_recognise_file NAME DEPTH: which format a file has that lies in a directory which is no checkpoint.
ty_recognise_file() {
  local ty_name=${1%{{ resume.temporary }}}
  ty_format=''
  [[ $ty_name != .* && $ty_name != *-of-* ]] || return 1
  case $ty_name in
{%- if resume.seeks("lightning") %}
    *.ckpt) ty_format=lightning ;;
{%- else if resume.seeks("file") %}
    *.ckpt) ty_format='file' ;;
{%- endif %}
{%- if resume.seeks("nemo") %}
    *.nemo) ty_format=nemo ;;
{%- else if resume.seeks("file") %}
    *.nemo) ty_format='file' ;;
{%- endif %}
{%- if resume.seeks("file") %}
    {{ resume.files }})
      ty_step_of "$ty_name"
      if [[ -n $ty_step ]]; then
        ty_format='file'
      elif [[ $2 == 0 && $ty_name != *.json ]]; then
        case ${ty_name%.*} in
          {{ resume.without_step }}) ty_format='file' ;;
        esac
      fi
      ;;
{%- endif %}
  esac
  [[ -n $ty_format ]]
}

# ty_step_of NAME: the step that it tells, in ty_step: the number after `step` and the like, else the last number that
# counts nothing else.
ty_step_of() {
  local ty_stem=$1 ty_word ty_words ty_before='' ty_number='' ty_plain='' IFS='-_= '
  ty_step=''
  [[ $ty_stem == *[0-9]* && $ty_stem != hpc_ckpt* ]] || return 0
  for ty_word in {{ resume.endings }}; do
    [[ $ty_stem == *"$ty_word" ]] || continue
    ty_stem=${ty_stem%"$ty_word"}
    break
  done
  set -f
  # shellcheck disable=SC2206 # it is split at those characters
  ty_words=($ty_stem)
  set +f
  for ty_word in ${ty_words[@]+"${ty_words[@]}"}; do
    [[ -n $ty_word ]] || continue
    if [[ $ty_word =~ ^([^0-9]*)([0-9]+)$ ]]; then
      [[ -z ${BASH_REMATCH[1]} ]] || ty_before=${BASH_REMATCH[1]}
      case ${ty_before,,} in
        {{ resume.step_words }}) ty_number=${BASH_REMATCH[2]} ;;
      esac
      if [[ -z ${BASH_REMATCH[1]} ]]; then
        case ${ty_before,,} in
          {{ resume.other_words }}) ;;
          *) ty_plain=${BASH_REMATCH[2]} ;;
        esac
      fi
    fi
    ty_before=$ty_word
  done
  ty_word=${ty_number:-$ty_plain}
  ty_word=${ty_word#"${ty_word%%[!0]*}"}
  [[ -z ${ty_number:-$ty_plain} ]] || ty_word=${ty_word:-0}
  ((${#ty_word} > 18)) || ty_step=$ty_word
}

# ty_in_order KIND TARGET: the names of a kind in ty_beside, each after the kind and its step (-1 for none): TARGET first,
# then the highest step.
ty_in_order() {
  local ty_entry ty_name ty_step ty_turn
  for ty_entry in ${ty_beside[@]+"${ty_beside[@]}"}; do
    ty_name=${ty_entry#*/}
    [[ $ty_entry == "$1"/* && $ty_name != .* && $ty_name != *[[:cntrl:]]* ]] || continue
    ty_step_of "${ty_name%{{ resume.temporary }}}"
    ty_turn=1
    [[ $ty_name != "$2" ]] || ty_turn=0
    printf '%s\n' "$ty_turn/$1/${ty_step:--1}/$ty_name"
  done | sort -t / -k 1,1n -k 3,3nr -k 4r | cut -d / -f 2-
}

# ty_look_in DIRECTORY DEPTH STEP: takes the checkpoints of a directory that is none. In one directory the highest step is
# the newest, since times change when files are copied or touched; between directories, and for what tells no step, it is
# the time. Where a checkpoint's own name tells no step, STEP is that of the directory; ty_below is set if it took one so.
ty_look_in() {
  local ty_here=$1 ty_depth=$2 ty_here_step=$3 ty_beside=(${ty_names[@]+"${ty_names[@]}"})
  local ty_target='' ty_taken=-1 ty_by_place='' ty_line ty_name ty_own ty_ordered=()
{%- if resume.seeks("deepspeed") || resume.seeks("megatron") %}
  local ty_pointer ty_target_count ty_is_blank
  ty_follow_pointer
{%- endif %}
  while IFS= read -r ty_line; do
    ty_ordered+=("$ty_line")
  done < <(
    # What lies beside a trainer's state is a part of it.
    ty_has f/trainer_state.json ${ty_beside[@]+"${ty_beside[@]}"} || ty_in_order f ''
    ty_in_order d "$ty_target"
  )
  for ty_line in ${ty_ordered[@]+"${ty_ordered[@]}"}; do
    ((ty_judged_left > 0 && ty_lists_left > 0)) || break
    ty_name=${ty_line#*/}
    ty_own=${ty_name%%/*} ty_name=${ty_name#*/}
    ((ty_own < 0 || ty_own > ty_taken)) || continue
    if [[ $ty_line == f/* ]]; then
      ty_recognise_file "$ty_name" "$ty_depth" || continue
    else
      ty_list "$ty_here/$ty_name" || continue
      ty_scan
      ty_recognise "$ty_name" "$ty_here/$ty_name"
      if [[ -z $ty_format ]]; then
        ((ty_depth < {{ resume.depth_max }})) || continue
        ty_look_in "$ty_here/$ty_name" $((ty_depth + 1)) "${ty_own#-1}"
        [[ -z $ty_below ]] || ty_taken=$ty_own
        continue
      fi
    fi
    if ! ty_is_complete "$ty_here/$ty_name" "${ty_line%%/*}"; then
      ty_say "not complete, and passed over: $ty_here/$ty_name"
    elif ((ty_own >= 0)); then
      ! ty_take "$ty_here/$ty_name" "$ty_own" || ty_taken=$ty_own
    elif ty_take "$ty_here/$ty_name" "$ty_here_step"; then
      ty_by_place=$ty_here_step
    fi
  done
  ty_below=$ty_by_place
}
