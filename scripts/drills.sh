#!/bin/sh
# Prints SECURITY.md's table of drills with what a run of all tests made of each: ok, skipped, FAILED or not run.
# The argument is that run's log; a test that fails or skips something is named in it, others are not.
set -eu
log=$1
awk -v log_file="$log" '
    BEGIN {
        while ((getline line < log_file) > 0) {
            if (line ~ / --- FAILED$/) { sub(/ --- FAILED$/, "", line); sub(/^.* /, "", line); failed[line] = 1; sub(/^.*::/, "", line); failed[line] = 1 }
            if (line ~ /^error: /) broken = 1
            if (line ~ /skipped: .*/) skipped = skipped "\n" line
        }
        print "drills:"
    }
    /^## / { inside = ($0 == "## Drills") }
    inside && /^\| / && !/^\| drill / {
        split($0, cell, / *\| */)
        result = broken && !length(failed) ? "not run" : "ok"
        count = split(cell[4], part, "`")
        for (i = 2; i <= count; i += 2) {
            if (part[i] in failed) result = "FAILED"
            name = part[i]; sub(/^.*::/, "", name)
            if (result == "ok" && index(skipped, name)) result = "skipped"
        }
        gsub(/`/, "", cell[2])
        printf "  %-8s%-60s%s\n", result, cell[2], cell[3]
    }
' SECURITY.md
# What drills measured; such a line may follow the runner's dots.
grep -o 'measured: .*' "$log" | sort -u | sed 's/^/  /' || true
