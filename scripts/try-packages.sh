#!/bin/sh
# Tries the Debian package on a clean Debian, made by debootstrap under target/packages/clean (once; some minutes): what
# lintian says of it, and that it installs, upgrades and purges there with nothing left. `make test` tries all packages on
# a host with a running systemd; here there is none, as in a container image. SUITE (bookworm), MIRROR; PILLORY_BIN.
set -eu
cd "$(dirname "$0")/.."

scripts/packages.sh
REVISION=2 OUT=target/packages/next scripts/packages.sh >/dev/null
if [ "$(id -u)" != 0 ]; then
    echo "try-packages: root is needed for debootstrap and chroot; using sudo"
    exec scripts/as-root.sh env SUITE="${SUITE:-}" MIRROR="${MIRROR:-}" PILLORY_BIN="${PILLORY_BIN:-}" "$PWD/scripts/try-packages.sh"
fi

clean=$PWD/target/packages/clean
scripts/clean-debian.sh "$clean" lintian
# A program of the clean Debian, which has its own /proc.
inside() { unshare --mount --pid --fork --mount-proc="$clean/proc" chroot "$clean" "$@"; }

mkdir -p "$clean/packages"
cp target/packages/pillory_*.deb "$clean/packages/1.deb"
cp target/packages/next/pillory_*.deb "$clean/packages/2.deb"
inside unshare --net sh -eu -c '
    lintian --allow-root --tag-display-limit 0 --pedantic --display-info /packages/1.deb | sort
    state() { find / -xdev ! -path "/packages*" ! -path "/proc*" ! -path "/var/log/*" ! -path "/var/lib/dpkg/*" ! -path "/etc/*-" ! -path /etc/.pwd.lock | sort; cat /etc/passwd /etc/group; }
    state >/packages/before
    dpkg -i /packages/1.deb
    pillory --version
    dpkg -i /packages/2.deb
    dpkg -L pillory
    dpkg -P pillory
    state >/packages/after
    diff /packages/before /packages/after && echo "try-packages: nothing is left"
'
