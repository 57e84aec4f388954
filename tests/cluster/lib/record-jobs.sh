# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Recordings of jobs: those that wait and run, those that end, and those that come back. Sourced by `record`.

readonly FOREVER='sleep 600'

record_waiting() {
  began=$(now)
  submit running-2-nodes --nodes=2 -- "$FOREVER"
  submit running-gpus --nodes=2 --gpus-per-node=a100:2 -- "$FOREVER"
  submit running-gres --gres=gpu:1 -- "$FOREVER"
  submit running-licenses --licenses=seat:2 -- "$FOREVER"
  submit running-two-partitions --partition=low,main -- "$FOREVER"
  submit suspended --nodelist=n4 -- "$FOREVER"
  submit $'newline\nNONCE|1|1|N/A|1|COMPLETED' -- "$FOREVER"
  submit 'pipes|and "quotes", a comma' -- "$FOREVER"
  submit "$(printf 'n%.0s' {1..300})" -- "$FOREVER"
  submit array --array=0-5%2 -- "$FOREVER"
  submit array-throttled --array=0-999:7%1 -- "$FOREVER"
  submit limited-running --account=limited -- "$FOREVER"
  submit limited-waiting --account=limited -- "$FOREVER"
  until_is running-2-nodes RUNNING
  until_is limited-running RUNNING
  until_is array PENDING,RUNNING || true
  submit het --nodes=1 : --nodes=1 -- "$FOREVER"
  submit waits-resources --nodes=4 --exclusive -- "$FOREVER"
  submit waits-priority --nodes=4 --exclusive -- "$FOREVER"
  submit waits-begin --begin=now+1hour -- "$FOREVER"
  submit waits-held-by-submit --hold -- "$FOREVER"
  submit waits-held-by-admin --begin=now+1hour -- "$FOREVER"
  submit waits-held-by-user --begin=now+1hour -- "$FOREVER"
  clean scontrol hold "${ids[waits-held-by-admin]}"
  clean scontrol uhold "${ids[waits-held-by-user]}"
  submit waits-dependency --dependency=afterok:"${ids[running-2-nodes]}" -- "$FOREVER"
  submit waits-licenses --licenses=seat:1 -- "$FOREVER"
  submit waits-time-limit --time=2-00:00:00 -- "$FOREVER"
  clean scontrol suspend "${ids[suspended]}"
  until_is suspended SUSPENDED
  await "a reason for each" all_have_reasons
  until_sacct running-2-nodes RUNNING
  table waiting
  local name
  for name in running-2-nodes running-gpus array het waits-held-by-submit waits-resources; do show "$name"; done
  keep squeue-array-rows squeue -h -r -t all --me --name=array -o "$SQUEUE_FORMAT"
  clean scancel "${ids[array]}_0" "${ids[array]}_1" "${ids[array]}_2" "${ids[array]}_3" "${ids[array]}_4"
  await "the array's last task" last_task_runs
  keep poll-array-last-task "${POLL[@]}"
  keep squeue-array-last-task squeue -h -t all --me --name=array -o "$SQUEUE_FORMAT"
  keep show-job-array-last-task scontrol -o show job "${ids[array]}"
  until_sacct array 'RUNNING|CANCELLED'
  keep accounts-array "${ACCOUNTS[@]}" --jobs="${ids[array]}"
  keep sacct-array sacct -D -X -n -P --noconvert -j "${ids[array]}" -o "$SACCT_FIELDS"
  keep sacct-array-steps sacct -D -n -P --noconvert -j "${ids[array]}" -o "$SACCT_FIELDS"
  clear_queue
}

all_have_reasons() { ! clean squeue -h -t PENDING -o %r | grep -x None; }

last_task_runs() { [[ $(clean squeue -h --name=array -o '%K %T') == '5 RUNNING' ]]; }

record_ends() {
  began=$(now)
  submit timeout --time=1 -- "$FOREVER"
  submit completed -- 'exit 0'
  submit failed-7 -- 'exit 7'
  submit killed-by-itself -- 'kill -9 $$'
  submit failed-step-hidden -- 'srun --kill-on-bad-exit=1 bash -c "exit 7"; exit 0'
  submit bad-directory --chdir=/no/such/folder -- 'exit 0'
  submit bad-output --output="$dir/no/such/folder/out" -- 'exit 0'
  submit cancelled-running -- "$FOREVER"
  submit cancelled-waiting --hold -- "$FOREVER"
  submit completing -- 'trap "" TERM; sleep 600 & while :; do wait; sleep 1; done'
  submit dependency-failed --dependency=afterok:"${ids[failed-7]}" -- 'exit 0'
  submit dependency-killed --dependency=afterok:"${ids[failed-7]}" --kill-on-invalid-dep=yes -- 'exit 0'
  submit node-failed --no-requeue --nodelist=n4 -- "$FOREVER"
  submit node-failed-requeued --nodelist=n4 -- "$FOREVER"
  local name
  for name in cancelled-running completing node-failed node-failed-requeued; do until_is "$name" RUNNING; done
  clean scancel "${ids[cancelled-running]}" "${ids[cancelled-waiting]}" "${ids[completing]}"
  until_is completing COMPLETING
  table completing
  show completing
  clean scontrol update nodename=n4 state=down reason=recording
  until_is node-failed NODE_FAIL
  clean scontrol update nodename=n4 state=resume || true # it may be back by itself already
  until_is cancelled-running CANCELLED
  for name in failed-7 bad-output cancelled-running node-failed-requeued; do await "sacct to list $name" sacct_lists "$name"; done
  table ended
  for name in completed failed-7 cancelled-running node-failed; do show "$name"; done
  keep scontrol-requeue-completed scontrol requeue "${ids[completed]}"
  until_sacct timeout TIMEOUT
  until_is timeout TIMEOUT
  table timeout
  show timeout
  keep squeue-forgotten squeue -h -t all -j "${ids[cancelled-waiting]}" -o "$SQUEUE_FORMAT"
  keep scancel-forgotten scancel "${ids[cancelled-waiting]}"
  keep sacct-steps sacct -D -n -P --noconvert -j "${ids[failed-step-hidden]}" -o "$SACCT_FIELDS"
  clear_queue
}

# What happens to a job that is run again. Its reappearance is an attempt of its own in sacct -D.
record_requeues() {
  began=$(now)
  submit requeued -- "$FOREVER"
  submit requeue-held -- "$FOREVER"
  submit special-exit -- "$FOREVER"
  submit preempted --partition=low --nodes=2 --nodelist=n3,n4 --exclusive -- "$FOREVER"
  submit preempted-for-good --partition=low --no-requeue --nodelist=n2 --exclusive -- "$FOREVER"
  local name
  for name in requeued requeue-held special-exit preempted preempted-for-good; do
    until_is "$name" RUNNING
    until_sacct "$name" RUNNING
  done
  keep scontrol-requeue scontrol requeue "${ids[requeued]}"
  clean scontrol requeuehold "${ids[requeue-held]}"
  clean scontrol requeuehold State=SpecialExit "${ids[special-exit]}"
  submit preemptor --nodes=3 --nodelist=n2,n3,n4 --exclusive -- "$FOREVER"
  until_is preemptor RUNNING
  for name in requeued preempted; do until_is "$name" PENDING; done
  table requeued
  for name in requeued requeue-held special-exit preempted preempted-for-good; do show "$name"; done
  until_is requeued RUNNING
  clean scancel "${ids[preemptor]}"
  until_is preempted RUNNING
  until_sacct preempted RUNNING
  table requeued-running
  show requeued
  clean scontrol release "${ids[requeue-held]}"
  clean scancel "${ids[requeued]}"
  until_sacct requeued CANCELLED
  keep accounts-attempts "${ACCOUNTS[@]}" \
    --jobs="${ids[requeued]},${ids[requeue-held]},${ids[special-exit]},${ids[preempted]},${ids[preempted-for-good]}"
  keep sacct-requeued-cancelled sacct -D -X -n -P --noconvert -j "${ids[requeued]}" -o "$SACCT_FIELDS"
  keep sacct-attempts sacct -D -X -n -P --noconvert -o "$SACCT_FIELDS" \
    -j "${ids[requeued]},${ids[requeue-held]},${ids[special-exit]},${ids[preempted]},${ids[preempted-for-good]}"
  keep sacct-requeued-newest sacct -X -n -P --noconvert -j "${ids[requeued]}" -o "$SACCT_FIELDS"
  # Requeued before slurmdbd heard that it started: what the first attempt then looks like, for good.
  submit requeued-at-once -- "$FOREVER"
  until_is requeued-at-once RUNNING
  clean scontrol requeue "${ids[requeued-at-once]}"
  until_is requeued-at-once PENDING
  until_is requeued-at-once RUNNING
  until_sacct requeued-at-once RUNNING
  keep accounts-requeued-at-once "${ACCOUNTS[@]}" --jobs="${ids[requeued-at-once]}"
  keep sacct-requeued-at-once sacct -D -X -n -P --noconvert -j "${ids[requeued-at-once]}" -o "$SACCT_FIELDS"
  clear_queue
}
