# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Writes the configuration of a cluster below DIR/etc, and DIR/site.toml. Sourced after common.sh and install.sh.

# write_config: from the description ($release, $accounting, $reject, $multifactor, $jobs, $array_size, $slot, $root).
write_config() {
  local port=$((10000 + 20 * slot)) host
  host=$(hostname -s)
  mkdir -p -- "$dir"/{etc,log,run,state,runs} "$dir"/spool/{n1,n2,n3,n4}
  chmod 1777 "$dir/runs"
  write_hosts >"$dir/etc/hosts"
  write_slurm_conf >"$conf"
  write_gres_conf >"$dir/etc/gres.conf"
  [[ $release == 24.11 ]] && printf 'CgroupPlugin=disabled\n' >"$dir/etc/cgroup.conf"
  [[ $reject == yes ]] && cp -- "$here/job_submit.lua" "$dir/etc/job_submit.lua"
  if [[ $accounting == yes ]]; then
    write_slurmdbd_conf >"$dir/etc/slurmdbd.conf"
    chmod 600 "$dir/etc/slurmdbd.conf"
  fi
  write_site >"$dir/site.toml"
}

# The machine's own names, and one address for each node, for ranks that look for one another.
write_hosts() {
  cat /etc/hosts
  local number
  for number in 1 2 3 4; do printf '127.0.1.%d n%d\n' "$number" "$number"; done
}

# What differs from a cluster in production, and why:
# - cred_expire: a requeued job may start again after cred_expire + 1 s, by default two minutes.
# - batch_sched_delay, bf_interval, sched_interval: jobs start at once.
# - MinJobAge: finished jobs are forgotten soon, so that tests see it.
# - FirstJobId: jobs of clusters side by side share the machine's /tmp, so none has a number of another's.
# - SlurmdTimeout is not small: a slurmctld that was frozen for it would find its nodes dead.
write_slurm_conf() {
  cat <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$munge_socket,cred_expire=10
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.own.pid
SlurmdPidFile=$dir/run/slurmd-%n.own.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=20
FirstJobId=$((1 + 100000 * slot))
MaxJobCount=$jobs
MaxArraySize=$array_size
KillWait=5
SlurmdTimeout=60
Licenses=seat:2
GresTypes=gpu
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 2))-$((port + 3))] CPUs=8 RealMemory=8000 Gres=gpu:a100:2 Feature=fast
NodeName=n[3-4] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 4))-$((port + 5))] CPUs=8 RealMemory=8000 Gres=gpu:v100:2 Feature=slow
PartitionName=main Nodes=n[1-4] Default=YES MaxTime=1-00:00:00 DefaultTime=10 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=n[1-4] MaxTime=1-00:00:00 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE
CONF
  [[ -z $root ]] || printf 'PluginDir=%s\n' "$(plugin_dir)"
  [[ $reject != yes ]] || printf 'JobSubmitPlugins=lua\n'
  # What is used never decays, and a running job's is added up once a minute, the least there is.
  [[ ${multifactor:-no} != yes ]] ||
    printf '%s\n' PriorityType=priority/multifactor PriorityDecayHalfLife=0 PriorityUsageResetPeriod=NONE \
      PriorityCalcPeriod=1
  # Without accounting, slurmctld writes each end of a job down by itself: the tests compare with that.
  [[ $accounting == yes ]] || printf 'JobCompType=jobcomp/filetxt\nJobCompLoc=%s/log/jobcomp.log\n' "$dir"
  [[ $accounting != yes ]] || cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$munge_socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu,gres/gpu:a100,gres/gpu:v100
CONF
}

# Devices that slurmd believes in: each behaves as /dev/null does.
write_gres_conf() {
  local device
  for device in 0 1; do
    [[ -e $dir/fakegpu$device ]] || mknod "$dir/fakegpu$device" c 1 3
  done
  printf 'NodeName=n[1-2] Name=gpu Type=a100 File=%s/fakegpu[0-1]\n' "$dir"
  printf 'NodeName=n[3-4] Name=gpu Type=v100 File=%s/fakegpu[0-1]\n' "$dir"
}

write_slurmdbd_conf() {
  cat <<CONF
AuthType=auth/munge
AuthInfo=socket=$munge_socket
DbdHost=localhost
DbdPort=$((port + 1))
SlurmUser=root
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.own.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
CONF
  [[ -z $root ]] || printf 'PluginDir=%s\n' "$(plugin_dir)"
}

# A Trainyard site for this cluster, impatient as tests are. Each cluster on a machine has ports of its own for ranks.
write_site() {
  local rendezvous=$((20000 + 100 * slot))
  cat <<TOML
[site]
name = "throwaway"
run_root = "${TRAINYARD_CLUSTER_RUN_ROOT:-$dir/runs/{user\}}"
default_class = "cpu"

[cluster.test]
commands = "$dir/bin"
conf = "$conf"
poll_interval = "2s"
poll_interval_max = "4s"
in_doubt_wait = "10s"
rendezvous_ports = [$rendezvous, $((rendezvous + 99))]

# Slurm $release, 4 nodes n1 to n4, each with 8 CPUs, 8000 MB and 2 devices that pass for GPUs.

[class.cpu]
cluster = "test"
partition = "main"
cpus_per_node = 2
memory_per_node = "500M"
max_nodes = 2
max_time = "1h"
default_time = "10m"

[class.gpu]
cluster = "test"
partition = "main"
gpus_per_node = 2
gpu_type = "a100"
gpu_typed = true
cpus_per_node = 4
memory_per_node = "1000M"
max_nodes = 2
max_time = "1h"
default_time = "10m"
rate = 1.0

[class.whole]
cluster = "test"
partition = "main"
gpus_per_node = 2
cpus_per_node = 8
memory_per_node = "8000M"
exclusive = true
max_nodes = 4
max_time = "1h"
default_time = "10m"
rate = 2.0

# Whole nodes again, until a run of another class wants them.
[class.low]
cluster = "test"
partition = "low"
cpus_per_node = 8
memory_per_node = "8000M"
exclusive = true
max_nodes = 4
max_time = "1h"
default_time = "10m"
preemptible = true
rate = 0.25

# Wherever a run can start first.
[class.either]
cluster = "test"
partition = ["main", "low"]
cpus_per_node = 1
memory_per_node = "100M"
max_nodes = 1
max_time = "1h"
default_time = "10m"

# At most two jobs of this account may be in the queue at once.
[class.limited]
cluster = "test"
partition = "main"
account = "limited"
cpus_per_node = 1
memory_per_node = "100M"
max_nodes = 1
max_time = "1h"
default_time = "10m"

[project.ml]
account = "ml"
TOML
}
