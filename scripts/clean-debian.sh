#!/bin/sh
# Makes a clean Debian with debootstrap, once: `clean-debian.sh DIR PACKAGE..`, as root; some minutes. SUITE (bookworm),
# MIRROR. debootstrap itself is unpacked under target/tools, not installed.
set -eu
cd "$(dirname "$0")/.."
clean=$1
shift
packages=$(echo "systemd $*" | tr ' ' ,)
[ ! -e "$clean/.complete" ] || exit 0

tools=$PWD/target/tools
mkdir -p "$tools"
if [ ! -x "$tools/usr/sbin/debootstrap" ]; then
    work=$(mktemp -d)
    (cd "$work" && apt-get download debootstrap >/dev/null && dpkg-deb -x debootstrap_*.deb "$tools")
    rm -r "$work"
fi
rm -rf "$clean"
mkdir -p "${clean%/*}"
echo "clean-debian: making $clean (once; some minutes)" >&2
DEBOOTSTRAP_DIR=$tools/usr/share/debootstrap "$tools/usr/sbin/debootstrap" --variant=minbase --include="$packages" \
    "${SUITE:-bookworm}" "$clean" ${MIRROR:-} >"$tools/.debootstrap.log" || {
    echo "clean-debian: debootstrap failed; its log is $tools/.debootstrap.log" >&2
    exit 1
}
touch "$clean/.complete"
