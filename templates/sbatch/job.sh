#!/bin/bash
{%- for directive in directives %}
{{ directive }}
{%- endfor %}
#
# {{ name_comment }}: a training run, rendered by Trainyard. This file needs nothing of Trainyard where it runs.
#
{%- if is_sweep %}
# It is the same for many points of a sweep. Which one it works for it reads from the job's name, which Trainyard sets to
# SWEEP@OFFSET.ATTEMPT.TOKEN, and from the job's place in its array, which counts from OFFSET. What that point is given
# stands in the sweep's table, {{ files.points }}.
{%- else %}
# It is the same for every run of its spec: which run it works for it reads from the job's name, which Trainyard sets to
# RUN.ATTEMPT.TOKEN. Submitted by hand, without that name, it trains in a directory of its own under by-hand/.
{%- endif %}
#
# The last line starts everything, so that half of this file does nothing. Names that begin with ty_ are the script's
# own: they meet neither what the site's code sets nor what the training is given.
#
# Some functions are called by traps, and what stands in single quotes is meant literally:
# shellcheck disable=SC2317,SC2016

{% include "sbatch/parts/ending.sh" %}

{% include "sbatch/parts/events.sh" %}

{% include "sbatch/parts/identity.sh" %}
{%- if is_sweep %}

{% include "sbatch/parts/point.sh" %}
{%- endif %}
{%- if let Some(resume) = resume %}

{% include "sbatch/parts/resume.sh" %}

{% include "sbatch/parts/complete.sh" %}
{%- endif %}

{% include "sbatch/parts/code.sh" %}

{% include "sbatch/parts/environment.sh" %}

{% include "sbatch/parts/place.sh" %}

{% include "sbatch/parts/scratch.sh" %}
{%- if !datasets.is_empty() %}

{% include "sbatch/parts/data.sh" %}
{%- endif %}

{% include "sbatch/parts/record.sh" %}

{% include "sbatch/parts/program.sh" %}
{%- if has_rank_logs %}

{% include "sbatch/parts/ranks.sh" %}
{%- endif %}
{%- if container.is_some() %}

{% include "sbatch/parts/container.sh" %}
{%- endif %}

# --- Starting it: the launcher {{ launcher }} {% if on_slurm %}on Slurm{% else %}on this machine{% endif %}

{% match launch -%}
{%- when Launch::Slurm(Launcher::None) -%}
{%- include "sbatch/launch/none.sh" -%}
{%- when Launch::Local(Launcher::None) -%}
{%- include "sbatch/launch/none.sh" -%}
{%- when Launch::Slurm(Launcher::Srun) -%}
{%- include "sbatch/launch/srun.sh" -%}
{%- when Launch::Slurm(Launcher::Mpi) -%}
{%- include "sbatch/launch/srun.sh" -%}
{%- when Launch::Slurm(Launcher::Torchrun) -%}
{%- include "sbatch/launch/torchrun.sh" -%}
{%- when Launch::Slurm(Launcher::Accelerate) -%}
{%- include "sbatch/launch/accelerate.sh" -%}
{%- when Launch::Slurm(Launcher::Deepspeed) -%}
{%- include "sbatch/launch/deepspeed.sh" -%}
{%- when Launch::Slurm(Launcher::Jax) -%}
{%- include "sbatch/launch/jax.sh" -%}
{%- when Launch::Local(Launcher::Srun) -%}
{%- include "sbatch/launch/local_srun.sh" -%}
{%- when Launch::Local(Launcher::Torchrun) -%}
{%- include "sbatch/launch/local_torchrun.sh" -%}
{%- when Launch::Local(Launcher::Accelerate) -%}
{%- include "sbatch/launch/local_accelerate.sh" -%}
{%- when Launch::Local(Launcher::Deepspeed) -%}
{%- include "sbatch/launch/local_deepspeed.sh" -%}
{%- when Launch::Local(Launcher::Mpi) -%}
{%- include "sbatch/launch/local_mpi.sh" -%}
{%- when Launch::Local(Launcher::Jax) -%}
{%- include "sbatch/launch/local_jax.sh" -%}
{%- endmatch %}

{% include "sbatch/parts/warning.sh" %}
{%- if let Some(watchdog) = watchdog %}

{% include "sbatch/parts/watchdog.sh" %}
{%- endif %}
{%- if let Some(requeue) = requeue %}

{% include "sbatch/parts/requeue.sh" %}
{%- endif %}
{%- if let Some(report_seconds) = report_seconds %}

{% include "sbatch/parts/hosts.sh" %}
{%- endif %}

{% include "sbatch/parts/run.sh" %}

main() {
  umask {{ umask }}
  ty_begin
  ty_settle
  ty_identify
{%- if is_sweep %}
  ty_claim
  ty_end_as_before
{%- else %}
  if [[ -n $ty_token ]]; then
    ty_claim
    ty_end_as_before
  fi
{%- endif %}
  ty_emit started
{%- if requeue.is_some() %}
  ty_check_restart
{%- endif %}
{%- if is_sweep %}
  ty_read_point
{%- endif %}
  ty_directories
{%- if resume.is_some() %}
  ty_resume
{%- endif %}
  ty_find_code
  ty_get_code
  ty_environment
  ty_find_nodes
  ty_make_scratch
{%- if !datasets.is_empty() %}
  ty_data
{%- endif %}
  ty_export
  ty_begin_record
  cd -- "$TRAINYARD_WORK_DIR" || ty_fail "cannot enter $TRAINYARD_WORK_DIR on $ty_host"
  ty_program
{%- if container.is_some() %}
  ty_find_container
{%- endif %}
{%- if report_seconds.is_some() %}
  ty_meet
{%- endif %}
  ty_run
{%- if !epilogue.is_empty() %}
  ty_epilogue
{%- endif %}
  exit "$ty_code"
}

main "$@"
