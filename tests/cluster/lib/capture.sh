# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# How recordings are made: commands as the daemon would run them, and ways to wait for jobs. Sourced by `record`.

readonly SQUEUE_FORMAT='NONCE|%i|%F|%K|%A|%T|%r|%S|%e|%V|%N|%D|%P|%q|%a|%l|%C|%u|%j'
readonly SQUEUE_LONG='JobArrayID:|NONCE|,ArrayJobID:|,ArrayTaskID:|,JobID:|,State:|,Reason:|,StartTime:|,EndTime:|,SubmitTime:|,NodeList:|,NumNodes:|,Partition:|,QOS:|,Account:|,TimeLimit:|,NumCPUs:|,UserName:|,RestartCnt:|,Name:'
readonly SACCT_FIELDS=JobIDRaw,JobID,State,ExitCode,DerivedExitCode,Submit,Eligible,Start,End,ElapsedRaw,Suspended,NNodes,NCPUS,AllocTRES,ReqTRES,NodeList,Partition,QOS,Account,Cluster,User,TimelimitRaw,Reason,JobName

# The program's own questions, word for word; they must follow src/slurm/squeue.rs, sacct.rs and assoc_mgr.rs.
readonly POLL=(squeue -h -a --me -t all -O 'jobid:|NONCE|,arrayjobid:|,arraytaskid:|,state:|,restartcnt:|,exit_code:|,submittime:|,eligibletime:|,starttime:|,endtime:|,nodelist:|,tres-alloc:|,timelimit:|,partition:|,qos:|,account:|,userid:|,cluster:|NONCE|,reason:|NONCE|,name:|NONCE|')
readonly ACCOUNTS=(sacct -D -X -n -P --noconvert '--delimiter=|NONCE|' '--format=JobIDRaw,JobID,State,ExitCode,Submit,Eligible,Start,End,ElapsedRaw,AllocTRES,NodeList,Partition,QOS,Account,Cluster,User,TimelimitRaw,JobName')
readonly LIMITS=(scontrol -o show assoc_mgr)

# clean COMMAND...: in the small environment in which Trainyard runs Slurm's commands.
clean() {
  env --ignore-environment --chdir=/tmp PATH="$dir/bin:/usr/bin:/bin" HOME=/root USER=root LOGNAME=root \
    SHELL=/bin/bash SLURM_CONF="$conf" SLURM_TIME_FORMAT=%s SLURM_BITSTR_LEN=0 TZ=UTC LC_ALL=C "$@"
}

# keep NAME COMMAND...: runs and records; standard input goes to the command.
keep() {
  local name=$1 code=0
  shift
  command_line "$@" >"$corpus/$name.cmd"
  clean "$@" >"$corpus/$name.out" 2>"$corpus/$name.err" || code=$?
  printf '%d\n' "$code" >"$corpus/$name.code"
  # Complaints about options begin with the path that a foreign release is run by; elsewhere that is the bare name.
  sed -i "s|^[^ ]*/usr/bin/\([a-z]*: \)|\1|" "$corpus/$name.err"
}

# command_line WORD...: as one would type it.
command_line() {
  local word line=()
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_/.,:=@%+-]+$ ]] && line+=("$word") || line+=("${word@Q}")
  done
  printf '%s\n' "${line[*]}"
}

# A moment as sacct's -S takes it: seconds alone are an "Invalid time specification" to every release.
now() { date +uts%s; }

# since: all of a user's records from $began on, as the program asks for them.
since() { printf -- '--user=root --starttime=%s\n' "$(date --utc --date="@${began#uts}" +%FT%T)"; }

# table MOMENT: all jobs, as they show at this moment.
table() {
  local words
  read -r -a words < <(since)
  keep "poll-$1" "${POLL[@]}"
  keep "accounts-$1" "${ACCOUNTS[@]}" "${words[@]}"
  keep "squeue-$1" squeue -h -t all --me -o "$SQUEUE_FORMAT"
  keep "squeue-long-$1" squeue -h -t all --me -O "$SQUEUE_LONG"
  keep "sacct-$1" sacct -D -X -n -P --noconvert -S "$began" -o "$SACCT_FIELDS"
}

show() { keep "show-job-$1" scontrol -o show job "${ids[$1]}"; }

declare -A ids=()

# submit NAME [OPTION...] -- BASH: submits a job of that name and remembers its id.
submit() {
  local name=$1 options=()
  shift
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  ids[$name]=$(clean sbatch --parsable --job-name="$name" --output=/dev/null --requeue --time=10 "${options[@]}" \
    <<<"#!/bin/bash"$'\n'"$2") || ids[$name]=''
}

# The first word that squeue has for a job; `gone` when it knows none.
state_of() { clean squeue -h -t all -j "$1" -o %T 2>/dev/null | sort -u | paste -sd, | sed 's/^$/gone/'; }

is() { [[ ,$2, == *,"$(state_of "${ids[$1]}")",* ]]; }

# until_is NAME STATE[,STATE…]
until_is() { await "$1 to be $2" is "$1" "$2"; }

# The newest record that sacct has of a job is in a state.
sacct_has() { clean sacct -X -n -P -j "${ids[$1]}" -o State | grep -E "^($2)"; }
until_sacct() { await "sacct to say that $1 is $2" sacct_has "$1" "$2"; }

# A query by time leaves out what slurmdbd has not heard the whole of, even when the job is over, for seconds in old releases.
sacct_lists() { clean sacct -D -X -n -P -S "$began" -o JobName | grep -x "$1"; }

nothing_live() { [[ -z $(clean squeue -h -o %i) ]]; }

clear_queue() {
  clean scancel --user=root
  await "an empty queue" nothing_live
}
