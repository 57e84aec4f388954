# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Which ports a cluster uses. Sourced after common.sh.
#
# Slot S has 10000 + 20·S and the next few for daemons and 20000 + 100·S and the next 99 for ranks to meet at. A slot is
# taken by the folder whose name is in its file, for as long as that folder holds a cluster of that slot.

slots_dir() { printf '%s/trainyard-slurm-slots\n' "${TMPDIR:-/tmp}"; }

# take_ports: sets $slot.
take_ports() {
  local slots number
  slots=$(slots_dir)
  mkdir -p -- "$slots"
  for number in {0..99}; do
    # Creating a file that must not exist is what decides between two who want the same slot.
    is_stale "$slots/$number" && rm -f -- "$slots/$number"
    ports_are_free "$number" || continue
    (set -o noclobber && printf '%s\n' "$dir" >"$slots/$number") 2>/dev/null || continue
    slot=$number
    return
  done
  fail "all slots for clusters are taken: see $slots"
}

give_ports_back() { [[ -z ${slot:-} ]] || rm -f -- "$(slots_dir)/$slot"; }

# A slot whose owner has had a minute to describe itself and does not claim it.
is_stale() {
  local owner
  [[ -e $1 && -n $(find "$1" -mmin +1) ]] || return 1
  owner=$(<"$1")
  ! grep -qsx "slot=${1##*/}" "$owner/cluster.env"
}

# Nobody listens at any of the daemons' ports.
ports_are_free() {
  local offset listening
  listening=$(awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  for offset in 0 1 2 3 4 5; do
    grep -qix "$(printf '%04X' $((10000 + 20 * $1 + offset)))" <<<"$listening" && return 1
  done
  return 0
}
