# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Starts, finds and ends the processes of a cluster. Sourced after common.sh.
#
# DIR/run/NAME.pid holds a daemon's process id and the time it started at, which together name one process for good:
# a number that was given to somebody else in the meantime is not mistaken for ours.

readonly inside=${BASH_SOURCE[0]%/*}/inside

# In the environment of every daemon, and so of the steps that slurmd starts; never in that of a person.
readonly mark=TRAINYARD_THROWAWAY_SLURM

# The daemons of the cluster in the order in which they start.
daemons() {
  printf '%s\n' munged
  [[ $accounting == yes ]] && printf '%s\n' mariadbd slurmdbd
  printf '%s\n' slurmctld "${NODES[@]}"
}

# start_time PID: when a process started, in clock ticks; fails when there is none, or only what is left of one.
start_time() {
  local stat
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
  read -ra stat <<<"${stat##*) }"
  [[ ${stat[0]} != Z ]] && printf '%s\n' "${stat[19]}"
}

# running NAME: prints the daemon's process id if it runs.
running() {
  local pid started
  read -r pid started 2>/dev/null <"$dir/run/$1.pid" || return 1
  [[ $(start_time "$pid") == "$started" ]] && printf '%s\n' "$pid"
}

# launch NAME COMMAND...: starts a daemon that stays in the foreground, with a clean environment, and notes its process.
launch() {
  local name=$1
  shift
  env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC "$mark=$dir" SLURM_CONF="$conf" \
    MYSQL_UNIX_PORT="$mariadb_socket" setsid "$@" </dev/null >>"$dir/log/$name.out" 2>&1 {lock}>&- &
  printf '%s %s\n' "$!" "$(start_time $!)" >"$dir/run/$name.pid"
}

# launch_slurm NAME PROGRAM [ARGUMENT...]: the same for a program of the cluster's release, in namespaces of its own.
launch_slurm() {
  local name=$1
  shift
  launch "$name" unshare --mount --uts --propagation private "$inside" "$name" "$dir" "$root" "/usr/sbin/$1" "${@:2}"
}

# signal NAME SIGNAL
signal() {
  local pid
  pid=$(running "$1") && kill -s "$2" "$pid"
}

# end NAME: ends a daemon, by force when it does not obey within a few seconds.
end() {
  local name=$1 deadline=$((SECONDS + 5))
  signal "$name" TERM || true
  signal "$name" CONT || true # a frozen one hears nothing else
  while running "$name" >/dev/null; do
    ((SECONDS < deadline)) || signal "$name" KILL || true
    sleep 0.02
  done
  rm -f -- "$dir/run/$name.pid"
}

# Steps and jobs outlive slurmd. Ends what carries the cluster's mark, and what it has started.
end_jobs() {
  local pids deadline=$((SECONDS + 10)) told=no
  while mapfile -t pids < <(job_processes) && ((${#pids[@]} > 0)); do
    ((SECONDS < deadline)) || fail "processes of its jobs cannot be killed: ${pids[*]}"
    [[ $told == yes ]] || say "ends ${#pids[@]} processes of its jobs"
    told=yes
    kill -s KILL "${pids[@]}" 2>/dev/null || true # some may have ended meanwhile
    sleep 0.05
  done
}

# Marked processes, steps and processes of jobs that name this cluster's slurm.conf (20.11 starts steps without the
# mark), and all their descendants. A person's shell names it too, but is no step and has no job.
job_processes() {
  local -A ours=() parent=()
  local path pid stat changed=yes
  for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    read -r stat 2>/dev/null <"$path/stat" || continue
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != Z ]] || continue
    parent[$pid]=${stat[1]}
    belongs "$path" && ours[$pid]=yes
  done
  while [[ $changed == yes ]]; do
    changed=no
    for pid in "${!parent[@]}"; do
      [[ -z ${ours[$pid]:-} && -n ${ours[${parent[$pid]}]:-} ]] && ours[$pid]=yes changed=yes
    done
  done
  ((${#ours[@]} == 0)) || printf '%s\n' "${!ours[@]}"
}

belongs() {
  local words word conf_seen='' job_seen=''
  { mapfile -d '' -t words <"$1/environ"; } 2>/dev/null || return 1
  for word in "${words[@]}"; do
    case $word in
      "$mark=$dir") return 0 ;;
      "SLURM_CONF=$conf") conf_seen=yes ;;
      SLURM_JOB_ID=*) job_seen=yes ;;
    esac
  done
  [[ -n $conf_seen ]] && [[ -n $job_seen || $(readlink "$1/exe") == */slurmstepd* ]]
}

# Ends everything, last things first, and gives the ports back. Killed rather than asked: nothing of it is kept.
end_cluster() {
  local name
  for name in $(daemons | tac); do signal "$name" KILL || true; done
  for name in $(daemons); do end "$name"; done
  rm -f -- "$dir/run/ready"
  end_jobs
  give_ports_back
}
