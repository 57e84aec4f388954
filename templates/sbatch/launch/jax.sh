# One task per process of JAX. What `jax.distributed.initialize()` looks for comes from Slurm, but for where they meet: the
# port that JAX takes by itself is the same at each restart, and may be another job's.
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
{% include "sbatch/launch/srun_rank.sh" %}
{% include "sbatch/launch/jax_rank.sh" %}
{%- include "sbatch/launch/srun_task_end.sh" %}
{% include "sbatch/launch/srun_options.sh" %}
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}
