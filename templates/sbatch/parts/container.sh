{% if let Some(container) = container -%}
# --- The container: what the training is started in
{%- if container.is_path %}

# ty_image_identity: what tells the image from another one, of its first bytes at most. An Apptainer file has an id, and a
# SquashFS says when it was made: both stay when it is copied. Of a directory only what Charliecloud notes in it is read.
ty_image_identity() {
  local ty_image={{ container.image }} ty_head ty_sum
  if [[ -d $ty_image ]]; then
    ty_sum=$(head -c 1048576 -- "$ty_image/ch/metadata.json" 2>/dev/null | sha256sum)
    [[ ! -e $ty_image/ch/metadata.json ]] || printf 'metadata %s, ' "${ty_sum%% *}"
    TZ=UTC stat -L -c 'directory, changed %y' -- "$ty_image"
    return
  fi
  ty_head=$(od -A n -v -t x1 -N 64 -- "$ty_image" | tr -d ' \n')
  case $ty_head in
    ????????????????????????????????????????????????????????????????5349465f4d41474943*) printf 'SIF %s, ' "${ty_head:96:32}" ;;
    68737173*) printf 'SquashFS of %d, ' "0x${ty_head:22:2}${ty_head:20:2}${ty_head:18:2}${ty_head:16:2}" ;;
  esac
  TZ=UTC stat -L -c '%s bytes, changed %y' -- "$ty_image"
}
{%- else %}

# ty_image_identity: what stands behind an address only its digest tells, where it has one.
ty_image_identity() {
  local ty_image={{ container.image }}
  [[ $ty_image != *@sha256:* ]] || printf '%s\n' "${ty_image##*@}"
}
{%- endif %}

# ty_bind PATH...: those that are there, each once.
ty_bind() {
  local ty_path ty_known
  for ty_path in "$@"; do
    [[ -n $ty_path && -e $ty_path ]] || continue
    [[ $ty_path != *[:,]* ]] || ty_fail "$ty_path cannot be bound into a container: its name has a colon or a comma"
    for ty_known in ${ty_bound[@]+"${ty_bound[@]}"}; do
      [[ $ty_known != "$ty_path" ]] || continue 2
    done
    ty_bound+=("$ty_path")
  done
}

# What the training finds inside under the same paths as outside: the run's own directories, its code and its data.
ty_find_binds() {
  local ty_variable
  ty_bound=()
  ty_bind "{{ files.shared }}" "$ty_run_root/.store"
{%- if code.is_directory %}
  [[ -n $ty_token ]] || ty_bind {{ code.path }}
{%- endif %}
  ty_bind "$TRAINYARD_CHECKPOINT_DIR" "${TRAINYARD_METRICS_PATH%/*}"
{%- if container.is_pyxis %}
  ty_bind "${TRAINYARD_LOCAL_SCRATCH%/*}" # itself it is made inside, on each node
{%- else %}
  ty_bind "$TRAINYARD_LOCAL_SCRATCH"
{%- endif %}
  for ty_variable in "${!TRAINYARD_DATA_PATH@}"; do
    ty_bind "${!ty_variable}"
  done
}

# ty_find_container: puts into ty_inside what stands before the program. The last of that is a shell in the container; what
# it is given by TRAINYARD_ENTERED is there once the container is, and has the program.
ty_find_container() {
  local ty_image={{ container.image }} ty_path
  local ty_enter='
{%- if starts_python %}
    if command -v python >/dev/null 2>&1; then set -- python "$@"; else set -- python3 "$@"; fi
{%- endif %}
    command -v -- "$1" >/dev/null 2>&1 || { echo "trainyard: there is no $1 in the container" >&2; exit 127; }
    : >"$TRAINYARD_ENTERED" || exit 126
    unset TRAINYARD_ENTERED
    exec "$@"'
{%- if !container.is_pyxis %}
  type -P {{ container.runtime }} >/dev/null || ty_fail "there is no \`{{ container.runtime }}\` on $ty_host; a module or the site's prologue should bring it"
{%- endif %}
{%- if container.is_path %}
  [[ -r $ty_image ]] || ty_fail "there is no container image $ty_image on $ty_host"
{%- endif %}
  ty_say "the container: $ty_image ($(ty_image_identity))"
  ty_find_binds
{%- if container.is_pyxis %}
  local ty_mounts=''
  for ty_path in "${ty_bound[@]}"; do
    ty_mounts+=,$ty_path:$ty_path
  done
{%- for bind in container.binds %}
  ty_path={{ bind }}
  [[ $ty_path == *:* ]] || ty_path+=:$ty_path
  ty_mounts+=,$ty_path
{%- endfor %}
  ty_container=(
    --container-image="$ty_image"
    --container-mounts="${ty_mounts#,}"
    --container-workdir="$TRAINYARD_WORK_DIR"
{%- if !variables.is_empty() %}
    --container-env="{% for (variable, _) in variables %}{% if !loop.first %},{% endif %}{{ variable }}{% endfor %}"
{%- endif %}
{%- for word in container.args %}
    {{ word }}
{%- endfor %}
  )
  ty_inside=()
{%- else if container.is_charliecloud %}
  # TMPDIR would take the place of /tmp inside, and be unset there.
  ty_inside=(env -u TMPDIR USER="${USER:-$(id -un)}" ch-run)
  for ty_path in "${ty_bound[@]}"; do
    ty_mount_point "$ty_image" "$ty_path"
    ty_inside+=(-b "$ty_path:$ty_path")
  done
{%- for bind in container.binds %}
  ty_path={{ bind }}
  ty_mount_point "$ty_image" "${ty_path#*:}"
  ty_inside+=(-b "$ty_path")
{%- endfor %}
  ty_inside+=(-c "$TRAINYARD_WORK_DIR")
  [[ ! -r $ty_image/ch/environment ]] || ty_inside+=(--set-env)
  [[ -z ${TMPDIR:-} ]] || ty_inside+=(--set-env=TMPDIR="$TMPDIR")
{%- for word in container.args %}
  ty_inside+=({{ word }})
{%- endfor %}
  ty_inside+=("$ty_image" --)
{%- else %}
  ty_inside=(
    {{ container.runtime }} exec
{%- if let Some(flag) = container.gpu_flag %}
    {{ flag }}
{%- endif %}
  )
  for ty_path in "${ty_bound[@]}"; do
    ty_inside+=(--bind "$ty_path:$ty_path")
  done
{%- for bind in container.binds %}
  ty_inside+=(--bind {{ bind }})
{%- endfor %}
  ty_inside+=(--pwd "$TRAINYARD_WORK_DIR")
{%- for word in container.args %}
  ty_inside+=({{ word }})
{%- endfor %}
  ty_inside+=("$ty_image")
{%- endif %}
  ty_inside+=(/bin/sh -c "$ty_enter" trainyard)
{%- if !launch.uses_srun() %}
  export TRAINYARD_ENTERED=$ty_run_dir{{ files.logs }}/$ty_attempt.entered.$ty_job_id.$ty_restart
  ty_entered=$TRAINYARD_ENTERED
{%- endif %}
}
{%- if container.is_charliecloud %}

# ty_mount_point IMAGE PATH: what is bound needs a place in the image. /tmp is the node's, and nothing can be made in a file.
ty_mount_point() {
  [[ -d $1 && ! -e $1$2 && $2 != /tmp/* ]] || return 0
  if [[ -d $2 ]]; then mkdir -p -- "$1$2"; else mkdir -p -- "$1${2%/*}" && : >"$1$2"; fi ||
    ty_fail "$2 cannot be bound: the image $1 has no such place, and none can be made in it"
}
{%- endif %}
{%- if !launch.uses_srun() %}

# A training that failed without having been reached never started.
ty_judge_container() {
  if ((ty_code != 0)) && [[ ! -e $ty_entered ]]; then
    ty_reason=launch_failed
    ty_message="the container did not start on $ty_host (exit code $ty_code); the training's log has what {{ container.runtime }} said"
    ty_say "$ty_message"
    ty_code={{ launch_failed_exit }}
  fi
  rm -f -- "$ty_entered"
}
{%- endif %}
{%- endif %}
