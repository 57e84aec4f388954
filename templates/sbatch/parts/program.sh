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
{%- if starts_python && container.is_none() %}
{%- if launch.is_deepspeed() %}
  ty_python=python
{%- else %}
  local ty_python=python
{%- endif %}
  ty_found python || ty_python=python3
  ty_found "$ty_python" || ty_fail "there is neither \`python\` nor \`python3\` on $ty_host"
{%- endif %}
  ty_command=(
{%- if is_python && agent.is_none() && container.is_none() && !has_rank_logs %}
    "$ty_python"
{%- endif %}
{%- for word in program %}
    {{ word }}
{%- endfor %}
{%- for arg in args %}
    {{ arg }}
{%- endfor %}
  )
{%- if is_sweep %}
  eval "ty_command+=$ty_args"
{%- endif %}
{%- if let Some(resume) = resume %}{% if !resume.args.is_empty() %}
  [[ -z $TRAINYARD_RESUME_FROM ]] || ty_command+=(
{%- for arg in resume.args %}
    {{ arg }}
{%- endfor %}
  )
{%- endif %}{% endif %}
{%- if !is_python %}
{%- if container.is_none() %}
  ty_found "${ty_command[0]}" || ty_fail "\`${ty_command[0]}\` cannot be executed on $ty_host"
{%- endif %}
{%- endif %}
{%- if has_rank_logs %}
  ty_command=(/bin/sh -c "$ty_rank_log" trainyard "${ty_command[@]}")
{%- endif %}
{%- if let Some(words) = no_python %}{% if !is_python || has_rank_logs %}
  ty_command=({{ words }} "${ty_command[@]}")
{%- endif %}{% endif %}
{%- if let Some(agent) = agent %}{% if container.is_none() %}
  ty_found {{ agent }} || ty_fail "there is no \`{{ agent }}\` on $ty_host"
{%- endif %}{% endif %}
{%- if has_secrets %}
  ty_find_secrets
{%- endif %}
{%- if launch.uses_srun() %}
  ty_srun=$(type -P srun) || ty_fail "there is no \`srun\` on $ty_host"
{%- endif %}
{%- if launch.is_mpi() && !on_slurm %}
  ty_mpirun=$(ty_variables && type -P mpirun) ||
    ty_say "there is no \`mpirun\` on $ty_host: the ranks are plain processes, and MPI itself would take each for a world of its own"
{%- else if launch.is_mpi() && !says_mpi %}
  # Without it each rank would be a world of its own.
  local ty_mpi=${SLURM_MPI_TYPE:-}
  [[ -n $ty_mpi ]] || ty_mpi=$(scontrol show config | sed -n 's/^MpiDefault *= *//p')
  # Newer releases print no plugin as `(null)`.
  [[ $ty_mpi != none && $ty_mpi != '(null)' ]] ||
    ty_fail "srun would start no MPI processes: Slurm's MpiDefault is none; the site's \`srun_args\` should have --mpi=pmix or --mpi=pmi2"
{%- endif %}
}
