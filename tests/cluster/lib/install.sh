# shellcheck shell=bash disable=SC2034,SC2154 # variables come from and go to the other parts
# Puts the programs of a release onto this machine: from the machine's own Debian where it packages the release, else
# into a folder of its own by debootstrap. Sourced after common.sh.

readonly SLURM_PACKAGES=(slurmctld slurmd slurmdbd slurm-client)
readonly COMMANDS=(sacct sacctmgr sbatch scancel scontrol sdiag sinfo sprio squeue sreport srun sshare sstat salloc)

have() { command -v -- "$1" >/dev/null 2>&1; }

# install_release RELEASE: sets $root to where the release's programs are, "" being this machine itself.
install_release() {
  local suite=${SUITES[$1]} needed=()
  root=''
  have munged || needed+=(munge)
  have mariadbd || needed+=(mariadb-server-core)
  have mariadb || needed+=(mariadb-client-core)
  if [[ $suite == "$(host_suite)" ]]; then
    for name in "${SLURM_PACKAGES[@]}"; do
      dpkg-query --show --showformat '${db:Status-Abbrev}' "$name" 2>/dev/null | grep '^ii' >/dev/null || needed+=("$name")
    done
    install_packages "${needed[@]}"
  else
    have debootstrap || needed+=(debootstrap)
    install_packages "${needed[@]}"
    install_tree "$suite"
  fi
}

host_suite() (
  VERSION_CODENAME=''
  # shellcheck source=/dev/null
  . /etc/os-release
  printf '%s\n' "$VERSION_CODENAME"
)

install_packages() {
  (($# > 0)) || return 0
  say "installs $* with apt"
  have apt-get || fail "there is no apt-get: this works on Debian only"
  (
    forbid_services
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  ) >/dev/null 2>"$dir.apt.log" || fail "apt failed: $(tail --lines 5 "$dir.apt.log")"
  rm -f -- "$dir.apt.log"
}

# Packages start their services when they are installed. A policy of "no" stops that, for as long as apt runs.
forbid_services() {
  local policy=/usr/sbin/policy-rc.d
  [[ -e $policy ]] && return
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

# install_tree SUITE: a small Debian of that suite in the cache, keyed by what it holds. A tree appears under its final
# name only when it is whole.
install_tree() {
  local suite=$1 mirror unfinished
  root=$(cache_dir)/slurm-$suite-2
  [[ -d $root ]] && return
  mirror=$(debian_mirror)
  [[ -n $mirror ]] || fail "apt's sources name no Debian mirror"
  unfinished=$root.unfinished.$$
  mkdir -p -- "${root%/*}"
  say "installs Debian $suite below ${root%/*} with debootstrap (once; one to three minutes)"
  # shellcheck disable=SC2064  # the name is meant as it is now
  trap "rm -rf -- '$unfinished'" EXIT
  local packages=("${SLURM_PACKAGES[@]}" munge python3-minimal python3-venv)
  debootstrap --variant=minbase --include="$(IFS=, && printf '%s' "${packages[*]}")" \
    "$suite" "$unfinished" "$mirror" >"$dir.debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail --lines 5 "$dir.debootstrap.log")"
  mkdir -p -- "$unfinished/etc/slurm"
  rm -rf -- "$unfinished"/var/cache/apt/archives/*.deb "$dir.debootstrap.log"
  mv -T -- "$unfinished" "$root" 2>/dev/null || [[ -d $root ]] # another `up` may have been first
  trap - EXIT
}

# The mirror that this machine's own apt uses for Debian itself.
debian_mirror() {
  # shellcheck disable=SC2016 # apt expands it
  local ask=(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian')
  [[ -n $("${ask[@]}") ]] || apt-get update -qq >&2
  "${ask[@]}" | sed -n 1p
}

# write_commands: fills the cluster's bin folder with the client commands of its release.
write_commands() {
  local name
  mkdir -p -- "$dir/bin"
  for name in "${COMMANDS[@]}"; do
    if [[ -z $root ]]; then
      ln -sf -- "/usr/bin/$name" "$dir/bin/$name"
    elif [[ -x $root/usr/bin/$name ]]; then
      write_foreign "$root/usr/bin/$name" "$dir/bin/$name"
    fi
  done
}

# A foreign program run by its own loader with its own libraries. Unlike chroot this needs no privilege and leaves the
# caller its files, so other users than root can submit too.
write_foreign() {
  local libraries loader
  libraries=$(echo "$root"/usr/lib/*-linux-gnu)
  loader=$(echo "$libraries"/ld-[2l]*.so*)
  printf '#!/bin/sh\nexec %s --library-path %s:%s/slurm-wlm %s "$@"\n' \
    "${loader%% *}" "$libraries" "$libraries" "$1" >"$2"
  chmod 755 "$2"
}

# Where slurm.conf says that plug-ins are: the same path from outside the tree and, by a bind mount, inside of it.
plugin_dir() { echo "$root"/usr/lib/*-linux-gnu/slurm-wlm; }
