# --- What it really got: host, modules, Python, packages and GPUs, in environment/{% if is_sweep %}POINT.{% endif %}ATTEMPT.txt of the {% if is_sweep %}sweep's{% else %}run{% endif %} directory

# Written beside the training's start, on the first node. Nothing that matters waits for it, and whatever becomes of it,
# the training goes on.
ty_begin_record() {
  printf -v ty_record_since '%(%s)T' -1
{%- if launch.uses_srun() && !is_alone %}
  # For the other nodes: that of all of them is made once.
  ((ty_node_count == 1)) ||{% if is_sweep %} ! ty_is_first ||{% endif %} mkdir -p -- "{{ files.shared }}/environment/{{ files.record }}.nodes" 2>/dev/null
{%- endif %}
  (ty_record) </dev/null >/dev/null 2>&1 &
  ty_recorder=$!
}

# A training that was over at once still has its record: for that it is given 5 seconds from where it began, unless a
# signal asks for the end. It ends by itself within 2 minutes; later its number may be somebody else's.
ty_end_record() {
  local ty_now
  [[ -n $ty_recorder ]] || return 0
  printf -v ty_now '%(%s)T' -1
  [[ -n ${ty_clock:-} ]] || ty_open_clock
  while [[ -z $ty_signal ]] && ((ty_now - ty_record_since < 5)) && kill -0 "$ty_recorder" 2>/dev/null; do
    ty_pause
    printf -v ty_now '%(%s)T' -1
  done
  ((ty_now - ty_record_since > 120)) || kill -TERM "$ty_recorder" 2>/dev/null
}
{%- if is_sweep %}

# Points are many, and many are alike: the first {% if on_slurm %}of each array{% else %}one{% endif %} tells.
ty_is_first() { ((ty_{% if on_slurm %}index{% else %}point{% endif %} == 0 && ty_attempt == 1)); }
{%- endif %}

# Called only in a subshell of its own. What may hang comes last, and what is known by then can be read already.
ty_record() {
  local ty_new={{ files.shared }}/environment/.{{ files.record }} ty_told={{ files.shared }}/environment/{{ files.record }}.txt ty_child=''
  trap '[[ -z $ty_child ]] || kill "$ty_child"; rm -f -- "$ty_new".{new,part,said}; exit' TERM
  ty_let_go
{%- if is_sweep %}
  if ! ty_is_first; then
    ty_clear_left
    return
  fi
{%- endif %}
  mkdir -p -- "{{ files.shared }}/environment" || return 0
  ty_variables
  {
    ty_record_machine
{%- if launch.uses_srun() && !is_alone %}
    ty_note nodes "$ty_node_count"
{%- endif %}
{%- if let Some(container) = container %}
    ty_note image {{ container.image }} "$(ty_image_identity)"
{%- else %}
    ty_note image "${APPTAINER_CONTAINER:-${SINGULARITY_CONTAINER:-}}"
{%- endif %}
    ty_record_modules
    ty_record_python
  } >"$ty_new.new"
  if type -P nvidia-smi; then
    cp -- "$ty_new.new" "$ty_new.part" && mv -f -- "$ty_new.part" "$ty_told"
    ty_record_gpus >>"$ty_new.new"
  fi
  ty_note end >>"$ty_new.new"
  rm -f -- "$ty_new.said"
  mv -f -- "$ty_new.new" "$ty_told"
  ty_clear_left
}
{%- if launch.uses_srun() %}

# ty_record_node: of another node than the first, by one of its tasks. A file for each, which is written at once.
ty_record_node() {
  local ty_new=$TRAINYARD_LOCAL_SCRATCH/.record.$SLURM_JOB_ID ty_text
{%- if is_sweep %}
  [[ -d {{ files.shared_in_task }}/environment/{{ files.record_in_task }}.nodes ]] || return 0
{%- endif %}
  ty_text=$(
    ty_record_machine
    ! type -P nvidia-smi >/dev/null || ty_record_gpus
    ty_note end
  )
  rm -f -- "$ty_new.said"
  printf '%s\n' "$ty_text" >"{{ files.shared_in_task }}/environment/{{ files.record_in_task }}.nodes/$SLURM_NODEID.txt"
}
{%- endif %}

# ty_timed SECONDS COMMAND...: waited for so that a signal can come between, and then it is ended too.
ty_timed() {
  timeout --foreground -k 2 "$@" &
  ty_child=$!
  wait "$ty_child"
  ty_child=''
}

# ty_note KEY VALUE...: one line of the record, with a tab before each value. No value can begin another line.
ty_note() {
  local LC_ALL=C ty_value
  printf '%s' "$1"
  for ty_value in "${@:2}"; do
    ty_value=${ty_value//[[:cntrl:]]/ }
    printf '\t%s' "${ty_value:0:1000}"
  done
  printf '\n'
}

ty_record_machine() {
  local ty_key ty_value
  ty_note host "$ty_host"
  ty_note kernel "$(uname -sr)"
  ty_note machine "$(uname -m)"
  ty_note glibc "$(getconf GNU_LIBC_VERSION)"
  while IFS=: read -r ty_key ty_value; do
    [[ $ty_key != 'model name'* ]] || break
    ty_value=''
  done </proc/cpuinfo
  ty_note cpu "${ty_value# }"
  ty_note cpus "$(getconf _NPROCESSORS_ONLN)" "$(nproc)"
  while IFS=: read -r ty_key ty_value; do
    [[ $ty_key != MemTotal ]] || ty_note memory "$ty_value"
  done </proc/meminfo
}

ty_record_modules() {
  local ty_words ty_word ty_file
  IFS=: read -r -a ty_words <<<"${LOADEDMODULES:-}"
  for ty_word in ${ty_words[@]+"${ty_words[@]}"}; do
    ty_note module "$ty_word"
  done
  if type -P nvcc >/dev/null; then
    ty_timed 5 nvcc --version >"$ty_new.said"
    ty_note nvcc "$(head -c 2000 -- "$ty_new.said")"
  fi
  IFS=: read -r -a ty_words <<<"${LD_LIBRARY_PATH:-}"
  ty_words+=(/usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/local/lib)
  for ty_word in "${ty_words[@]}"; do
    for ty_file in "$ty_word"/libnccl.so.*.*.*; do
      [[ ! -e $ty_file ]] || ty_note nccl "$ty_file"
    done
  done
}

# The names of what is installed are enough: nothing is imported, and a large environment is one look at a directory.
ty_record_python() {
  local ty_python ty_file{% if is_built %} ty_key ty_value{% endif %}
  for ty_file in "${CONDA_PREFIX:-/nowhere}"/conda-meta/*.json; do
    ty_file=${ty_file##*/}
    [[ $ty_file == '*.json' ]] || ty_note conda "${ty_file%.json}"
  done
  ty_note virtual_env "${VIRTUAL_ENV:-}"
{%- if is_built %}
  while IFS=$'\t' read -r ty_key ty_value; do
    [[ $ty_key != tool ]] || ty_note built_with "$ty_value"
  done <"${VIRTUAL_ENV:-/nowhere}/complete"
{%- endif %}
  ty_python=$(type -P -- {{ python }}) || ty_python=$(type -P python) || ty_python=$(type -P python3) || return 0
  ty_timed 30 "$ty_python" -c '
import os, sys
seen, lines = set(), []
def note(*values):
    clean = ["".join(c if c.isprintable() else " " for c in str(value))[:1000] for value in values]
    lines.append("\t".join(clean))
note("python", ".".join(map(str, sys.version_info[:3])), sys.executable)
for place in sys.path:
    if not place:
        continue
    try:
        names = sorted(os.listdir(place))
    except OSError:
        continue
    for name in names:
        stem, ending = os.path.splitext(name)
        package, _, version = stem.partition("-")
        if ending not in (".dist-info", ".egg-info") or package.lower() in seen or len(seen) >= 5000:
            continue
        seen.add(package.lower())
        source = ""
        try:
            with open(os.path.join(place, name, "direct_url.json")) as file:
                source = file.read(4000)
        except (OSError, ValueError):
            pass
        note("package", package, version.split("-")[0], source)
sys.stdout.buffer.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
'
}

ty_record_gpus() {
  local ty_line
  ty_timed 20 nvidia-smi --query-gpu=name,memory.total,driver_version,uuid --format=csv,noheader,nounits >"$ty_new.said"
  while IFS= read -r ty_line; do
    ty_note gpu "$ty_line"
  done < <(head -n 64 -- "$ty_new.said")
  ty_timed 20 nvidia-smi >"$ty_new.said"
  while IFS= read -r ty_line; do
    [[ $ty_line != *'CUDA Version'* ]] || ty_note driver_cuda "$ty_line"
  done < <(head -n 20 -- "$ty_new.said")
}
