# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Recordings of commands about jobs that nobody knows, and of clusters of which a part is away. Sourced by `record`.

record_unknown() {
  submit known -- "$FOREVER"
  until_is known RUNNING
  # In its first seconds a job is in slurmdbd under another name and in another state, or not at all.
  keep accounts-early "${ACCOUNTS[@]}" --jobs="${ids[known]}"
  keep sacct-early sacct -D -X -n -P --noconvert -j "${ids[known]}" -o "$SACCT_FIELDS"
  until_sacct known RUNNING
  keep squeue-unknown squeue -h -t all -j 999999 -o "$SQUEUE_FORMAT"
  keep squeue-unknown-two squeue -h -t all -j 999998,999999 -o "$SQUEUE_FORMAT"
  keep squeue-unknown-and-known squeue -h -t all -j "999999,${ids[known]}" -o "$SQUEUE_FORMAT"
  keep squeue-unknown-long squeue -h -t all -j 999999 -O "$SQUEUE_LONG"
  keep squeue-unknown-name squeue -h -t all --me --name=nobody -o "$SQUEUE_FORMAT"
  keep show-job-unknown scontrol -o show job 999999
  keep accounts-unknown "${ACCOUNTS[@]}" --jobs=999999
  keep sacct-unknown sacct -D -X -n -P --noconvert -j 999999 -o "$SACCT_FIELDS"
  keep scancel-unknown scancel 999999
  keep scontrol-requeue-unknown scontrol requeue 999999
  keep scontrol-hold-running scontrol hold "${ids[known]}"
  keep scontrol-release scontrol release "${ids[known]}"
  keep scancel-running scancel "${ids[known]}"
  await "an empty queue" nothing_live
  keep scancel-finished scancel "${ids[known]}"
}

# all_at_once MOMENT: each command that may have to wait for an answer, at the same time.
all_at_once() {
  keep "$1-sbatch" sbatch --parsable --job-name="$1" --output=/dev/null <<<$'#!/bin/bash\nexit 0' &
  keep "$1-poll" "${POLL[@]}" &
  keep "$1-accounts" "${ACCOUNTS[@]}" --jobs=1 &
  keep "$1-squeue" squeue -h -t all --me -o "$SQUEUE_FORMAT" &
  keep "$1-squeue-one" squeue -h -t all -j 1 -o "$SQUEUE_FORMAT" &
  keep "$1-show-job" scontrol -o show job 1 &
  keep "$1-show-config" scontrol show config &
  keep "$1-scancel" scancel 1 &
  keep "$1-ping" scontrol ping &
  keep "$1-sinfo" sinfo -h -o '%R|%a' &
  keep "$1-sacct" sacct -D -X -n -P --noconvert -S "$(now)" -o "$SACCT_FIELDS" &
  wait
}

# The job of the sbatch that "failed" is there afterwards.
record_frozen() {
  "$here/daemon" freeze slurmctld --dir "$dir"
  all_at_once frozen
  "$here/daemon" thaw slurmctld --dir "$dir"
  await "slurmctld" frozen_job_shows
  keep thawed-squeue squeue -h -t all --me --name=frozen -o "$SQUEUE_FORMAT"
}

frozen_job_shows() { [[ -n $(clean squeue -h -t all --name=frozen -o %i) ]]; }

record_down() {
  "$here/daemon" stop slurmctld --dir "$dir"
  all_at_once down
  with_cluster
}

record_slurmdbd_down() {
  "$here/daemon" stop slurmdbd --dir "$dir"
  all_at_once slurmdbd-down
  with_cluster
}

record_no_accounting() {
  began=$(now)
  submit completed -- 'exit 0'
  until_is completed COMPLETED
  submit running --account=anything --qos=anything -- "$FOREVER"
  keep no-accounting-sbatch-qos sbatch --parsable --qos=anything --output=/dev/null <<<$'#!/bin/bash\nexit 0'
  keep no-accounting-sbatch-account sbatch --parsable --account=anything --output=/dev/null <<<$'#!/bin/bash\nexit 0'
  keep no-accounting-poll "${POLL[@]}"
  keep no-accounting-accounts "${ACCOUNTS[@]}" --jobs="${ids[completed]}"
  keep no-accounting-squeue squeue -h -t all --me -o "$SQUEUE_FORMAT"
  keep no-accounting-squeue-long squeue -h -t all --me -O "$SQUEUE_LONG"
  keep no-accounting-show-job scontrol -o show job "${ids[completed]}"
  keep no-accounting-sacct sacct -D -X -n -P --noconvert -S "$began" -o "$SACCT_FIELDS"
  keep no-accounting-assoc-mgr "${LIMITS[@]}" accounts=ml users=root flags=assoc
  keep no-accounting-sacctmgr sacctmgr -n -P show associations
  keep no-accounting-show-config scontrol show config
  clear_queue
}

# What accounts may use and have used: on a cluster with priorities of more than one factor, which alone counts that.
record_limits() {
  clean sacctmgr -i -Q modify account ml set GrpTRESMins=node=100,gres/gpu=60 >/dev/null
  clean sacctmgr -i -Q add account paid parent=ml GrpTRESMins=node=90,cpu=600 >/dev/null
  clean sacctmgr -i -Q add user root account=paid >/dev/null
  submit paid --account=paid --exclusive -- 'sleep 16'
  until_is paid COMPLETED
  keep assoc-mgr "${LIMITS[@]}" accounts=paid users=root flags=assoc
  keep assoc-mgr-above "${LIMITS[@]}" accounts=ml,paid,root users=root flags=assoc
  keep assoc-mgr-unknown "${LIMITS[@]}" accounts=nobody users=root flags=assoc
  keep multifactor-show-config scontrol show config
  "$here/daemon" stop slurmdbd --dir "$dir"
  keep slurmdbd-down-assoc-mgr "${LIMITS[@]}" accounts=paid users=root flags=assoc
}

record_reject() {
  began=$(now)
  keep reject-sbatch sbatch --parsable --job-name=refused --comment=reject-me --output=/dev/null \
    <<<$'#!/bin/bash\nexit 0'
  keep reject-sbatch-renamed sbatch --parsable --job-name=renamed --output=/dev/null <<<$'#!/bin/bash\nsleep 600'
  submit renamed-too -- "$FOREVER"
  until_is renamed-too RUNNING
  until_sacct renamed-too RUNNING
  keep reject-poll "${POLL[@]}"
  keep reject-squeue squeue -h -t all --me -o "$SQUEUE_FORMAT"
  keep reject-sacct sacct -D -X -n -P --noconvert -S "$began" -o "$SACCT_FIELDS"
  clear_queue
}
