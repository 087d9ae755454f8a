#!/bin/sh
# Walks through a new user's first hour on a clean Debian and prints every command with what it said: install, start, look,
# an attack on the real sshd, a key with an error and its cure, uninstall. The host boots its own systemd in namespaces
# made for it; an attacker sits in a network of his own. Nothing of this machine is touched.
# SUITE (bookworm), MIRROR; PILLORY_BIN installs another program and builds none.
set -eu
cd "$(dirname "$0")/.."
[ "${1:-}" = inside ] || [ "${1:-}" = walk ] || set -- prepare

prepare() {
    program=${PILLORY_BIN:-}
    if [ -z "$program" ]; then
        echo "try-install: building the release binary (the first time takes a few minutes)" >&2
        program=$(scripts/release.sh --bin pillory)/pillory
    fi
    # Before there is no network any more.
    scripts/as-root.sh env SUITE="${SUITE:-}" MIRROR="${MIRROR:-}" scripts/clean-debian.sh "$PWD/target/try/clean" \
        openssh-server make git nftables iproute2 procps
    exec scripts/as-root.sh env SUITE="${SUITE:-}" MIRROR="${MIRROR:-}" PILLORY_BIN="$program" unshare --mount --net \
        --propagation private sh "$PWD/scripts/try-install.sh" walk
}

# The host boots below $root, a copy of the clean Debian that lies in memory; /root/pillory there is a clone of this one.
boot() {
    root=/run/pillory-try
    mkdir -p "$root"
    mount -t tmpfs -o mode=755 try "$root"
    mkdir "$root/upper" "$root/work" "$root/host"
    mount -t overlay -o "lowerdir=$clean,upperdir=$root/upper,workdir=$root/work" try "$root/host"
    mkdir -p "$root/host/old"
    git -c init.defaultBranch=main clone --quiet --no-hardlinks "$PWD" "$root/host/root/pillory"
    : >"$root/host/root/program"
    mount --bind "$PILLORY_BIN" "$root/host/root/program"
    groups=/run/pillory-try/groups
    mkdir "$groups"
    mount -t cgroup2 try "$groups"
    own=$groups/pillory-try-$$
    mkdir "$own"
    (
        read -r pid _ </proc/self/stat
        echo "$pid" >"$own/cgroup.procs"
        exec unshare --pid --fork --kill-child --mount --ipc --uts --cgroup --net sh "$PWD/scripts/try-install.sh" inside "$root/host"
    ) &
    keeper=$!
    attacker=
    trap leave EXIT
    wait_for 30 'pid=$(pgrep -P $keeper) && [ -n "$pid" ]'
    wait_for 60 'on_host systemctl is-active --quiet multi-user.target 2>/dev/null'
}

# Ends that host and the attacker, and takes away what was made for them.
leave() {
    kill -9 $keeper $attacker 2>/dev/null || :
    wait $keeper $attacker 2>/dev/null || :
    # The other processes of its namespace take a moment to be gone.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$own" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    umount -l "$root" 2>/dev/null || :
    rmdir "$root" 2>/dev/null || :
}

# The half that becomes the first process of that host.
inside() {
    cd "$1"
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 try dev
    for name in null zero full random urandom tty; do
        : >dev/$name
        mount --bind /dev/$name dev/$name
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    mount -t tmpfs -o mode=755 try run
    ip link set lo up
    hostname clean
    pivot_root . old
    umount -l old
    exec env -i container=try PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
        /usr/lib/systemd/systemd --show-status=no >/dev/null 2>&1
}

wait_for() {
    left=$(($1 * 10))
    until eval "$2"; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "try-install: waited $1 s in vain for: $2" >&2; exit 1; }
        sleep 0.1
    done
}

on_host() { nsenter --target "$pid" --all env -i TERM=dumb HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin "$@"; }

# A command as the new user types it, in the clone, and what it says. $1: the exit code that is right.
typed() {
    right=$1
    shift
    echo "# $*"
    code=0
    on_host sh -c "cd /root/pillory && $*" </dev/null 2>&1 || code=$?
    echo
    [ "$code" = "$right" ] || { echo "try-install: exit code $code, not $right" >&2; exit 1; }
}

# Three wrong passwords for an account, from the attacker's network.
attack() {
    nsenter --net="/proc/$attacker/ns/net" nsenter --target "$pid" --mount --pid --root --wd env -i HOME=/root PATH=/usr/bin:/bin \
        SSH_ASKPASS=/root/wrong SSH_ASKPASS_REQUIRE=force ssh -o ConnectTimeout=3 -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o PubkeyAuthentication=no "$1@203.0.113.1" true </dev/null 2>&1
}

walk() {
    clean=$PWD/target/try/clean
    boot
    unshare --net sleep 600 &
    attacker=$!
    wait_for 10 '[ "$(readlink /proc/$attacker/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
    ip link add here netns "$pid" type veth peer name there netns "$attacker"
    on_host ip address add 203.0.113.1/24 dev here
    on_host ip link set here up
    on_host ip route add 198.51.100.0/24 dev here
    for what in 'link set lo up' 'address add 198.51.100.66/24 dev there' 'link set there up' 'route add 203.0.113.0/24 dev there'; do
        nsenter --net="/proc/$attacker/ns/net" ip $what
    done
    on_host sh -c 'printf "#!/bin/sh\necho wrong\n" >/root/wrong; chmod 755 /root/wrong; systemctl is-active ssh'
    on_host sh -c 'find / -xdev ! -path "/root/*" ! -path "/var/log/*" ! -path "/tmp*" ! -path "/etc/*-" ! -path /etc/.pwd.lock | sort; cat /etc/passwd /etc/group' >"$root/before"

    typed 0 'PILLORY_BIN=/root/program make install'
    typed 69 'pillory'
    typed 0 'systemctl enable --now pillory'
    wait_for 30 'on_host pillory status >/dev/null 2>&1'
    typed 0 'pillory'
    echo "(198.51.100.66 tries root, admin and oracle on sshd)"
    for user in root admin oracle; do attack $user || :; done
    echo
    wait_for 30 'on_host pillory list --json | grep -q 198.51.100.66'
    echo "(198.51.100.66 comes once more)"
    if attack root; then exit 1; fi
    echo
    typed 0 'pillory attempts -n 5'
    typed 0 'pillory list'
    typed 0 'pillory explain 198.51.100.66'
    typed 0 'nft list set inet pillory ban4'
    typed 0 'pillory status'
    typed 0 'pillory doctor'
    typed 0 'mkdir -p /etc/pillory && echo "maxretri = 3" >/etc/pillory/pillory.toml'
    typed 2 'pillory check'
    typed 2 'pillory reload'
    typed 0 'sed -i s/maxretri/maxretry/ /etc/pillory/pillory.toml && pillory check'
    typed 0 'pillory reload'
    typed 0 'pillory unban 198.51.100.66'
    typed 0 'make uninstall PURGE=1'
    typed 0 'nft list tables; ip route show table all proto 199; getent passwd pillory || echo "no user"; ls /run/pillory /var/lib/pillory /etc/pillory 2>&1 || true'
    on_host sh -c 'find / -xdev ! -path "/root/*" ! -path "/var/log/*" ! -path "/tmp*" ! -path "/etc/*-" ! -path /etc/.pwd.lock | sort; cat /etc/passwd /etc/group' >"$root/after"
    diff "$root/before" "$root/after" && echo "try-install: nothing is left"
}

"$@"
