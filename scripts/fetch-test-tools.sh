#!/bin/sh
# Fetches what the tests need and this machine lacks, and unpacks it under target/tools/.
#
# Nothing is installed, no service is started, root is not needed: packages are downloaded with the
# distribution's own package manager (apt-get or dnf, signatures checked) and only unpacked.
# A stamp file makes the second call instant and keeps it offline.
# Options: --bench fetches what only `make bench` compares or counts with, too; --list, behind it, says what is missing
# and does nothing.
set -eu

cd "$(dirname "$0")/.."
root=$PWD/target/tools
stamp=$root/.stamp
work=$root/.work.$$
log=$root/.log

# program, Debian package, Fedora package. More than one name for a program is joined by commas; a name that ends in .py
# is a module of Python. A package behind = is unpacked without what it depends on.
wanted='
ip                               iproute2                iproute
nft                              nftables                nftables
unshare                          util-linux              util-linux
sshd                             openssh-server          openssh-server
ssh                              openssh-client          openssh-clients
ssh-keygen                       openssh-client          openssh
rsyslogd                         rsyslog                 rsyslog
systemd-journald,journalctl      systemd                 systemd
systemd-journal-remote           systemd-journal-remote  systemd-journal-remote
fail2ban-regex,fail2ban-server   fail2ban                fail2ban-server
strace                           strace                  strace
iptables-nft                     iptables                iptables-nft
prlimit                          util-linux              util-linux
pyinotify.py                     python3-pyinotify       python3-inotify
html5lib/__init__.py             python3-html5lib        python3-html5lib
aiosmtpd/__init__.py             python3-aiosmtpd        python3-aiosmtpd
openssl                          openssl                 openssl
ufw                              ufw                     ufw
firewalld,firewall-cmd           firewalld               firewalld
dbus-daemon                      dbus-daemon             dbus-daemon
faketime                         faketime                libfaketime
ipset                            ipset                   ipset
nginx                            nginx                   nginx-core
apache2                          apache2-bin             httpd-core
haproxy                          haproxy                 haproxy
named-checkzone                  bind9-utils             bind-utils
rbldnsd                          rbldnsd                 rbldnsd
iprange                          iprange                 iprange
promtool                         prometheus              golang-github-prometheus
man                              man-db                  man-db
groff                            groff-base              groff-base
zsh                              zsh                     zsh
fish                             fish                    fish
chromium                         chromium                chromium
chromedriver                     chromium-driver         chromedriver
rpm                              rpm                     rpm
logwatch                         =logwatch               =logwatch
python.d.plugin                  =netdata-plugins-python =netdata
'
if [ "${1:-}" = --bench ]; then
    shift
    stamp=$root/.stamp-bench
    wanted="$wanted
rg                               ripgrep                 ripgrep
sshg-parser                      sshguard                sshguard
lastb                            util-linux              util-linux
valgrind                         valgrind                valgrind
"
fi

has() {
    case $1 in
    *.py)
        for module in "/usr/lib/python3"*/*-packages/"$1" "$root/usr/lib/python3"*/*-packages/"$1"; do
            [ -e "$module" ] && return 0
        done
        return 1
        ;;
    esac
    for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin /lib/systemd /usr/lib/systemd \
        /usr/libexec/sshguard "$root/usr/sbin" "$root/usr/bin" "$root/sbin" "$root/bin" "$root/lib/systemd" \
        "$root/usr/lib/systemd" "$root/usr/libexec/sshguard" /usr/lib/netdata/plugins.d \
        "$root/usr/lib/netdata/plugins.d"; do
        [ -x "$dir/$1" ] && return 0
    done
    return 1
}

# Prints the packages (column $1 of the table) of which a program is missing.
missing_packages() {
    echo "$wanted" | while read -r programs debian fedora; do
        [ -n "$programs" ] || continue
        for program in $(echo "$programs" | tr ',' ' '); do
            if ! has "$program"; then
                [ "$1" = debian ] && echo "$debian" || echo "$fedora"
                break
            fi
        done
    done | sort -u | tr '\n' ' '
}

say() { echo "test tools: $*"; }

give_up() {
    say "$*"
    say "tests that need them are skipped and say so"
    exit 0
}

# apt-get with everything it writes kept below target/tools, so that no root is needed.
private_apt() {
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    apt-get -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Debug::NoLocking=1 \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# Names of the packages that would have to be installed for "$@", the ones asked for included.
apt_closure() {
    set -- $(echo "$*" | tr ' ' '\n' | grep -v '^=' || true) -- $(echo "$*" | tr ' ' '\n' | sed -n 's/^=//p')
    whole=
    while [ "$1" != -- ]; do
        whole="$whole $1"
        shift
    done
    shift
    {
        [ -z "$whole" ] || "$apt" install --print-uris -y --no-install-recommends $whole 2>>"$log" |
            sed -n "s/^'[^']*' \([^_ ]*\)_.*/\1/p"
        [ $# = 0 ] || printf '%s\n' "$@"
    } |
        grep -vx -e libc6 -e libc-bin -e libpam-runtime -e systemd-sysv -e systemd-timesyncd -e libpam-systemd \
            -e libnss-systemd -e runit-helper | sort -u | tr '\n' ' '
}

fetch_with_apt() {
    mkdir -p "$work/debs"
    apt=apt-get
    packages=$(apt_closure "$@" || true)
    if [ -z "$packages" ] || ! download_with_apt $packages; then
        say "this machine's package lists are missing or old; fetching private ones (no root needed)"
        apt=private_apt
        private_apt update >>"$log" 2>&1 || give_up "apt-get update failed, see $log; not fetched: $*"
        packages=$(apt_closure "$@" || true)
        [ -n "$packages" ] || give_up "apt-get knows no package for: $*; see $log"
        download_with_apt $packages || give_up "download failed, see $log; not fetched: $packages"
    fi
    for deb in "$work"/debs/*.deb; do
        dpkg-deb -x "$deb" "$root"
    done
}

download_with_apt() {
    say "downloading with apt-get and unpacking under target/tools (nothing is installed): $*"
    (cd "$work/debs" && "$apt" download "$@" >>"$log" 2>&1)
}

fetch_with_dnf() {
    mkdir -p "$work/rpms"
    alone=$(echo "$*" | tr ' ' '\n' | sed -n 's/^=//p' | tr '\n' ' ')
    set -- $(echo "$*" | tr ' ' '\n' | grep -v '^=' || true)
    say "downloading with dnf and unpacking under target/tools (nothing is installed): $*"
    [ $# = 0 ] || dnf -q download --resolve --destdir "$work/rpms" "$@" >>"$log" 2>&1 ||
        give_up "dnf download failed (is the download plugin there?), see $log; not fetched: $*"
    [ -z "$alone" ] || dnf -q download --destdir "$work/rpms" $alone >>"$log" 2>&1 || say "not fetched: $alone"
    for rpm in "$work"/rpms/*.rpm; do
        rpm2cpio "$rpm" | (cd "$root" && cpio -idm --quiet) || give_up "cannot unpack $rpm"
    done
}

if command -v apt-get >/dev/null 2>&1; then
    packages=$(missing_packages debian)
elif command -v dnf >/dev/null 2>&1; then
    packages=$(missing_packages fedora)
else
    packages=$(missing_packages debian)
    [ -z "$packages" ] || give_up "neither apt-get nor dnf is here; missing: $packages"
fi

if [ "${1:-}" = --list ]; then
    say "missing: ${packages:-nothing}"
    exit 0
fi
[ -n "$packages" ] || exit 0
# What could not be had once is not asked for again at every run.
[ -e "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ] && exit 0

say "missing here: $packages"
mkdir -p "$root" "$work"
trap 'rm -rf "$work"' EXIT
: >"$log"
if command -v apt-get >/dev/null 2>&1; then
    fetch_with_apt $packages
else
    fetch_with_dnf $packages
fi
if command -v apt-get >/dev/null 2>&1; then missing_packages debian; else missing_packages fedora; fi >"$stamp"
still=$(cat "$stamp")
[ -z "$still" ] || say "still missing after unpacking: $still"
say "ready"
