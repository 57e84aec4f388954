# --- What is started
{%- if container.is_none() %}

# ty_found PROGRAM: whether the training will find it.
ty_found() (
  ty_variables
  type -P -- "$1"
) >/dev/null 2>&1
{%- endif %}

# ty_start COMMAND...: becomes it. Called only in subshells.
ty_start() {
  trap - INT QUIT # bash starts background processes with these ignored
{%- if launch.uses_srun() %}
  ty_let_go # the tasks hold for themselves
{%- endif %}
  ty_variables
{%- if has_secrets && !launch.uses_srun() %}
  ty_secrets
{%- endif %}
  exec -- "$@"
}

ty_program() {
{%- if is_python && !launch.is_torchrun() && container.is_none() %}
  local ty_python=python
  ty_found python || ty_python=python3
  ty_found "$ty_python" || ty_fail "there is neither \`python\` nor \`python3\` on $ty_host"
{%- endif %}
  ty_command=(
{%- if is_python && !launch.is_torchrun() && container.is_none() %}
    "$ty_python"
{%- endif %}
{%- for word in program %}
    {{ word }}
{%- endfor %}
{%- for arg in args %}
    {{ arg }}
{%- endfor %}
  )
{%- if !is_python %}
{%- if container.is_none() %}
  ty_found "${ty_command[0]}" || ty_fail "\`${ty_command[0]}\` cannot be executed on $ty_host"
{%- endif %}
{%- if launch.is_torchrun() %}
  ty_command=(--no-python "${ty_command[@]}")
{%- endif %}
{%- endif %}
{%- if launch.is_torchrun() && container.is_none() %}
  ty_found torchrun || ty_fail "there is no \`torchrun\` on $ty_host"
{%- endif %}
{%- if has_secrets %}
  ty_find_secrets
{%- endif %}
{%- if launch.uses_srun() %}
  ty_srun=$(type -P srun) || ty_fail "there is no \`srun\` on $ty_host"
{%- endif %}
}
