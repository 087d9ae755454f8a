# Completion of pillory for bash. The program itself says what may stand there; jails and banned addresses it asks of
# the daemon.
_pillory() {
    local line=${COMP_LINE:0:COMP_POINT} words current found files word before=
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[-1]}
    found=$(pillory complete -- "${words[@]:1}" 2>/dev/null)
    files=$?
    ((files == 3)) && compopt -o default 2>/dev/null
    # To bash a word begins behind the last colon or equals sign.
    [[ $COMP_WORDBREAKS == *:* ]] && before=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        [[ -n $word ]] && COMPREPLY+=("${word#"$before"}")
    done <<<"$found"
}
complete -F _pillory pillory
