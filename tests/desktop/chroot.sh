#!/usr/bin/env bash
# A real desktop Blender in a Debian chroot, for machines that have none of their own. Root on Debian or Ubuntu only.
#
#   chroot.sh make DIR [SUITE]       makes DIR once (about 1.5 GB, a minute or two); trixie carries Blender 4.3
#   chroot.sh run DIR LAB COMMAND…   runs COMMAND in it, with the host's folder LAB seen as /lab
#
# The folders in SEEN_IN_CHROOT (separated by colons) are seen there too, under their own names, and cannot be changed.
# All mounts live in private namespaces: nothing stays mounted, whatever happens to the command.
set -euo pipefail

packages="blender python3-numpy python3-requests python3-zstandard xvfb xdotool
  libgl1 libgl1-mesa-dri libglx-mesa0 libegl1 libegl-mesa0"

# The Debian mirror that this machine's own apt uses.
mirror() {
  local found
  found=$(sed -n 's/^URIs: *\([^ ]*\/debian\)\/* *$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
  [ -n "$found" ] || found=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /\/debian\/?$/) { print $i; exit } }' \
    /etc/apt/sources.list 2>/dev/null)
  [ -n "$found" ] || { echo "No Debian mirror is named in this machine's apt sources." >&2; exit 1; }
  echo "$found"
}

make_chroot() {
  local dir=$1 suite=${2:-trixie} part
  [ -e "$dir/.complete" ] && return
  part=$dir.part
  mkdir -p "$(dirname "$dir")"
  exec 9>"$dir.lock"
  flock 9 # two test runs at once: the second waits for the first one's chroot
  [ -e "$dir/.complete" ] && return
  if ! command -v debootstrap >/dev/null; then
    apt-get -q -o DPkg::Lock::Timeout=300 update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends debootstrap
  fi
  [ -e "/usr/share/debootstrap/scripts/$suite" ] || ln -s sid "/usr/share/debootstrap/scripts/$suite"
  rm -rf --one-file-system "$part" "$dir"
  debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$suite" "$part" "$(mirror)"
  echo 'path-exclude=/usr/share/doc/*' >"$part/etc/dpkg/dpkg.cfg.d/nodoc"
  # shellcheck disable=SC2016 # expanded inside the namespace
  unshare -m bash -euc '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    chroot "$0" apt-get -q update
    chroot "$0" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"
    chroot "$0" apt-get -q clean' "$part" $packages
  touch "$part/.complete"
  mv "$part" "$dir"
}

run_in_chroot() {
  local dir=$1 lab=$2
  shift 2
  # shellcheck disable=SC2016 # expanded inside the namespace
  exec unshare -m bash -euc '
    dir=$0 lab=$1
    shift
    mount -t proc proc "$dir/proc"
    mount --rbind /dev "$dir/dev"
    mkdir -p "$dir/lab"
    mount --bind "$lab" "$dir/lab"
    IFS=:
    for folder in ${SEEN_IN_CHROOT:-}; do
      mkdir -p "$dir$folder"
      mount --bind "$folder" "$dir$folder"
      mount -o remount,ro,bind "$dir$folder"
    done
    exec chroot "$dir" "$@"' "$dir" "$lab" "$@"
}

verb=${1:?make or run}
shift
case $verb in
  make) make_chroot "$@" ;;
  run) run_in_chroot "$@" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
