# --- Telling: events for the inbox{% if !is_sweep %} and events.jsonl{% endif %}, the exit marker for {% if is_sweep %}the point's directory{% else %}exits/{% endif %}

# ty_json TEXT: puts the inside of a JSON string into ty_escaped: at most 1000 characters, and valid UTF-8 whatever the
# bytes are. Neither this nor its callers substitute commands: bash 5.2 fails when a trap runs while it reads one.
ty_json() {
  local LC_ALL=C ty_character ty_characters=0 ty_escape
  local ty_two=$'[\xC2-\xDF][\x80-\xBF]'
  local ty_three=$'\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]'
  local ty_four=$'\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2}'
  local ty_text=${1:0:4000}
  ty_escaped=''
  while [[ -n $ty_text ]] && ((ty_characters++ < 1000 && ${#ty_escaped} < 2500)); do
    ty_character=${ty_text:0:1}
    case $ty_character in
      '"' | \\) ty_escaped+=\\$ty_character ;;
      [[:print:]]) ty_escaped+=$ty_character ;;
      [[:cntrl:]])
        printf -v ty_escape '\\u%04x' "'$ty_character"
        ty_escaped+=$ty_escape
        ;;
      *)
        if [[ $ty_text =~ ^($ty_two|$ty_three|$ty_four) ]]; then
          ty_character=${BASH_REMATCH[0]}
          ty_escaped+=$ty_character
        else
          ty_escaped+='\ufffd'
        fi
        ;;
    esac
    ty_text=${ty_text:${#ty_character}}
  done
}

# ty_event EVENT [EXIT_CODE] [REASON] [MESSAGE]: puts one line of JSON into the caller's ty_line.
ty_event() {
  local ty_escaped ty_number ty_reason_json=null
  [[ -z ${3:-} ]] || ty_reason_json="\"$3\""
  ty_line="{\"token\":\"$ty_token\""
  ty_json "$ty_job"
  ty_line+=",\"job\":\"$ty_escaped\",\"index\":$ty_index,\"attempt\":$ty_attempt,\"restart\":$ty_restart"
  printf -v ty_number '%(%s)T' -1
  ty_line+=",\"event\":\"$1\",\"at\":$ty_number"
  ty_json "$ty_host"
  ty_line+=",\"host\":\"$ty_escaped\",\"exit_code\":${2:-null},\"reason\":$ty_reason_json"
  ty_json "${4:-}"
  ty_line+=",\"message\":\"$ty_escaped\"{% if resume.is_some() %},\"resumed_from_step\":${ty_resume_step:-null}{% endif %}}"
}

# ty_drop DIRECTORY NAME LINE: writes a file whole or not at all.
ty_drop() {
  printf '%s\n' "$3" >"$1/.$2.tmp" && mv -f -- "$1/.$2.tmp" "$1/$2"
} 2>/dev/null

# ty_tell NAME LINE: what cannot be told never stops the training.
ty_tell() {
{%- if !is_sweep %}
  { printf '%s\n' "$2" >>"$ty_run_dir/events.jsonl"; } 2>/dev/null
{%- endif %}
  ty_drop "$ty_run_root/.inbox" "$ty_token.$ty_index.$ty_restart.$1.json" "$2"
  return 0
}

# ty_emit EVENT [MESSAGE]
ty_emit() {
  local ty_line
  [[ -n $ty_token ]] || return 0
  ty_event "$1" '' '' "${2:-}"
  ty_tell "$1" "$ty_line"
}

# The last event, and the exit marker that says the same where nobody else remembers the job.
ty_emit_end() {
  local ty_line ty_exits=$ty_run_dir{{ files.exits }} ty_marker=$ty_run_dir{{ files.exits }}/$ty_attempt.json
  ty_event ended "$ty_code" "$ty_reason" "$ty_message"
  if [[ $ty_reason == superseded ]]; then
    # The owner of the claim has the same token: its marker and its file in the inbox are left alone.
    ty_tell superseded "$ty_line"
    return
  fi
  # Without the claim a marker that is there may be somebody else's.
  if [[ -d $ty_run_dir && (-n $ty_claimed || ! -e $ty_marker) ]]; then
    mkdir -p -- "$ty_exits" 2>/dev/null
    ty_drop "$ty_exits" "$ty_attempt.json" "$ty_line" || ty_say "cannot write the exit marker $ty_marker"
  fi
  ty_tell ended "$ty_line"
}
