#!/bin/sh
# Fetches what the tests need, then runs every test of the workspace. Arguments go to the tests' runner.
#
# The lab needs root: cargo builds as the one who calls, only the test programs are run as root, through sudo
# if need be. Without root or sudo the lab's tests say that they are skipped, and the rest runs.
set -eu
cd "$(dirname "$0")/.."

scripts/fetch-test-tools.sh
# They take as long to build as Pillory itself.
[ "${PACKAGES:-}" != 1 ] || scripts/packages.sh --tools ||
    echo "make test: the tools that make packages could not be built; the tests of packages are skipped"

if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "make test: not root and no sudo here; the lab's tests are skipped"
    elif ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
        echo "make test: sudo would ask for a password and there is no terminal; the lab's tests are skipped"
    else
        echo "make test: the lab makes network namespaces, for which root is needed; using sudo for the tests"
        sudo -v
        host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/as-root.sh"
    fi
fi

# The lab's tests mostly wait for a real sshd, so more of them than there are cores run at once.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"
export RUST_BACKTRACE="${RUST_BACKTRACE:-0}"
mkdir -p target
log=target/test.log
status=0
rm -f target/.test-failed
{
    # The log names each test that passed, which the table of drills asks for; here a dot is enough.
    cargo test --locked --workspace --no-fail-fast -- "$@" 2>&1 || echo "$?" >target/.test-failed
} | tee "$log" | awk '
    / \.\.\. (ok|ignored.*)$/ { printf "."; dots++; fflush(); next }
    { if (dots) print ""; dots = 0; print; fflush() }
'
if [ -e target/.test-failed ]; then
    status=$(cat target/.test-failed)
fi
if [ "$#" = 0 ]; then
    began=$(date +%s)
    scripts/fuzz.sh --if-there 5 >target/fuzz.log 2>&1 || status=1
    tee -a "$log" <target/fuzz.log
    echo "group: fuzzing, 5 s a target: $(($(date +%s) - began)) s" >>"$log"
fi

echo
[ "$#" != 0 ] || scripts/drills.sh "$log" || { echo "make test: a drill did not run"; status=1; }
# A line of a skipped test may follow the runner's dots.
skipped=$(grep -o 'skipped: .*' "$log" | sort -u || true)
[ -z "$skipped" ] || echo "$skipped"
awk -v skipped="$(echo "$skipped" | grep -c . || true)" '
    # Running tests/main.rs (target/debug/deps/lab-0123456789abcdef)
    / Running .* \(/ { group = $0; sub(/^.*\//, "", group); sub(/-[0-9a-f]*\)$/, "", group); group = group ", " $(NF - 1) }
    / Doc-tests / { group = $NF ", examples in its docs" }
    /^test result: / {
        passed += $4; failed += $6
        seconds = $NF; sub(/s$/, "", seconds); total += seconds
        if ($4 + $6 > 0) printf "group: %s: %d passed, %d failed, %s s\n", group, $4, $6, seconds
    }
    /^group: / { print; total += $(NF - 1) }
    END {
        note = skipped > 0 ? sprintf(" (%d of them skipped something, see above)", skipped) : ""
        printf "in all: %d passed%s, %d failed, %d s without building\n", passed, note, failed, total
    }
' "$log"
exit "$status"
