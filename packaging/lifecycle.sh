# What installing Pillory and removing it do to a host besides its files: the user, the service, and what the daemon put
# into the kernel. scripts/install.sh reads it, and each maintainer script of the packages begins with it.
# Every step may be repeated, and minds neither a service that never ran nor what is gone already.

pillory_booted() { [ -d /run/systemd/system ]; }

# In a chroot the kernel is that of another host, whose bans are none of ours. One without /proc is taken for that; a
# container may have a process 1 that hides its root.
pillory_chroot() { [ ! -d /proc/1 ] || { [ -e /proc/1/root/. ] && ! [ /proc/1/root/. -ef / ]; }; }

# After the files came: the user, the directories; systemd hears of the unit. Starts nothing.
# $1: the directory that holds sysusers.d and tmpfiles.d.
pillory_set_up() {
    if command -v systemd-sysusers >/dev/null && command -v systemd-tmpfiles >/dev/null; then
        systemd-sysusers "$1/sysusers.d/pillory.conf"
        systemd-tmpfiles --create "$1/tmpfiles.d/pillory.conf"
    else
        echo "pillory: no systemd-sysusers and systemd-tmpfiles here, so no user was made" >&2
    fi
    if pillory_booted; then systemctl daemon-reload; fi
}

# After an upgrade: a running service goes on with the new program. Its bans stay in the kernel meanwhile.
pillory_restart() {
    if pillory_booted; then systemctl try-restart pillory.service; fi
}

# What to type next, unless the service runs.
pillory_next() {
    if ! pillory_booted; then
        echo "pillory: no systemd runs here; \`pillory run\` is the daemon"
    elif ! systemctl --quiet is-active pillory.service; then
        echo "pillory: nothing was started; next: systemctl enable --now pillory"
    fi
}

# Before the files go: the service ends and is not started again.
pillory_stop() {
    if pillory_booted; then
        # A unit that systemd does not know cannot be stopped, and need not be.
        systemctl stop pillory.service 2>/dev/null || :
        if systemctl --quiet is-active pillory.service; then
            echo "pillory: the service does not stop; see systemctl status pillory" >&2
            return 1
        fi
    fi
    systemctl --quiet disable pillory.service 2>/dev/null || rm -f /etc/systemd/system/*.wants/pillory.service
}

# The table and the routes go; the state keeps the bans, and a daemon that is installed and started again enforces them.
# A daemon that no unit runs would put them back, so it has to end before anything goes.
# $1: the program.
pillory_lift() {
    if pillory_chroot; then
        echo "pillory: this is a chroot, so nothing was taken out of the kernel, which is another host's"
        return
    fi
    if [ ! -x "$1" ]; then
        echo "pillory: $1 is not there, so what it may have left in the kernel stays; to remove that:" >&2
        echo "  nft delete table inet pillory; ip route flush proto 199; ip -6 route flush proto 199" >&2
        return
    fi
    if "$1" status >/dev/null 2>&1; then
        pillory_runs "$("$1" status --json 2>/dev/null | grep -o '"pid":[0-9]*' | cut -d: -f2)"
        return 1
    fi
    said=$("$1" off --for 1s 2>&1) && return
    case $?:$said in
    75:*)
        echo "$said" >&2
        pillory_runs
        return 1
        ;;
    # Without a state it lifts all the same, and says that nothing could be remembered.
    *" lifted from the kernel"*) ;;
    *) echo "$said" >&2 ;;
    esac
}

# $1: the daemon's process, if that is known.
pillory_runs() {
    echo "pillory: a daemon runs here that is no service of systemd, and would ban again; no file was removed." >&2
    echo "  End it${1:+ (kill $1)}, then do this again." >&2
}

# After the files went: systemd forgets the unit; the user, the socket and what was made for them go.
pillory_forget() {
    if pillory_booted; then
        systemctl daemon-reload
        systemctl reset-failed pillory.service 2>/dev/null || :
    fi
    rm -rf /run/pillory
    # The user's number will be given to somebody else. systemd hands the state back when the service is started again.
    if [ -d /var/lib/pillory ]; then chown -hR root:root /var/lib/pillory; fi
    if getent passwd pillory >/dev/null; then userdel pillory; fi
    if getent group pillory >/dev/null; then groupdel pillory; fi
    rmdir /var/lib/pillory /etc/pillory 2>/dev/null || :
}

# What stays behind unless it is purged: state, configuration, the drop-ins of the unit.
pillory_kept() {
    for place in /var/lib/pillory /etc/pillory /etc/systemd/system/pillory.service.d; do
        [ ! -e "$place" ] || printf ' %s' "$place"
    done
}

# They go, too.
pillory_purge() {
    rm -rf /var/lib/pillory /etc/pillory /etc/systemd/system/pillory.service.d
    if pillory_booted; then systemctl daemon-reload; fi
}
