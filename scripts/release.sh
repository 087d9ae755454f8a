#!/bin/sh
# Builds with the release profile for this machine, statically linked where the C library is glibc, and prints the directory
# of what was built. The arguments go to cargo build: `--bin pillory`.
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
*gnu*) export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" ;;
esac
cargo build --quiet --release --locked --target "$host" "$@" >&2
cd "${CARGO_TARGET_DIR:-target}/$host/release"
pwd
