#!/bin/sh
# Measures the static release binary in network namespaces and prints one table. Touches nothing else.
# ONLY="latency bulk" chooses what is measured; PILLORY_BIN measures another binary and builds none.
set -eu
cd "$(dirname "$0")/.."

scripts/fetch-test-tools.sh
target=${CARGO_TARGET_DIR:-target}
if [ -z "${PILLORY_BIN:-}" ]; then
    host=$(rustc -vV | sed -n 's/^host: //p')
    flags=${RUSTFLAGS:-}
    case $host in
    *gnu*) flags="$flags -C target-feature=+crt-static" ;;
    esac
    echo "make bench: building the release binary (the first time takes a few minutes)"
    RUSTFLAGS="$flags" cargo build --quiet --release --locked --target "$host" --bin pillory
    RUSTFLAGS="$flags" cargo build --quiet --release --locked --target "$host" -p pillory-core --example fail2ban_speed
    PILLORY_SPEED=$(cd "$target" && pwd)/$host/release/examples/fail2ban_speed
    export PILLORY_SPEED
    PILLORY_BIN=$(cd "$target" && pwd)/$host/release/pillory
fi
export PILLORY_BIN
cargo build --quiet --locked -p pillory --example bench
[ "$(id -u)" = 0 ] || echo "make bench: root is needed to make network namespaces; using sudo"
# shellcheck disable=SC2086  # several words
exec scripts/as-root.sh "$target/debug/examples/bench" ${ONLY:-}
