# Completion of pillory for fish. The program itself says what may stand there; jails and banned addresses it asks of
# the daemon.
function __pillory_complete
    set -l words (commandline -opc) (commandline -ct)
    pillory complete -- $words[2..-1] 2>/dev/null
    if test $status -eq 3
        __fish_complete_path (commandline -ct)
    end
end
complete -c pillory -f -a '(__pillory_complete)'
