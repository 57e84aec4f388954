# --- Whether a checkpoint is complete, by the rule of its format

# ty_is_complete PATH KIND: a file, or the directory that was scanned; by the rule of ty_format. Leaves in ty_time when it
# was last written to.
ty_is_complete() {
  local ty_path=$1 ty_own_name=${1##*/} ty_proven='' ty_one
{%- if resume.seeks("deepspeed") || resume.seeks("megatron") %}
  local ty_count=${#ty_names[@]}
{%- endif %}
  ((ty_judged_left-- > 0)) || return 1
  [[ $ty_own_name != *{{ resume.temporary }} && $ty_own_name != tmp-* ]] || return 1
  for ty_one in "$ty_path" "${ty_path%.nemo}"; do
    [[ ! -e $ty_one{{ resume.unfinished }} && ! -L $ty_one{{ resume.unfinished }} ]] || return 1
  done
  if [[ $2 == f ]]; then
    ty_looked=("$ty_own_name")
    ty_stat "$ty_path" && ty_are_whole "${ty_path%/*}" || return 1
    # Of a file by itself, its end has to show it.
    [[ -n $ty_proven ]] || return 1
  else
    [[ -z $ty_unrenamed ]] && ty_look && ty_are_whole "$ty_path" && ty_by_rule || return 1
    ((${#ty_times[@]} > 0)) || ty_stat "$ty_path" || return 1
  fi
  ty_time=0
  for ty_one in "${ty_times[@]}"; do
    ((ty_one <= ty_time)) || ty_time=$ty_one
  done
}

# ty_stat PATH...: sizes and times of change in milliseconds, of all of them or not at all.
ty_stat() {
  local ty_size ty_when
  ty_sizes=() ty_times=()
  while read -r ty_size ty_when; do
    ty_sizes+=("$ty_size") ty_times+=("${ty_when/./}")
  done < <(stat -c '%s %.3Y' -- "$@" 2>/dev/null)
  ((${#ty_sizes[@]} == $#))
}

# Looks at the files of a directory: at all of them while that is not too many, else at its marks and two others.
ty_look() {
  local ty_name ty_paths=()
  ty_looked=()
  ty_look_at_some ''
{%- if resume.seeks("nemo") %}
  if [[ $ty_format == nemo ]]; then
    # Its weights have a directory of their own, and so has what has to be in it.
    ty_list "$ty_path/weights" || return 1
    ty_scan
    [[ -z $ty_unrenamed ]] && ty_has .metadata ${ty_files[@]+"${ty_files[@]}"} || return 1
    ty_look_at_some weights/
  fi
{%- endif %}
{%- if resume.seeks("megatron") %}
  if [[ $ty_format == megatron ]] && ! ty_has_parts; then
    ty_look_at_rank || return 1
  fi
{%- endif %}
  for ty_name in ${ty_looked[@]+"${ty_looked[@]}"}; do
    ty_paths+=("$ty_path/$ty_name")
  done
  ((${#ty_paths[@]} == 0)) || ty_stat "${ty_paths[@]}"
}

# ty_look_at_some PLACE: of the directory that was scanned last, which lies there.
ty_look_at_some() {
  local ty_name
  if ((${#ty_files[@]} <= ty_files_left)); then
    ty_looked+=(${ty_files[@]+"${ty_files[@]/#/$1}"})
    ((ty_files_left -= ${#ty_files[@]}))
  else
    for ty_name in "${ty_files[@]}"; do
      case $ty_name in
        .metadata | meta.pt | *.json) ty_looked+=("$1$ty_name") ;;
      esac
    done
    ((${#ty_shards[@]} == 0)) || ty_looked+=("$1${ty_shards[0]}" "$1${ty_shards[@]: -1}")
  fi
}
{%- if resume.seeks("megatron") %}

# Whether it is one of torch's distributed ones, and not a directory for each rank.
ty_has_parts() {
  local ty_name
  for ty_name in ${ty_files[@]+"${ty_files[@]}"}; do
    case $ty_name in
      .metadata* | *.distcp | common.pt) return 0 ;;
    esac
  done
  return 1
}

# A file of the last rank stands for all.
ty_look_at_rank() {
  local ty_name ty_rank='' ty_last=''
  for ty_name in ${ty_folders[@]+"${ty_folders[@]}"}; do
    [[ $ty_name != mp_rank_* ]] || [[ $ty_name < $ty_rank ]] || ty_rank=$ty_name
  done
  [[ -n $ty_rank ]] || return 0
  ty_list "$ty_path/$ty_rank" || return 1
  for ty_name in ${ty_names[@]+"${ty_names[@]}"}; do
    case $ty_name in
      d/*) ;;
      {{ resume.weights }}) [[ ${ty_name#*/} < $ty_last ]] || ty_last=${ty_name#*/} ;;
    esac
  done
  [[ -z $ty_last ]] || ty_looked+=("$ty_rank/$ty_last")
}
{%- endif %}

# ty_are_whole DIRECTORY: none of the files that were looked at is cut off, as far as their ends show it. What has an end
# that shows it is proven.
ty_are_whole() {
  local ty_index ty_name ty_file ty_archives=() ty_archive_sizes=()
  for ty_index in ${ty_looked[@]+"${!ty_looked[@]}"}; do
    ty_name=${ty_looked[ty_index]##*/} ty_file=$1/${ty_looked[ty_index]}
    # shellcheck disable=SC2221,SC2222 # the first that fits counts
    case $ty_name in
      *.json)
        [[ $ty_format == file || $ty_name == *.index.json || $ty_name == trainer_state.json || $ty_name == metadata.json ]] || continue
        ty_is_json "$ty_file" "${ty_sizes[ty_index]}" || return 1
        ty_proven=1
        ;;
      *.nemo)
        [[ $ty_format == nemo || $ty_format == file ]] || continue
        ty_is_tar "$ty_file" "${ty_sizes[ty_index]}" || return 1
        ty_proven=1
        ;;
      *.safetensors)
        ty_is_tensors "$ty_file" "${ty_sizes[ty_index]}" || return 1
        ty_proven=1
        ;;
      .metadata) # a pickle: its protocol comes first, and a stop last
        [[ $(ty_hex head 1 "$ty_file")$(ty_hex tail 1 "$ty_file") == ' 80 2e' ]] || return 1
        ;;
      *.distcp) # archives in a row: only whether the last one has an end is known
        ((ty_sizes[ty_index] > 0)) || return 1
        if ((ty_sizes[ty_index] >= 22)); then
          ty_archives+=("$ty_file") ty_archive_sizes+=(-1)
        else
          [[ $(ty_hex head 4 "$ty_file") != ' 50 4b 03 04' ]] || return 1
        fi
        ;;
      {{ resume.weights }})
        ((ty_sizes[ty_index] >= 22)) || return 1
        ty_archives+=("$ty_file") ty_archive_sizes+=("${ty_sizes[ty_index]}")
        ;;
    esac
  done
  ((${#ty_archives[@]} == 0)) || ty_are_archives
}

# ty_hex head|tail COUNT FILE...: the first or last bytes, a line for each file.
ty_hex() { "$1" -q -c "$2" -- "${@:3}" 2>/dev/null | od -An -v -tx1 -w"$2"; }

# Of the files that begin as an archive does, the record at the end says where the directory before it is. With -1 for the
# size it only has to be there.
ty_are_archives() {
  local ty_line ty_index=0 ty_zips=() ty_zip_sizes=() ty_byte=() ty_length ty_offset ty_before
  while IFS= read -r ty_line; do
    if [[ $ty_line == ' 50 4b 03 04' ]]; then
      ty_zips+=("${ty_archives[ty_index]}") ty_zip_sizes+=("${ty_archive_sizes[ty_index]}")
    fi
    ((ty_index += 1))
  done < <(ty_hex head 4 "${ty_archives[@]}")
  ((ty_index == ${#ty_archives[@]})) || return 1
  ((${#ty_zips[@]} > 0)) || return 0
  ty_index=0
  while read -r -a ty_byte; do
    [[ ${#ty_byte[@]} == 22 && "${ty_byte[*]:0:4}" == '50 4b 05 06' ]] || return 1
    ((ty_zip_sizes[ty_index] >= 0)) || { ((ty_index += 1)) && continue; }
    ty_length=$((16#${ty_byte[15]}${ty_byte[14]}${ty_byte[13]}${ty_byte[12]}))
    ty_offset=$((16#${ty_byte[19]}${ty_byte[18]}${ty_byte[17]}${ty_byte[16]}))
    ty_before=$((ty_zip_sizes[ty_index] - 22 - ty_length - ty_offset))
    # Larger ones than 4 GiB say so in a record before it, which each of torch's has.
    ((ty_length == 0xffffffff || ty_offset == 0xffffffff || ty_before == 0 || ty_before == 76)) || return 1
    ((ty_index += 1))
  done < <(ty_hex tail 22 "${ty_zips[@]}")
  ((ty_index == ${#ty_zips[@]})) || return 1
  ty_proven=1
}

# ty_is_tensors FILE SIZE: the header of a safetensors file, whose length comes first, says where the last tensor ends.
ty_is_tensors() {
  local ty_byte ty_length ty_end ty_last=0
  read -r -a ty_byte < <(ty_hex head 8 "$1")
  [[ ${#ty_byte[@]} == 8 && "${ty_byte[*]:4}" == '00 00 00 00' ]] || return 1
  ty_length=$((16#${ty_byte[3]}${ty_byte[2]}${ty_byte[1]}${ty_byte[0]}))
  ((ty_length + 8 <= {{ resume.header_bytes_max }} && ty_length + 8 <= $2)) || return 1
  ty_reads_as_json < <(head -c $((ty_length + 8)) -- "$1" | tail -c +9) || return 1
  while IFS= read -r ty_end; do
    ((10#$ty_end <= ty_last)) || ty_last=$((10#$ty_end))
  done < <(head -c $((ty_length + 8)) -- "$1" | tail -c +9 |
    grep -aoE '"data_offsets"[ ]*:[ ]*\[[ ]*[0-9]{1,18}[ ]*,[ ]*[0-9]{1,18}[ ]*\]' | grep -aoE '[0-9]+[ ]*\]' | grep -aoE '[0-9]+')
  ((8 + ty_length + ty_last == $2))
}

# ty_is_tar FILE SIZE: it ends in empty blocks, and its last record is filled up.
ty_is_tar() {
  (($2 > 0 && $2 % 10240 == 0)) || return 1
  [[ $(ty_hex head 2 "$1") != ' 1f 8b' && $(tail -c 1024 -- "$1" | tr -d '\0' | wc -c) == 0 ]]
}

# ty_is_json FILE SIZE: as Python writes it with indentation, only its last brace stands at the beginning of a line.
ty_is_json() {
  (($2 > 0)) || return 1
  [[ $(ty_hex tail 3 "$1") != ' 0a 7d 0a' ]] || return 0
  (($2 <= {{ resume.text_bytes_max }})) && ty_reads_as_json <"$1"
}

# Whether what comes in is one JSON object. Strings become \1 and other values \2; then what is whole within is made
# smaller until nothing of it is left: pairs of a key and a value become \3, and neighbours one.
ty_reads_as_json() {
  [[ $(tr '\0' '\1' | sed -zE '
    /[^\t\n\r -~]|\\u[dD][89a-fA-F]/{s/.*/x/;b}
    s/"([^"\\\t\n\r]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/\x01/g
    s/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null/\x02/g
    s/[ \t\n\r]+//g
    /^\{/!{s/.*/x/;b}
    :again
    s/\{\}|\[\]/\x02/g
    s/\x01:[\x01\x02]([,}])/\x03\1/g
    s/\x03,\x03/\x03/g
    s/([\x01\x02]),[\x01\x02]/\1/g
    s/\{\x03\}|\[[\x01\x02]\]/\x02/g
    tagain' 2>/dev/null) == $'\x02' ]]
}

# What the format has beside the ends of its files.
ty_by_rule() {
  case $ty_format in
{%- if resume.seeks("dcp") %}
    dcp) ty_has_metadata .metadata ;;
{%- endif %}
{%- if resume.seeks("huggingface") %}
    huggingface)
      ty_has trainer_state.json ${ty_files[@]+"${ty_files[@]}"} &&
        ((${#ty_folders[@]} + ${#ty_shards[@]} > 0)) && ty_has_listed
      ;;
{%- endif %}
{%- if resume.seeks("deepspeed") %}
    deepspeed) ((${#ty_shards[@]} > 0)) && ty_is_pointed_at {{ resume.deepspeed_pointer }} ;;
{%- endif %}
{%- if resume.seeks("megatron") %}
    megatron)
      if ty_has_parts; then
        ty_has_metadata .metadata && ty_has metadata.json "${ty_files[@]}" || return 1
      else
        ((${#ty_folders[@]} > 0)) || return 1
      fi
      ty_is_pointed_at {{ resume.megatron_pointer }}
      ;;
{%- endif %}
{%- if resume.seeks("lightning") %}
    lightning) ty_has_metadata .metadata && ty_has_some meta.pt ;;
{%- endif %}
{%- if resume.seeks("nemo") %}
    nemo) ty_has_metadata weights/.metadata ;;
{%- endif %}
    *) return 1 ;;
  esac
}

# ty_has_some NAME: it was looked at, and is not empty. Leaves in ty_when the time of its last change, in ty_bytes its size.
ty_has_some() {
  local ty_index
  for ty_index in ${ty_looked[@]+"${!ty_looked[@]}"}; do
    [[ ${ty_looked[ty_index]} == "$1" ]] || continue
    ty_when=${ty_times[ty_index]} ty_bytes=${ty_sizes[ty_index]}
    ((ty_bytes > 0))
    return
  done
  return 1
}

# ty_has_metadata NAME: the mark of torch's distributed checkpoints, and the shards that it names. A mark that is older than
# one of them is left of an earlier save into the same place, which is being written over.
ty_has_metadata() {
  local ty_index ty_when ty_bytes ty_missing
  ty_has_some "$1" && ty_ends .distcp ${ty_files[@]+"${ty_files[@]}"} || return 1
  if ((ty_bytes <= {{ resume.metadata_bytes_max }})); then
    ty_missing=$(comm -23 <(ty_named .distcp <"$ty_path/$1" | sort -u) <(printf '%s\n' "${ty_files[@]}" | sort))
    [[ -z $ty_missing ]] || return 1
  fi
  for ty_index in "${!ty_looked[@]}"; do
    [[ ${ty_looked[ty_index]} != *.distcp ]] || ((ty_times[ty_index] - ty_when < 2000)) || return 1
  done
}

# ty_named ENDING: the names with this ending among the short texts of a pickle, each of which follows the byte 0x8c and one
# for its length.
ty_named() { tr '\n\214' '\1\n' | sed -nE "s/^.([ -~]*\\$1).*/\\1/p"; }
{%- if resume.seeks("huggingface") %}

# Every shard that an index of the model names. A shard without an index is part of something that is not there.
ty_has_listed() {
  local ty_name ty_shard ty_index ty_listed=''
  for ty_index in ${ty_looked[@]+"${!ty_looked[@]}"}; do
    ty_name=${ty_looked[ty_index]}
    [[ $ty_name == *.index.json ]] || continue
    ty_listed=1
    ((ty_sizes[ty_index] <= {{ resume.index_bytes_max }})) && ty_reads_as_json <"$ty_path/$ty_name" || return 1
    [[ $(grep -o '"weight_map"' -- "$ty_path/$ty_name") == '"weight_map"' ]] || return 1
    while IFS= read -r ty_shard; do
      ty_has "$ty_shard" "${ty_files[@]}" || return 1
    done < <(tr -s '\t\n\r' '   ' <"$ty_path/$ty_name" | sed -E '
      s/.*"weight_map" *: *//
      s/^\{ *\}.*//
      s/^\{//
      s/ *"[^"\\]*" *: *"([^"\\]*)" *,?/\1\n/g
      s/\n *\}.*//' | sort -u)
  done
  [[ -z $ty_listed ]] || return 0
  for ty_name in ${ty_shards[@]+"${ty_shards[@]}"}; do
    [[ $ty_name != *-of-* ]] || return 1
  done
}
{%- endif %}
{%- if resume.seeks("deepspeed") || resume.seeks("megatron") %}

# ty_is_pointed_at POINTER: complete is what it names, and what came before that and has as many files. A blank one proves
# nothing of the newest, and as much as ever of what came before.
ty_is_pointed_at() {
  local ty_step ty_this
  [[ $ty_pointer == "$1" && -n $ty_target ]] || return 1
  if [[ $ty_own_name == "$ty_target" ]]; then
    [[ -z $ty_is_blank ]]
    return
  fi
  ty_step_of "$ty_own_name"
  ty_this=$ty_step
  ty_step_of "$ty_target"
  [[ -n $ty_this && -n $ty_step && -n $ty_target_count ]] && ((ty_this < ty_step && ty_count >= ty_target_count))
}

# The file in ty_beside that says which of its neighbours was written last, and what it says. It is written in place: it is
# empty for a moment, and stays so where the disk is full or the power goes; then the newest beside it is compared with.
ty_follow_pointer() {
  local ty_text ty_prefix={{ resume.megatron_prefix }}
  ty_pointer='' ty_target='' ty_target_count='' ty_is_blank=''
  for ty_text in {{ resume.megatron_pointer }} {{ resume.deepspeed_pointer }}; do
    [[ -z $ty_pointer ]] || break
    ! ty_has "f/$ty_text" ${ty_beside[@]+"${ty_beside[@]}"} || ty_pointer=$ty_text
  done
  [[ -n $ty_pointer ]] || return 0
  # After a power cut it may be full of NUL. What cannot be read is not blank.
  ty_text=$({ head -c 4096 -- "$ty_here/$ty_pointer" 2>/dev/null || printf /; } | tr '\0\1' '\1/')
  if [[ -z ${ty_text//[$'\1 \t\n\r']/} ]]; then
    ty_is_blank=1
    [[ $ty_pointer != {{ resume.deepspeed_pointer }} ]] || ty_prefix={{ resume.deepspeed_prefix }}
    ty_target=$(ty_in_order d '' | grep -a -m 1 -xE "d/[0-9-]+/${ty_prefix}[0-9]+")
    ty_target=${ty_target##*/}
  elif ! [[ $ty_text =~ ^[[:space:]]*([^[:cntrl:][:space:]/]+)[[:space:]]*$ ]]; then
    return 0
  elif [[ $ty_pointer == {{ resume.deepspeed_pointer }} || ${BASH_REMATCH[1]} == release ]]; then
    ty_target=${BASH_REMATCH[1]}
  elif [[ ${BASH_REMATCH[1]} =~ ^[0-9]{1,9}$ ]]; then
    printf -v ty_target '%s%07d' "$ty_prefix" "$((10#${BASH_REMATCH[0]}))"
  fi
  if [[ -n $ty_target ]] && ty_has "d/$ty_target" ${ty_beside[@]+"${ty_beside[@]}"} && ty_list "$ty_here/$ty_target"; then
    ty_target_count=${#ty_names[@]}
  fi
}
{%- endif %}
