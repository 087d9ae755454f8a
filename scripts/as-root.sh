#!/bin/sh
# Runs a program as root: directly, or through sudo with the variables that tests read.
# Exit 77 if there is no way to become root.
set -eu
if [ "$(id -u)" = 0 ]; then
    exec "$@"
fi
set -- PATH="$PATH" "$@"
for name in CARGO_HOME CARGO_TARGET_DIR MINUTES PILLORY_BIN PILLORY_CORPUS PILLORY_FUZZ_SECONDS PILLORY_SEED PILLORY_SPEED RUSTUP_HOME RUSTUP_TOOLCHAIN RUST_BACKTRACE RUST_TEST_THREADS NO_COLOR TERM; do
    value=$(printenv "$name" || true)
    [ -z "$value" ] || set -- "$name=$value" "$@"
done
# Without a terminal sudo must not ask for a password.
if [ -t 0 ]; then
    exec sudo env "$@"
fi
exec sudo -n env "$@"
