# Says `ready`, keeps the namespaces until the harness closes our input (as the kernel does if the harness is
# killed), and then ends every process that is left in the network namespace.
echo ready
read -r _ || true
own=$(readlink /proc/self/ns/net)
left=yes
while [ "$left" = yes ]; do
    left=no
    for link in /proc/[0-9]*/ns/net; do
        pid=${link#/proc/}
        pid=${pid%%/*}
        if [ "$pid" != $$ ] && [ "$(readlink "$link" 2>/dev/null)" = "$own" ]; then
            kill -9 "$pid" 2>/dev/null && left=yes
        fi
    done
done
