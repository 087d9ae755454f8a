#!/bin/sh
# Builds the static release binary and runs the daemon on this host, until Ctrl-C. Installs nothing.
# DRY=1 enforces nothing. More arguments go to `pillory run`.
set -eu
cd "$(dirname "$0")/.."

echo "make run: building the release binary (the first time takes a few minutes)"
directory=$(scripts/release.sh --bin pillory)
pillory=${directory#"$PWD/"}/pillory

set -- --state-dir target/state --control target/run/control.sock --on-stop lift "$@"
cat <<TEXT
make run: $pillory
  reads    the systemd journal, or /var/log/auth.log and its like, or /var/log/btmp
  keeps    its state in target/state (a dry run in target/state/dryrun), its control socket in target/run
TEXT
if [ -n "${DRY:-}" ]; then
    set -- --dry-run "$@"
    echo "  enforces nothing (DRY=1): it only says what it would ban"
else
    cat <<TEXT
  writes   the nftables table "inet pillory" (or blackhole routes of its own protocol number) in this
           host's kernel; attackers that it finds are shut out on all ports
  on Ctrl-C lifts every ban and removes the table and the routes; nothing is installed
TEXT
fi
echo "  ask it   $pillory status --control target/run/control.sock"

mkdir -p target/state target/run
if [ "$(id -u)" = 0 ]; then
    exec "$pillory" run "$@"
fi
if ! command -v sudo >/dev/null 2>&1; then
    echo "make run: not root and no sudo here; run it as root" >&2
    exit 77
fi
echo "make run: root is needed to read the logs and to write the kernel's tables; asking sudo"
exec sudo "$pillory" run "$@"
