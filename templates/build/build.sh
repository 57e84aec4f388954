#!/bin/bash
{%- for directive in directives %}
{{ directive }}
{%- endfor %}
#
# Builds the virtual environment of runs from their captured requirements, rendered by Trainyard. It is started in the
# directory that the requirements lie in, `environment/build` of a run directory: by the daemon on its own machine, or as a
# job. It says what it does in the run's logs/build.out, and names what it built in the file `outcome`. One that is killed
# leaves nothing behind that the next would trip over.
#
# Some functions are called by others that are not always there, and what stands in single quotes is meant literally:
# shellcheck disable=SC2317,SC2016

ty_say() { printf 'trainyard: %s\n' "$1" >&2; }

ty_fail() {
  ty_say "$1"
  exit 1
}

# ty_outside WHAT COMMAND...: runs code that is not the script's own.
ty_outside() {
  local ty_status
  set +eu
  "${@:2}"
  ty_status=$?
  set +eCf
  set -u
  IFS=$' \t\n'
  return "$ty_status"
}

{% include "sbatch/parts/environment.sh" %}

ty_find_python() {
  ty_python=$(type -P python3) || ty_python=$(type -P python) ||
    ty_fail "there is no Python on $ty_host to build an environment with"
  ty_version=$("$ty_python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') ||
    ty_fail "the Python $ty_python on $ty_host does not work"
}

# Names the environment by everything that decides what is in it, of which this machine's part is known only here.
ty_name() {
  local ty_glibc ty_digest
  ty_glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || ty_glibc='none'
  ty_digest=$(printf '%s\t%s\n' asked {{ asked }} python "$ty_version" machine "$(uname -m)" glibc "${ty_glibc#glibc }" | sha256sum)
  ty_digest=${ty_digest%% *}
  [[ $ty_digest =~ ^[0-9a-f]{64}$ ]] || ty_fail "cannot name the environment on $ty_host: \`sha256sum\` does not work"
  ty_place={{ run_root }}/.store/environments/$ty_digest
}

# The link `venv` is the truth: what it leads to is whole. Each builder makes a directory of its own, and the first to be
# done makes the link, so that two of them do no harm where files cannot be locked.
ty_build() {
  local ty_new ty_lock
  mkdir -p -- "$ty_place/builds" || ty_fail "cannot make $ty_place on $ty_host"
  # A lock of the kernel: it goes with who holds it.
  exec {ty_lock}>>"$ty_place/lock"
  flock -n "$ty_lock" 2>/dev/null || {
    ty_say "another builder is at work: waiting for it"
    flock -w {{ deadline_seconds }} "$ty_lock" || ty_say "$ty_place/lock cannot be locked: building all the same"
  }
  touch -- "$ty_place/lock" # when it was used last
  if [[ -r $ty_place/venv/complete ]]; then
    ty_say "the environment was built before: $ty_place"
    return
  fi
  [[ ! -L $ty_place/venv ]] || rm -f -- "$ty_place/venv" # what it led to was cleared away
  find "$ty_place/builds" -mindepth 1 -maxdepth 1 -mmin +{{ deadline_seconds / 60 * 2 }} -exec rm -rf -- {} + 2>/dev/null
  printf -v ty_new '%s/builds/%s.%s.%(%s)T' "$ty_place" "$ty_host" "$$" -1
  trap 'rm -rf -- "$ty_new"; exit 1' TERM INT HUP
  export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0
  unset -v VIRTUAL_ENV PYTHONHOME
  ty_say "building $ty_new with Python $ty_version on $ty_host${SLURM_JOB_ID:+, job $SLURM_JOB_ID}"
  ty_install "$ty_new" {ty_lock}>&- || {
    rm -rf -- "$ty_new"
    exit 1
  }
  printf '%s\t%s\n' python "$ty_version" machine "$(uname -m)" tool "$ty_tool" >"$ty_new/complete"
  sync -f -- "$ty_new" 2>/dev/null
  ln -sn -- "builds/${ty_new##*/}" "$ty_place/venv" 2>/dev/null
  [[ -r $ty_place/venv/complete ]] || ty_fail "cannot put the environment in place: $ty_place/venv on $ty_host"
  # Somebody else was first.
  [[ $ty_new -ef $ty_place/venv ]] || rm -rf -- "$ty_new"
  ty_say "the environment is built: $ty_place"
}

# ty_tool_of WORDS: a tool as it names itself, without where it lies.
ty_tool_of() {
  local ty_words
  read -r -a ty_words <<<"$1"
  ty_tool="${ty_words[*]:0:2}"
}

# ty_install DIRECTORY: with uv where there is one, and with pip where there is none or it does not get there.
ty_install() {
  local ty_arguments=(
{%- for argument in pip_args %}
    {{ argument }}
{%- endfor %}
  )
  local ty_all=(${ty_arguments[@]+"${ty_arguments[@]}"} -r 0.txt)
  if type -P uv >/dev/null; then
    uv venv --quiet --python "$ty_python" "$1" &&
      uv pip install --python "$1/bin/python" --link-mode copy --no-progress "${ty_all[@]}" &&
      ty_tool_of "$(uv --version)" && return
    ty_say "uv did not get there: once more with pip"
    rm -rf -- "$1"
  fi
  "$ty_python" -m venv "$1" || return
  "$1/bin/python" -m pip install --progress-bar off "${ty_all[@]}" &&
    ty_tool_of "$("$1/bin/python" -m pip --version)"
}

# The last word: written whole, or not at all.
ty_tell() {
  local ty_new=outcome.$ty_host.$$
  if ! printf '%s\n' "${ty_place##*/}" >"$ty_new" || ! mv -f -- "$ty_new" outcome; then
    ty_fail "cannot write $PWD/outcome on $ty_host"
  fi
}

main() {
  umask {{ umask }}
  exec >>../../logs/build.out 2>&1 || exit 1
  ty_host=$(uname -n) ty_here=$PWD
  rm -f -- outcome
  renice -n 10 -p $$ >/dev/null 2>&1
  ty_environment
  cd -- "$ty_here" || ty_fail "cannot enter $ty_here on $ty_host"
  ty_find_python
  ty_name
  ty_build
  ty_tell
}

main
