# Makes the packages that were unpacked under $1 look installed on this host of the lab: their programs, libraries and
# data beneath the real ones. What is written there stays in memory, and nobody else sees any of it.
set -eu
tools=$1
for directory in lib sbin bin share; do
    beneath=/usr/$directory
    for unpacked in "$tools/usr/$directory" "$tools/$directory"; do
        [ ! -d "$unpacked" ] || beneath=$beneath:$unpacked
    done
    [ "$beneath" != "/usr/$directory" ] || continue
    mkdir -p "/run/installed/$directory" "/run/installed/.work/$directory"
    mount -t overlay lab "/usr/$directory" \
        -o "lowerdir=$beneath,upperdir=/run/installed/$directory,workdir=/run/installed/.work/$directory"
done
# What installing does besides: configurations, and iptables by its usual names.
for package in default firewalld groff ufw; do
    [ ! -d "$tools/etc/$package" ] || cp -r "$tools/etc/$package" /etc/
done
mkdir -p /etc/firewalld /etc/ufw/applications.d
[ ! -d /usr/share/ufw ] || cp /usr/share/ufw/*.rules /usr/share/ufw/*.init /usr/share/ufw/ufw.conf /etc/ufw/
for family in iptables ip6tables; do
    for name in "$family" "$family-restore" "$family-save"; do
        ln -sf xtables-nft-multi "/usr/sbin/$name"
    done
done
