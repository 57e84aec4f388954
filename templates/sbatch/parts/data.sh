# --- The data: where it is, and whether it is as it was when the run was submitted

ty_data() {
  local ty_drift='' ty_doubt='' ty_alone{% if stages %} ty_copies=() ty_bytes ty_place{% endif %}
  ty_alone="$(declare -f {% if stages %}ty_copy ty_find_folder {% if local_scratch.is_some() %}ty_find_scratch {% endif %}ty_hold ty_release ty_clear ty_clear_left ty_remove {% endif %}ty_digest ty_root_time ty_sees_fractions)"$'\n''"$@"'
{%- for dataset in datasets %}
  ty_check_data {{ dataset.name }} {{ dataset.path }} {{ dataset.on_drift }}
{%- if dataset.is_staged %}
  ty_copies+=({{ dataset.name }} "$ty_bytes" {{ dataset.path }})
{%- endif %}
{%- endfor %}
  [[ -z $ty_drift ]] || ty_emit data_changed "$ty_drift"
  [[ -z $ty_doubt ]] || ty_emit data_unchecked "$ty_doubt"
{%- if stages %}
  ty_stage
{%- endif %}
{%- for dataset in datasets %}
{%- if dataset.is_staged %}
  ty_find_copy {{ dataset.name }} {{ dataset.path }}
  export {{ dataset.variable }}=$ty_place
{%- else %}
  export {{ dataset.variable }}={{ dataset.path }}
{%- endif %}
{%- if loop.first %}
  export TRAINYARD_DATA_PATH=${{ dataset.variable }}
{%- endif %}
{%- endfor %}
}

# ty_ask SECONDS COMMAND...: runs what may take long beside this script, and for so long at most, so that signals are
# heard meanwhile. The first line that it prints comes into ty_answer, its exit code into ty_status.
ty_ask() {
  local ty_pipe ty_helper ty_part ty_read=0 ty_text=''
  exec {ty_pipe}< <(exec timeout -k 5 "$@" </dev/null)
  ty_helper=$!
  while ((ty_read == 0 || ty_read > 128)); do
    IFS= read -r -t 1 -u "$ty_pipe" ty_part
    ty_read=$?
    ty_text+=$ty_part
    ((ty_read != 0)) || ty_text+=$'\n'
    if [[ -n $ty_signal ]]; then
      kill "$ty_helper" 2>/dev/null
      break
    fi
  done
  exec {ty_pipe}<&-
  wait "$ty_helper"
  ty_status=$?
  ty_answer=${ty_text%%$'\n'*}
  ty_end_if_signalled
}

# ty_check_data NAME PATH POLICY: against what was recorded when the run was submitted.{% if stages %} Its size comes into ty_bytes.{% endif %}
ty_check_data() {
  local ty_name ty_kind='' ty_fine='' ty_coarse=''
{%- if stages %}
  ty_bytes=-
{%- endif %}
  [[ -e $2 ]] || ty_fail "there is no dataset \`$1\` on $ty_host: $2"
  [[ -r $2 ]] || ty_fail "the dataset \`$1\` cannot be read on $ty_host: $2"
  [[ -n $ty_token ]] || return 0
  while IFS=$'\t' read -r ty_name ty_kind ty_fine ty_coarse {% if stages %}ty_bytes{% else %}_{% endif %}; do
    [[ $ty_name != "$1" ]] || break
    ty_kind=''{% if stages %} ty_bytes=-{% endif %}
  done 2>/dev/null <"{{ files.shared }}/datasets.tsv"
  case $ty_kind in
    root) ty_compare_root "$2" "$ty_coarse" ;;
    tree) ty_compare_tree "$2" "$ty_fine" "$ty_coarse" ;;
  esac
  case $? in
    0) ;;
    1) ty_data_changed "$@" ;;
    *) ty_data_unchecked "$@" ;;
  esac
}

# The comparisons give 0 for the same, 1 for another, and 2 when it cannot be found out.

# ty_compare_root PATH TIME: all that is looked at of data that nobody changes.
ty_compare_root() {
  local ty_answer ty_status
  ty_ask {{ data_check_seconds }} /bin/bash -c "$ty_alone" trainyard ty_root_time "$1"
  ((ty_status == 0)) || return 2
  [[ $ty_answer == "$2" ]]
}

# ty_compare_tree PATH FINE COARSE
ty_compare_tree() {
  local ty_answer ty_status
  if [[ $2 != - ]]; then
    ty_ask {{ data_check_seconds }} /bin/bash -c "$ty_alone" trainyard ty_digest fine "$1"
    ((ty_status == 0)) || return 2
    [[ $ty_answer != "$2" ]] || return 0
    # Some file systems show fractions of seconds on one node and not on another: then whole seconds are compared.
    ty_ask {{ data_check_seconds }} /bin/bash -c "$ty_alone" trainyard ty_sees_fractions "$1"
    ((ty_status != 0)) || return 1
  fi
  ty_ask {{ data_check_seconds }} /bin/bash -c "$ty_alone" trainyard ty_digest coarse "$1"
  ((ty_status == 0)) || return 2
  [[ $ty_answer == "$3" ]]
}

# ty_data_changed NAME PATH POLICY
ty_data_changed() {
  local ty_told="the dataset \`$1\` is not what it was when the run was submitted: files in $2 were changed, touched, added or removed"
  ty_say "$ty_told"
  if [[ $3 == fail ]]; then
    ty_code={{ launch_failed_exit }} ty_reason=data_changed ty_message=$ty_told
    exit "$ty_code"
  fi
  ty_drift+=${ty_drift:+; }$ty_told
}

# ty_data_unchecked NAME PATH POLICY
ty_data_unchecked() {
  local ty_told="the dataset \`$1\` cannot be compared with what it was when the run was submitted: "
  ty_told+="$2 cannot be read whole on $ty_host within {{ data_check_seconds }} s"
  [[ $3 != fail ]] || ty_fail "$ty_told"
  ty_say "$ty_told"
  ty_doubt+=${ty_doubt:+; }$ty_told
}

# The following run alone, in a shell of their own, and know nothing of the rest of this script.

# ty_digest fine|coarse PATH: of everything below it. Trainyard makes the same when a run is submitted.
ty_digest() {
  set -o pipefail
  local ty_whole='' ty_sum
  [[ $1 == fine ]] || ty_whole='s/^\(f [0-9]* -\{0,1\}[0-9]*\)\.[0-9]*/\1/'
  ty_sum=$(
    find -H "$2" -type f -printf 'f %s %T@ %P\0' -o -type l -printf 'l %P//%l\0' -o -type d -printf 'd %P\0' \
      -o -printf '%y %P\0' | LC_ALL=C sed -z "$ty_whole" | LC_ALL=C sort -z -S 64M | sha256sum
  ) || return
  printf '%s\n' "${ty_sum%% *}"
}

ty_sees_fractions() { find -H "$1" -type f -printf '%T@\n' | grep -q '\.0*[1-9]'; }

ty_root_time() { stat -L -c %Y -- "$1"; }
{%- if stages %}

{% include "sbatch/parts/stage.sh" %}
{%- endif %}
