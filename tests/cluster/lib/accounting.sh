# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# The database of a cluster, and who may submit what to it. Sourced after process.sh.

# A fresh MariaDB takes seconds to make and copies in no time, so an empty one lies in the cache, keyed by its version.
prepare_mariadb() {
  [[ -d $dir/mariadb ]] && return
  local version pristine unfinished
  version=$(mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/')
  pristine=$(cache_dir)/mariadb-$version-1
  if ! [[ -d $pristine ]]; then
    unfinished=$pristine.unfinished.$$
    mkdir -p -- "${pristine%/*}"
    # Small files instead of sparse big ones: the copy is what takes time.
    mariadb-install-db --no-defaults --user=root --datadir="$unfinished" --skip-test-db --skip-name-resolve \
      --innodb-log-file-size=8M >"$dir/log/mariadb-install.log" 2>&1 || fail "mariadb-install-db failed: see $dir/log"
    mv -T -- "$unfinished" "$pristine" 2>/dev/null || rm -rf -- "$unfinished" # another `up` was first
  fi
  cp -a --reflink=auto -- "$pristine" "$dir/mariadb"
}

# What is lost in a crash of the machine is lost with the cluster anyway, so nothing is synced.
launch_mariadbd() {
  launch mariadbd mariadbd --no-defaults --user=root --datadir="$dir/mariadb" --socket="$mariadb_socket" \
    --pid-file="$dir/run/mariadbd.own.pid" --skip-networking --skip-name-resolve --skip-log-bin \
    --innodb-log-file-size=8M --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
    --innodb-flush-method=nosync --innodb-lock-wait-timeout=900
}

mariadb_answers() { mariadb --no-defaults --user=root --socket="$mariadb_socket" --execute 'select 1'; }

slurmdbd_answers() { slurm sacctmgr --noheader list cluster; }

# Accounts: `ml` may do everything; `limited` may have two jobs in the queue, one of them running. Root belongs to both.
# More users: sacctmgr -i add user NAME account=ml.
create_associations() {
  # One sacctmgr for all of it: each takes half a second.
  slurm sacctmgr -i -Q <<'TEXT'
add cluster test
add account ml cluster=test
add account limited cluster=test MaxSubmitJobs=2 MaxJobs=1
add qos few MaxSubmitJobsPerUser=1
add user root cluster=test account=ml DefaultAccount=ml
add user root cluster=test account=limited
modify user root cluster=test set DefaultAccount=ml
modify account ml limited cluster=test set QOS=normal,few DefaultQOS=normal
quit
TEXT
} >>"$dir/log/sacctmgr.log" 2>&1
