#!/bin/sh
# Prints SECURITY.md's table of drills with what a run made of each: ok, skipped, FAILED or not run, and where it is
# played. A row whose long part is played by `make soak` says so, and is judged by the part that ran here.
# The arguments are that run's log, and `soak` for one of the long parts alone. A row is ok only if the log names each of
# its tests as passed: `test NAME ... ok`, as the runner prints it without --quiet. Exit 1 if one did not run.
set -eu
log=$1
status=0
awk -v log_file="$log" -v soak="${2:-}" '
    # What a program without a newline at its end wrote may stand before the runner`s words.
    function named(line) {
        sub(/^.*test /, "", line); sub(/( - should panic)? \.\.\. .*$/, "", line)
        return line
    }
    BEGIN {
        while ((getline line < log_file) > 0) {
            if (line ~ /test [a-z0-9_:]+( - should panic)? \.\.\. /) {
                open = named(line)
                sub(/^.* \.\.\. /, "", line)
            }
            # With one thread the result follows what the test said, on a line of its own.
            if (open != "" && line ~ /^(ok|FAILED|ignored.*)$/) {
                short = open; sub(/^.*::/, "", short)
                if (line == "ok") passed[open] = passed[short] = 1
                if (line == "FAILED") failed[open] = failed[short] = 1
                open = ""
            }
            if (line ~ /skipped: .*/) skipped = skipped "\n" line
        }
        print soak ? "drills, the long parts:" : "drills:"
        printf "  %-8s%-30s%-60s  %s\n", "result", "where", "drill", "what happens"
    }
    /^## / { inside = ($0 == "## Drills") }
    inside && /^\| / && !/^\| drill / {
        split($0, cell, / *\| */)
        result = "ok"
        count = split(cell[4], part, "`")
        played = 0
        for (i = 2; i <= count; i += 2) {
            name = part[i]; sub(/^.*::/, "", name)
            if ((name ~ /^soak_/) != (soak != "")) continue
            played++
            if (part[i] in failed) result = "FAILED"
            else if (!(part[i] in passed) && result != "FAILED") result = "not run"
            else if (result == "ok" && index(skipped, name)) result = "skipped"
        }
        if (!played && soak) next
        if (!played) result = "-"
        if (result == "not run") missing = 1
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
    END { exit missing }
' SECURITY.md || status=$?
# What drills measured; such a line may follow the runner's words.
grep -o 'measured: .*' "$log" | sort -u | sed 's/^/  /' || true
exit "$status"
