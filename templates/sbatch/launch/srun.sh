# One task per rank. What each does first is expanded in the task, where Slurm has said which one it is.
{%- if launch.is_mpi() %} Over the
# interface that srun was told to offer, MPI finds the others.
{%- endif %}
ty_launch() {
  local ty_task
  ty_task=$(ty_tasks_know)'
{% include "sbatch/launch/srun_task.sh" %}
{% include "sbatch/launch/srun_rank.sh" %}
{%- include "sbatch/launch/srun_task_end.sh" %}
{% include "sbatch/launch/srun_options.sh" %}
  ty_start "$ty_srun" "${ty_options[@]}" /bin/bash -c "$ty_task" trainyard "$ty_failure" {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
}

{% include "sbatch/launch/srun_around.sh" %}
