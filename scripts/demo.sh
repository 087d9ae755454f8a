#!/bin/sh
# Plays one scene in network namespaces: an attack on a real sshd, the ban, the pardon. Touches nothing else.
set -eu
cd "$(dirname "$0")/.."

scripts/fetch-test-tools.sh
echo "make demo: building"
cargo build --quiet --locked -p pillory --bin pillory --example demo
[ "$(id -u)" = 0 ] || echo "make demo: root is needed to make network namespaces; using sudo"
scripts/as-root.sh "${CARGO_TARGET_DIR:-target}/debug/examples/demo"
