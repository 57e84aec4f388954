# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Recordings of sbatch's answers, and of what describes a cluster. Sourced by `record`.

record_cluster() {
  began=$(now)
  keep version sbatch --version
  keep poll-nothing "${POLL[@]}"
  keep squeue-nothing squeue -h -t all --me -o "$SQUEUE_FORMAT"
  keep sacct-nothing sacct -D -X -n -P --noconvert -S "$began" -o "$SACCT_FIELDS"
  keep show-config scontrol show config
  keep ping scontrol ping
  keep sinfo sinfo -h -o '%R|%a|%l|%D|%t|%N|%G|%f|%c|%m'
  keep sinfo-version sinfo --version
  keep sacct-helpformat sacct --helpformat
  keep sacct-unknown-field sacct -X -n -P -S "$began" -o JobIDRaw,NoSuchField
  keep sacctmgr-associations sacctmgr -n -P show associations format=Cluster,Account,User,MaxJobs,MaxSubmitJobs,QOS
  keep show-partition scontrol -o show partition
}

# sbatch_as NAME OPTION...: an sbatch of a script that would end at once.
sbatch_as() {
  keep "sbatch-$1" sbatch --parsable --job-name="$1" --output=/dev/null "${@:2}" <<<$'#!/bin/bash\nexit 0'
}

record_sbatch() {
  sbatch_as accepted
  sbatch_as bad-partition --partition=nowhere
  sbatch_as bad-partition-of-list --partition=main,nowhere
  sbatch_as bad-account --account=nobody
  sbatch_as bad-qos --qos=nobody
  sbatch_as bad-constraint --constraint=nothing
  sbatch_as bad-gres --gres=quantum:1
  sbatch_as bad-gpu-type --gpus-per-node=h100:1
  sbatch_as bad-reservation --reservation=nothing
  sbatch_as bad-license --licenses=nothing:1
  sbatch_as bad-nodelist --nodelist=n9
  sbatch_as bad-dependency --dependency=afterok:999999
  sbatch_as bad-option --no-such-option
  sbatch_as bad-time --time=never
  sbatch_as bad-mem --mem=much
  sbatch_as too-many-nodes --nodes=9
  sbatch_as too-many-gpus --gpus-per-node=3
  sbatch_as too-much-memory --mem=900G
  sbatch_as too-many-tasks --array=0-1001
  sbatch_as name-too-long --job-name="$(printf 'x%.0s' {1..1100})"
  sbatch_as test-only --test-only --nodes=2
  sbatch_as test-only-impossible --test-only --nodes=9 --gpus-per-node=7
  keep sbatch-no-shebang sbatch --parsable <<<'exit 0'
  keep sbatch-dos sbatch --parsable <<<$'#!/bin/bash\r\nexit 0\r'
  keep sbatch-empty sbatch --parsable </dev/null
  keep sbatch-bad-directive sbatch --parsable <<<$'#!/bin/bash\n#SBATCH --time=1 word\nexit 0'
  sbatch_as limited-1 --account=limited --hold
  sbatch_as limited-2 --account=limited --hold
  sbatch_as submit-limit --account=limited
  sbatch_as few-1 --qos=few --hold
  sbatch_as qos-submit-limit --qos=few
  clear_queue
}
