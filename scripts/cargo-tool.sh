#!/bin/sh
# Builds a program of the registry into ROOT/bin: cargo-tool.sh ROOT NAME VERSION [OPTION ..]
#
# They are run a few times and copy files, so what the compiler takes counts more; what they share is built once.
set -eu
cd "$(dirname "$0")/.."
root=$1 name=$2 version=$3
shift 3
CARGO_TARGET_DIR=$PWD/target/tools/build CARGO_PROFILE_DEV_DEBUG=0 \
    "${CARGO:-cargo}" install --quiet --locked --force --debug --root "$root" "$@" "$name@$version"
