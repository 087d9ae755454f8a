# Runs in the namespaces of a server of the lab, as /run/systemd.sh, and boots the machine's own systemd there, as
# process 1 of a host of its own that shares the network and reads the same programs. Without arguments it keeps that
# host until standard input ends; with `inside` it is the half that becomes process 1.
#
# BINARY, PACKAGING and TOOLS are paths. Without BINARY the daemon is not installed, and programs can be. Prints
# `booting PID`, or `cannot` and what.
set -eu
cannot() {
    echo "cannot $1"
    exit 1
}

keep() {
    # A cgroup of its own, which that systemd will take for the root.
    groups=/run/cgroups
    own=$groups/pillory-lab-$$
    mkdir -p $groups
    mount -t cgroup2 lab $groups 2>/dev/null || cannot "mount cgroup2"
    mkdir "$own"
    (
        read -r pid _ </proc/self/stat
        echo "$pid" >"$own/cgroup.procs"
        exec unshare --pid --fork --kill-child --mount --ipc --cgroup sh "$0" inside
    ) &
    child=$!
    read -r _ || true
    kill -9 $child 2>/dev/null || true
    wait $child 2>/dev/null || true
    # The other processes of its namespace take a moment to be gone.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$own" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
}

# Mounts layers at a place; where programs can be installed, what is written there stays in memory.
layered() {
    options=lowerdir=$1
    if [ -z "$BINARY" ]; then
        mkdir -p "upper/${2##*/}" "work/${2##*/}"
        options=$options,upperdir=$PWD/upper/${2##*/},workdir=$PWD/work/${2##*/}
    fi
    mount -t overlay -o "$options" lab "$2" 2>/dev/null || cannot "mount an overlay"
}

# /usr as it is, what was unpacked for the tests below it, and our program on top; or room for what will be installed.
programs() {
    mkdir -p top/bin top/sbin
    [ -z "$BINARY" ] || : >top/bin/pillory
    # Web servers were unpacked to read lists; on a host that has one more jails run. Source: overlayfs, "whiteouts".
    for name in nginx apache2; do
        mknod top/sbin/$name c 0 0
    done
    layers=$PWD/top:/usr
    [ ! -d "$TOOLS/usr" ] || layers=$layers:$TOOLS/usr
    layered "$layers" usr
    [ ! -d "$TOOLS/lib" ] || layered "$PWD/usr/lib:$TOOLS/lib" usr/lib
    [ -z "$BINARY" ] || mount --bind "$BINARY" usr/bin/pillory
    for name in bin sbin lib lib64; do
        ln -s usr/$name $name
    done
}

# Of the machine's units only what every host has, and the shipped one as its package installs it.
units() {
    mkdir -p units/sysinit.target.wants units/multi-user.target.wants units/sockets.target.wants
    for name in sysinit basic sockets timers paths slices local-fs local-fs-pre swap multi-user shutdown umount final \
        network-pre network poweroff emergency rescue; do
        cp usr/lib/systemd/system/$name.target units/
    done
    for name in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket \
        systemd-tmpfiles-setup.service systemd-sysusers.service; do
        cp usr/lib/systemd/system/$name units/
        case $name in *.socket) wants=sockets ;; *) wants=sysinit ;; esac
        ln -s ../$name units/$wants.target.wants/
    done
    ln -s multi-user.target units/default.target
    printf '[Service]\nExecStart=/usr/sbin/sshd -D -f /etc/ssh/sshd_config_22\nRuntimeDirectory=sshd\n' \
        >units/ssh.service
    ln -s ../ssh.service units/multi-user.target.wants/
    # The journal belongs to the group that systemd's own packages give it.
    mkdir sysusers tmpfiles
    cp usr/lib/tmpfiles.d/systemd.conf tmpfiles/
    if [ -n "$BINARY" ]; then
        cp "$PACKAGING/pillory.service" units/
        ln -s ../pillory.service units/multi-user.target.wants/
        for kind in sysusers tmpfiles; do cp "$PACKAGING/$kind.d/pillory.conf" $kind/; done
    fi
    for kind in sysusers tmpfiles; do mount --bind $kind usr/lib/$kind.d; done
    mount --bind units usr/lib/systemd/system
}

inside() {
    # Its id outside, while /proc is still that of outside.
    read -r pid _ </proc/self/stat
    [ -L /bin ] || cannot "use a /usr that lacks what /bin has"
    mount --make-rprivate /
    mkdir -p /run/host
    mount -t tmpfs -o mode=755 lab /run/host
    cd /run/host
    mkdir -m 1777 tmp
    mkdir dev etc proc root run sys usr var old
    programs
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup 2>/dev/null || cannot "mount cgroup2 in a namespace of its own"
    mount --rbind /dev dev
    mount -t tmpfs -o mode=755 lab run
    cp -a /etc/. etc/
    units
    echo "booting $pid"
    pivot_root . old
    umount -l old
    exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
        /usr/lib/systemd/systemd --show-status=no >/dev/null 2>&1
}

"${1:-keep}"
