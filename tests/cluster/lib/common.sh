# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# What all programs of this folder share: releases, options, places, messages and waiting. Sourced, not run.

# Each release that can be had, with the Debian that packages it.
declare -rA SUITES=([22.05]=bookworm [24.11]=trixie [20.11]=bullseye)
readonly RELEASE_DEFAULT=22.05
readonly NODES=(n1 n2 n3 n4)

# How long any one condition may take to come true, in seconds.
readonly PATIENCE=${TRAINYARD_CLUSTER_PATIENCE:-60}

program_dir=${BASH_SOURCE[1]%/*}
program=tests/cluster/${0##*/}

say() { printf '%s: %s\n' "$program" "$*" >&2; }
fail() { say "$*" && exit 1; }

# misuse TEXT: for wrong options.
misuse() { say "$* (see --help)" && exit 2; }

# value OPTION [VALUE]: the value of an option that needs one.
value() {
  [[ -n ${2:-} ]] || misuse "$1 needs a value"
  printf '%s\n' "$2"
}

check_release() { [[ -n ${SUITES[$1]:-} ]] || misuse "there is no release $1; known are ${!SUITES[*]}"; }

# The folder of the cluster that no --dir was given for.
default_dir() { printf '%s/trainyard-slurm-%s\n' "${TMPDIR:-/tmp}" "${1:-$RELEASE_DEFAULT}"; }

# What outlives clusters: foreign Debians and an empty MariaDB, each keyed by its version.
cache_dir() { printf '%s/trainyard-tests\n' "${XDG_CACHE_HOME:-/var/cache}"; }

# use_dir DIR: sets the places of the cluster below DIR. Sockets have short paths, so DIR must have one too.
use_dir() {
  dir=$(realpath -m -- "$1")
  [[ $dir =~ ^[A-Za-z0-9/._+-]+$ ]] || fail "the folder's path has characters that slurm.conf cannot hold: $dir"
  ((${#dir} <= 70)) || fail "the folder's path is too long for sockets: $dir"
  description=$dir/cluster.env
  conf=$dir/etc/slurm.conf
  munge_socket=$dir/munge.socket
  mariadb_socket=$dir/mariadb.socket
  export SLURM_CONF=$conf
}

# Reads what the cluster below $dir was made as. These are all variables that describe one.
read_description() {
  release='' accounting='' reject='' multifactor='' slot='' root=''
  # shellcheck disable=SC1090  # written by write_description
  [[ -r $description ]] && . "$description"
}

write_description() {
  printf '%s=%q\n' release "$release" accounting "$accounting" reject "$reject" multifactor "$multifactor" \
    jobs "$jobs" array_size "$array_size" slot "$slot" root "$root" \
    >"$description"
}

# One `up` or `down` at a time in a folder. The lock goes with the program that holds it.
take_lock() {
  exec {lock}>"$dir.lock"
  flock --timeout "$PATIENCE" "$lock" || fail "another up or down works in $dir"
}

# await WHAT COMMAND...: polls a condition until it is true, and says what did not happen when it never was.
await() {
  local what=$1 deadline=$((SECONDS + PATIENCE))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return_late "$what"
    sleep 0.05
  done
}

return_late() {
  say "gave up after $PATIENCE s waiting for $1; the ends of its logs:"
  tail --lines 3 --verbose -- "$dir"/log/* >&2
  exit 1
}

# The client commands of the cluster, of its own release.
slurm() { "$dir/bin/$1" "${@:2}"; }
