#!/bin/sh
# Measures the static release binary, alone and beside other programs, and writes benches/RESULTS.md.
# Touches nothing else.
# ONLY="latency bulk" chooses what is measured; PILLORY_BIN measures another binary and builds none.
# QUICK=1 counts instructions instead and compares them with benches/quick.tsv; QUICK=debug counts those of the build that
# the tests use, and compares them with benches/quick-debug.tsv. RECORD=1 writes that file.
set -eu
cd "$(dirname "$0")/.."

scripts/fetch-test-tools.sh --bench
target=${CARGO_TARGET_DIR:-target}
if [ "${QUICK:-}" = debug ]; then
    cargo build --quiet --locked --bin pillory
    cargo build --quiet --locked -p pillory-core --example fail2ban_speed
    PILLORY_SPEED=$(cd "$target" && pwd)/debug/examples/fail2ban_speed
    export PILLORY_SPEED
    PILLORY_BIN=$(cd "$target" && pwd)/debug/pillory
elif [ -z "${PILLORY_BIN:-}" ]; then
    echo "make bench: building the release binary (the first time takes a few minutes)"
    scripts/release.sh --bin pillory >/dev/null
    directory=$(scripts/release.sh -p pillory-core --example fail2ban_speed)
    PILLORY_SPEED=$directory/examples/fail2ban_speed
    export PILLORY_SPEED
    PILLORY_BIN=$directory/pillory
fi
export PILLORY_BIN
cargo build --quiet --locked -p pillory --example bench

# A program that scan compares with; no package of a distribution has it.
peer=$PWD/target/tools/fail2ban-rs
case " ${ONLY:-scan} " in
*" scan "*)
    if [ ! -x "$peer/bin/fail2ban-rs" ] && [ -z "${QUICK:-}" ]; then
        echo "make bench: building fail2ban-rs under target/tools (once; a few minutes)"
        cargo install --quiet --locked --version 1.5.4 --root "$peer" fail2ban-rs ||
            echo "make bench: fail2ban-rs could not be built; it is left out"
    fi
    ;;
esac

case ${QUICK:-} in
'') set -- ${ONLY:-} ;;
debug) set -- --quick debug ${RECORD:+record} ;;
*) set -- --quick release ${RECORD:+record} ;;
esac
[ "$(id -u)" = 0 ] || echo "make bench: root is needed to make network namespaces; using sudo"
exec scripts/as-root.sh "$target/debug/examples/bench" "$@"
