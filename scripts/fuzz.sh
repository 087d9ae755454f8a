#!/bin/sh
# Fuzzes every target of fuzz/ for so many seconds each (60, or the first argument).
#
# It needs a nightly compiler and cargo-fuzz; the latter is installed under target/tools/cargo when it is missing.
# New inputs go to target/fuzz; what is worth keeping is copied into fuzz/corpus by hand.
# Options: --if-there installs nothing; where something is missing it says so, and the tests invent inputs themselves,
# which finds less. ONLY="regex dates" chooses targets.
set -eu
cd "$(dirname "$0")/.."

if_there=
if [ "${1:-}" = --if-there ]; then
    if_there=1
    shift
fi
seconds=${1:-60}
PATH="$PWD/target/tools/cargo/bin:$PATH"

# What any compiler can do: the same bodies with inputs that are invented blindly out of the stored ones.
without_fuzzer() {
    echo "fuzz: $1, so inputs are invented out of the stored ones by the tests themselves"
    PILLORY_FUZZ_SECONDS=$seconds PILLORY_SEED=${PILLORY_SEED:-$(date +%s)}
    export PILLORY_FUZZ_SECONDS PILLORY_SEED
    log=target/fuzz.invented
    if cargo test --quiet --locked -p pillory-core --test fuzz -p pillory --bin pillory invented_inputs -- \
        --nocapture --test-threads 1 >"$log" 2>&1; then
        grep -o 'fuzz: .*' "$log"
    else
        tail -n 40 "$log"
        exit 1
    fi
    exit 0
}

if ! cargo +nightly --version >/dev/null 2>&1; then
    [ -z "$if_there" ] || without_fuzzer "no nightly compiler"
    echo "fuzz: no nightly compiler; rustup toolchain install nightly adds it"
    exit 1
fi
if ! command -v cargo-fuzz >/dev/null 2>&1; then
    [ -z "$if_there" ] || without_fuzzer "cargo-fuzz is not here"
    echo "fuzz: cargo-fuzz is not here; make fuzz installs it under target/tools"
    cargo install --quiet --locked --root target/tools/cargo cargo-fuzz
fi
echo "fuzz: by cargo-fuzz"

# There is no unsafe code here, so the address sanitizer would only slow it.
targets=${ONLY:-$(ls fuzz/targets | sed 's/\.rs$//')}
log=target/fuzz/log
mkdir -p target/fuzz/artifacts
cargo +nightly fuzz build --sanitizer none --target-dir target/fuzz >"$log" 2>&1 || { cat "$log"; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')
failed=
for target in $targets; do
    mkdir -p "target/fuzz/corpus/$target"
    if "target/fuzz/$host/release/$target" "target/fuzz/corpus/$target" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="target/fuzz/artifacts/$target-" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        slowest=$(sed -n 's/^stat::slowest_unit_time_sec: *//p' "$log")
        echo "fuzz: $target: $runs inputs in $seconds s, the slowest took $slowest s"
    else
        tail -n 40 "$log"
        failed="$failed $target"
    fi
done
[ -z "$failed" ] || { echo "fuzz: FAILED:$failed; the inputs are in target/fuzz/artifacts"; exit 1; }
