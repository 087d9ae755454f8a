# Runs inside new network, mount and UTS namespaces and makes them look like a freshly installed Debian host:
# private /dev, /etc, /run, /srv, /var/lib, /var/log. Nothing outside the namespaces is touched. keep.sh follows.
set -eu

# Never without namespaces of our own.
for kind in net mnt uts; do
    if [ "$(readlink /proc/self/ns/$kind)" = "$(readlink "/proc/$PPID/ns/$kind")" ]; then
        echo "not in a private $kind namespace" >&2
        exit 1
    fi
done

mount --make-rprivate /
mount -t tmpfs -o mode=755 lab /run
mkdir -p /run/.host/dev /run/.host/varlib /run/.host/etc
mount --rbind /dev /run/.host/dev
mount --rbind /var/lib /run/.host/varlib

# What programs need to run at all; everything else of the real /etc is out of sight.
for name in ld.so.cache ld.so.conf ld.so.conf.d localtime services protocols login.defs security alternatives \
    ssl environment debian_version fonts groff; do
    [ ! -e /etc/$name ] || cp -a /etc/$name /run/.host/etc/
done
mount -t tmpfs -o mode=755 lab /etc
cp -a /run/.host/etc/. /etc/

mount -t tmpfs -o mode=755 lab /var/lib
for path in /run/.host/varlib/*; do
    [ "${path##*/}" = pillory ] || ln -s "$path" /var/lib/
done

mount -t tmpfs -o mode=755 lab /dev
for name in null zero full random urandom tty; do
    : >/dev/$name
    mount --bind /run/.host/dev/$name /dev/$name
done
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 lab /dev/pts
mount -t tmpfs lab /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr

mount -t tmpfs -o mode=755 lab /var/log
[ ! -d /srv ] || mount -t tmpfs -o mode=755 lab /srv
mkdir -p /run/sshd /run/lock /run/systemd /run/user /run/alice /run/bob /etc/pam.d /etc/ssh /etc/pillory
mkdir -p /var/lib/pillory
: >/var/log/btmp
chmod 660 /var/log/btmp
: >/var/log/wtmp
: >/var/log/lastlog
: >/run/utmp
chmod 664 /var/log/wtmp /var/log/lastlog /run/utmp

cat >/etc/group <<'GROUPS'
root:x:0:
adm:x:4:
tty:x:5:
utmp:x:43:
systemd-journal:x:101:
alice:x:1001:
bob:x:1002:
nogroup:x:65534:
GROUPS
# The shells are real ones; alice, bob and root all have the password "correct horse".
cat >/etc/passwd <<'USERS'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
systemd-network:x:998:998::/:/usr/sbin/nologin
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
alice:x:1001:1001:Alice,,,:/run/alice:/bin/sh
bob:x:1002:1002:Bob,,,:/run/bob:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
USERS
hash='$6$rounds=1000$pillorylab$p9FKwg08IgVTLHZuKboAMXWDfXV0Qv7hHwxeld529UIGyUNJBVYPKHSXPiegWuA18vvlmmhhFiJiODXRx0Eyc.'
for user in root alice bob; do echo "$user:$hash:19000:0:99999:7:::"; done >/etc/shadow
for user in daemon www-data systemd-network sshd nobody; do echo "$user:*:19000:0:99999:7:::"; done >>/etc/shadow
chmod 640 /etc/shadow
chown alice:alice /run/alice
chown bob:bob /run/bob
chgrp utmp /var/log/btmp /var/log/wtmp /var/log/lastlog /run/utmp

echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo server >/etc/hostname
echo '127.0.0.1 localhost server' >/etc/hosts
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n' >/etc/nsswitch.conf
printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n' >/etc/os-release

# Debian's stack for sshd, without what asks for systemd, mail or a desktop.
cat >/etc/pam.d/sshd <<'PAM'
auth     [success=1 default=ignore] pam_unix.so nullok
auth     requisite                  pam_deny.so
auth     required                   pam_permit.so
account  required                   pam_nologin.so
account  [success=1 new_authtok_reqd=done default=ignore] pam_unix.so
account  requisite                  pam_deny.so
account  required                   pam_permit.so
session  required                   pam_permit.so
session  required                   pam_unix.so
password required                   pam_deny.so
PAM
cp /etc/pam.d/sshd /etc/pam.d/other

echo server >/proc/sys/kernel/hostname
