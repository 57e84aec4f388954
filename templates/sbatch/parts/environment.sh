# --- What the training finds around it: each step is judged by what it left behind
{%- for piece in prologue %}

# shellcheck disable=all
site_prologue{% if prologue.len() > 1 %}_{{ loop.index }}{% endif %}() {
{{ piece }}
}
{%- endfor %}
{%- if !modules.is_empty() %}

# ty_load NAME: loads one module. Old versions of `module` report success whatever happened.
ty_load() {
  type module >/dev/null 2>&1 ||
    ty_fail "there is no \`module\` command on $ty_host; the site's prologue should define it"
  ty_outside "loading the module \`$1\`" module load "$1" ||
    ty_fail "the module \`$1\` cannot be loaded on $ty_host; the job's own log has what \`module\` said"
  case :${LOADEDMODULES:-}: in
    *":$1:"* | *":$1/"*) return ;;
  esac
  # An alias has another name once it is loaded. These versions tell failure by their status.
  [[ -n ${LMOD_VERSION:-}${MODULES_CMD:-} ]] ||
    ty_fail "\`module load $1\` reported success on $ty_host, but the module is not loaded"
}
{%- endif %}
{%- if let Some(environment) = conda %}

ty_set_up_conda() {
{%- if let Some(root) = conda_root %}
  # shellcheck source=/dev/null
  source {{ root }}/etc/profile.d/conda.sh
{%- else %}
  eval "$(conda shell.bash hook)"
{%- endif %}
}

ty_activate_conda() {
  local ty_wanted={{ environment }}
{%- if let Some(root) = conda_root %}
  local ty_conda={{ root }}/etc/profile.d/conda.sh
  [[ -r $ty_conda ]] || ty_fail "there is no conda on $ty_host: $ty_conda cannot be read"
{%- else %}
  type conda >/dev/null 2>&1 || ty_fail "there is no \`conda\` on $ty_host; a module or the site's prologue should bring it"
{%- endif %}
  ty_outside "setting up conda" ty_set_up_conda
  ty_outside "activating the conda environment" conda activate "$ty_wanted"
  [[ -n ${CONDA_PREFIX:-} && (${CONDA_PREFIX##*/} == "$ty_wanted" || ${CONDA_DEFAULT_ENV:-} == "$ty_wanted" ||
    $CONDA_PREFIX -ef $ty_wanted) ]] ||
    ty_fail "the conda environment \`$ty_wanted\` cannot be activated on $ty_host; the job's own log has what conda said"
}
{%- endif %}
{%- if let Some(path) = venv %}

ty_source_venv() {
  # shellcheck source=/dev/null
  source {{ path }}/bin/activate
}

ty_activate_venv() {
  local ty_wanted={{ path }} ty_python
  [[ -r $ty_wanted/bin/activate ]] ||
    ty_fail "there is no virtual environment at $ty_wanted on $ty_host: bin/activate cannot be read"
  ty_outside "activating the virtual environment" ty_source_venv
  ty_python=$(type -P python)
  [[ -n ${VIRTUAL_ENV:-} && $VIRTUAL_ENV -ef $ty_wanted && -n $ty_python && ${ty_python%/*} -ef $ty_wanted/bin ]] ||
    ty_fail "the virtual environment $ty_wanted does not work on $ty_host: after activation \`python\` is ${ty_python:-missing}"
}
{%- endif %}
{%- if is_built %}

ty_source_built() {
  # shellcheck source=/dev/null
  source "$ty_wanted/bin/activate"
}

# The environment that was built of the requirements: whole, and for the Python and the machine that are here.
ty_activate_built() {
  local ty_wanted ty_key ty_value ty_python ty_here
  [[ -n $ty_token ]] ||
    ty_fail "submitted by hand, this script has no environment: Trainyard builds it of the requirements for each of its runs"
  ty_wanted=$(readlink -- "{{ files.shared }}/environment/venv")
  [[ -n $ty_wanted && -r $ty_wanted/complete && -r $ty_wanted/bin/activate ]] ||
    ty_fail "the environment that was built for this run is not whole on $ty_host: ${ty_wanted:-{{ files.shared }}/environment/venv}"
  ty_outside "activating the environment" ty_source_built
  ty_python=$(type -P python)
  [[ -n $ty_python && ${ty_python%/*} -ef $ty_wanted/bin ]] ||
    ty_fail "the environment $ty_wanted does not work on $ty_host: after activation \`python\` is ${ty_python:-missing}"
  while IFS=$'\t' read -r ty_key ty_value; do
    case $ty_key in
      python) ty_here=$("$ty_python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') ;;
      machine) ty_here=$(uname -m) ;;
      *) continue ;;
    esac
    # Python's last number may be another: what is installed does not depend on it.
    [[ $ty_key != python ]] || ty_value=${ty_value%.*} ty_here=${ty_here%.*}
    [[ $ty_here == "$ty_value" ]] ||
      ty_fail "the environment $ty_wanted was built for $ty_key $ty_value, and here on $ty_host is ${ty_here:-none}"
  done <"$ty_wanted/complete"
}
{%- endif %}

ty_environment() {
{%- if prologue.is_empty() && modules.is_empty() && conda.is_none() && venv.is_none() && !is_built %}
  :
{%- endif %}
{%- for piece in prologue %}
  ty_outside "the site's prologue" site_prologue{% if prologue.len() > 1 %}_{{ loop.index }}{% endif %}
{%- endfor %}
{%- for module in modules %}
  ty_load {{ module }}
{%- endfor %}
{%- if conda.is_some() %}
  ty_activate_conda
{%- endif %}
{%- if venv.is_some() %}
  ty_activate_venv
{%- endif %}
{%- if is_built %}
  ty_activate_built
{%- endif %}
}

# The spec's variables. Called only in subshells, so that the training gets them and this script does not.
ty_variables() {
{%- if variables.is_empty() %}
{%- if !is_sweep %}
  :
{%- endif %}
{%- else %}
  # An array of the same name would not be exported.
  unset -v{% for (variable, _) in variables %} {{ variable }}{% endfor %}
{%- endif %}
{%- for (variable, value) in variables %}
  export {{ variable }}={{ value }}
{%- endfor %}
{%- if is_sweep %}
  eval "$ty_exports"
{%- endif %}
}
{%- if has_secrets %}

# The secrets, for what is started next and nothing else: called only in subshells. A line is NAME=VALUE as it is, without
# quotes; nothing in it is code, and nobody traces it.
ty_secrets() {
  local ty_line
  [[ -n $ty_token ]] || return 0 # by hand: they come with the environment, if at all
  { set +xv; } 2>/dev/null
  while IFS= read -r ty_line; do
    export "${ty_line?}"
  done <"{{ files.shared }}/secrets.env"
}

ty_find_secrets() {
  if [[ -z $ty_token ]]; then
    ty_say "submitted by hand: the secrets are not read; the training gets what sbatch was given"
  elif ! { : <"{{ files.shared }}/secrets.env"; } 2>/dev/null; then
    ty_fail "the secrets cannot be read on $ty_host: {{ files.shared }}/secrets.env"
  fi
}
{%- endif %}
