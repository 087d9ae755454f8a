#!/bin/sh
# Plays STEPS steps of the simulator (default: ten million), holds the tables' memory to its bound under ten million random
# sources, and then runs the release binary for MINUTES (default: 60)
# in network namespaces among attackers, rotations and faults. PILLORY_BIN runs another binary and builds none.
# STEPS=0, SOURCES=0 and MINUTES=0 leave out one of them.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
STEPS=${STEPS:-10000000}
MINUTES=${MINUTES:-60}
if [ "$STEPS" != 0 ]; then
    echo "make soak: building the simulator, optimised"
    export STEPS
    CARGO_PROFILE_TEST_OPT_LEVEL=2 cargo test --quiet --locked --target-dir "$target/soak" -p pillory --bin pillory simulator -- --nocapture
fi
if [ "${SOURCES:-}" != 0 ]; then
    echo "make soak: ten million random sources against the tables (some minutes of one core)"
    cargo test --quiet --release --locked -p pillory-core --test memory -- --nocapture
fi
[ "$MINUTES" != 0 ] || exit 0

scripts/fetch-test-tools.sh
if [ -z "${PILLORY_BIN:-}" ]; then
    echo "make soak: building the release binary (the first time takes a few minutes)"
    cargo build --quiet --release --locked --bin pillory
    PILLORY_BIN=$(cd "$target" && pwd)/release/pillory
fi
export PILLORY_BIN MINUTES
cargo build --quiet --locked -p pillory --example soak
[ "$(id -u)" = 0 ] || echo "make soak: root is needed to make network namespaces; using sudo"
# The drills that are too long for make test.
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/as-root.sh"
log=$target/soak.log
rm -f "$target/.soak-failed"
{
    cargo test --quiet --locked -p pillory --test lab -- --ignored --nocapture --test-threads 1 soak_ 2>&1 ||
        echo "$?" >"$target/.soak-failed"
} | tee "$log"
scripts/drills.sh "$log" soak
[ ! -e "$target/.soak-failed" ] || exit "$(cat "$target/.soak-failed")"
exec scripts/as-root.sh "$target/debug/examples/soak"
