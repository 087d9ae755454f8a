#!/bin/sh
# Prints SECURITY.md's table of drills with what a run made of each: ok, skipped, FAILED or not run, and where it is
# played. A row whose long part is played by `make soak` says so, and is judged by the part that ran here.
# The arguments are that run's log, and `soak` for one of the long parts alone. A test that fails or skips something is
# named in the log, others are not.
set -eu
log=$1
awk -v log_file="$log" -v soak="${2:-}" '
    BEGIN {
        while ((getline line < log_file) > 0) {
            if (line ~ / (---|\.\.\.) FAILED$/) {
                sub(/ (---|\.\.\.) FAILED$/, "", line); sub(/^.* /, "", line); failed[line] = 1
                sub(/^.*::/, "", line); failed[line] = 1
            }
            # The list at the end, for a run whose output stands between a name and its result.
            if (line ~ /^[^ ]/) listing = (line == "failures:")
            if (listing && line ~ /^    [a-z0-9_:]+$/) { sub(/^    /, "", line); failed[line] = 1 }
            if (line ~ /^error: /) broken = 1
            if (line ~ /skipped: .*/) skipped = skipped "\n" line
        }
        print soak ? "drills, the long parts:" : "drills:"
        printf "  %-8s%-30s%-60s  %s\n", "result", "where", "drill", "what happens"
    }
    /^## / { inside = ($0 == "## Drills") }
    inside && /^\| / && !/^\| drill / {
        split($0, cell, / *\| */)
        result = broken && !length(failed) ? "not run" : "ok"
        count = split(cell[4], part, "`")
        played = 0
        for (i = 2; i <= count; i += 2) {
            name = part[i]; sub(/^.*::/, "", name)
            if ((name ~ /^soak_/) != (soak != "")) continue
            played++
            if (part[i] in failed || name in failed) result = "FAILED"
            if (result == "ok" && index(skipped, name)) result = "skipped"
        }
        if (!played && soak) next
        if (!played) result = "-"
        # "100 lines (a million in `make soak`)"
        where = soak || !played ? "make soak" : "here"
        drill = cell[2]
        if (match(drill, / \([^()]* in `make soak`\)/)) {
            long = substr(drill, RSTART + 2, RLENGTH - 3)
            drill = substr(drill, 1, RSTART - 1) substr(drill, RSTART + RLENGTH)
            if (soak) { sub(/ in `make soak`$/, "", long); drill = drill ": " long }
            else if (played) where = "here; " long
        }
        gsub(/`/, "", drill); gsub(/`/, "", where); gsub(/`/, "", cell[3])
        printf "  %-8s%-30s%-60s  %s\n", result, where, drill, cell[3]
    }
' SECURITY.md
# What drills measured; such a line may follow the runner's dots.
grep -o 'measured: .*' "$log" | sort -u | sed 's/^/  /' || true
