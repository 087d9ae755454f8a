#!/bin/sh
# Installs Pillory on this host and removes it again: `install.sh install`, `install.sh uninstall`. The tarball of
# `make packages` has this script, too, beside a program that is built.
#
# PREFIX (/usr) is where; with DESTDIR the files are put below that directory, and nothing else is done.
# PILLORY_BIN installs another program and builds none. PURGE=1: uninstall removes state and configuration, too.
# ZSH_FUNCTIONS is the directory below PREFIX/share/zsh for its completions.
set -eu
cd "$(dirname "$0")/.."
PREFIX=${PREFIX:-/usr}
DESTDIR=${DESTDIR:-}
# Debian's zsh has a place of its own for what packages bring, below /usr only.
if [ "$PREFIX" = /usr ] && [ -e /etc/debian_version ]; then
    ZSH_FUNCTIONS=${ZSH_FUNCTIONS:-vendor-completions}
else
    ZSH_FUNCTIONS=${ZSH_FUNCTIONS:-site-functions}
fi
. packaging/lifecycle.sh

# systemd looks for units, users and directories below these two prefixes; for others there is the administrator's place.
case $PREFIX in
/usr | /usr/local) system=$PREFIX/lib ;;
*) system=/etc ;;
esac
doc=$PREFIX/share/doc/pillory

# Every file: mode, place, source. $made is where what is made for this prefix lies.
table() {
    cat <<TABLE
755 $PREFIX/bin/pillory $program
644 $system/systemd/system/pillory.service $made/pillory.service
644 $system/sysusers.d/pillory.conf packaging/sysusers.d/pillory.conf
644 $system/tmpfiles.d/pillory.conf packaging/tmpfiles.d/pillory.conf
644 $doc/examples/network.conf packaging/drop-ins/network.conf
644 $doc/examples/commands.conf packaging/drop-ins/commands.conf
644 $doc/examples/fail2ban-log.conf packaging/drop-ins/fail2ban-log.conf
644 $doc/examples/alerts.yml packaging/prometheus/alerts.yml
644 $doc/examples/grafana-dashboard.json packaging/prometheus/grafana-dashboard.json
644 $doc/copyright packaging/debian/copyright
644 $PREFIX/share/licenses/pillory/LICENSE-MIT LICENSE-MIT
644 $PREFIX/share/licenses/pillory/LICENSE-APACHE LICENSE-APACHE
644 $doc/changelog.gz $made/changelog.gz
644 $PREFIX/share/man/man1/pillory.1.gz $made/man/man1/pillory.1.gz
644 $PREFIX/share/man/man5/pillory.toml.5.gz $made/man/man5/pillory.toml.5.gz
644 $PREFIX/share/man/man5/pillory-filter.5.gz $made/man/man5/pillory-filter.5.gz
644 $PREFIX/share/bash-completion/completions/pillory $made/completions/pillory.bash
644 $PREFIX/share/zsh/$ZSH_FUNCTIONS/_pillory $made/completions/_pillory
644 $PREFIX/share/fish/vendor_completions.d/pillory.fish $made/completions/pillory.fish
TABLE
    for name in *.md benches/*.md docs/*.png docs/*.svg docs/src/*.md; do
        [ "$name" = CHANGELOG.md ] || echo "644 $doc/$name $made/doc/$name"
    done
}

# The program to install: the one that is named, the tarball's, or the release binary.
find_program() {
    if [ -n "${PILLORY_BIN:-}" ]; then
        echo "$PILLORY_BIN"
    elif [ ! -e Cargo.toml ]; then
        echo "$PWD/pillory"
    else
        echo "make install: building the release binary (the first time takes a few minutes)" >&2
        directory=$(scripts/release.sh --bin pillory)
        echo "$directory/pillory"
    fi
}

# What differs by prefix, is compressed, or is printed by the program itself.
make_files() {
    sed "s|/usr/bin/pillory|$PREFIX/bin/pillory|" packaging/pillory.service >"$made/pillory.service"
    gzip -9nc CHANGELOG.md >"$made/changelog.gz"
    # The README and the book, in the folders in which their links find each other.
    mkdir -p "$made/doc/benches" "$made/doc/docs/src"
    cp docs/*.png docs/*.svg "$made/doc/docs/"
    for name in *.md benches/*.md docs/src/*.md; do
        sed -E -e 's#\]\(((\.\./)*)CHANGELOG\.md#](\1changelog.gz#g' -e 's#\]\(((\.\./)*)LICENSE-[A-Z]+#](\1copyright#g' \
            "$name" >"$made/doc/$name"
    done
    if ! "$program" generate --out "$made"; then
        echo "install.sh: $program generate failed (see above), so there are no manual pages and no completions; nothing was installed." >&2
        echo "  It must run on this machine; PILLORY_BIN=FILE names another program" >&2
        exit 1
    fi
    gzip -9n "$made"/man/man?/*
}

install_files() {
    table | while read -r mode place source; do
        install -D -m "$mode" "$source" "$DESTDIR$place"
    done
}

remove_files() {
    table | while read -r _ place _; do
        rm -f "$DESTDIR$place"
        # Directories that are empty now, but for those that every host has.
        while place=${place%/*}; do
            case $place in
            /usr | /usr/local | "$PREFIX"/bin | "$PREFIX"/lib | "$PREFIX"/share | "$PREFIX"/share/man) [ "$system" = /etc ] || break ;;
            "$PREFIX"*) ;;
            *) break ;;
            esac
            rmdir "$DESTDIR$place" 2>/dev/null || break
        done
    done
}

# The rest needs root; building above did not.
as_root() {
    if [ "$(id -u)" != 0 ] && [ -z "$DESTDIR" ]; then
        echo "make $1: root is needed to write below $PREFIX; using sudo"
        exec scripts/as-root.sh env PREFIX="$PREFIX" PURGE="${PURGE:-}" PILLORY_BIN="$program" ZSH_FUNCTIONS="$ZSH_FUNCTIONS" \
            "$PWD/scripts/install.sh" "$1"
    fi
}

made=
program=
case ${1:-} in
install)
    program=$(find_program)
    as_root install
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    make_files
    install_files
    [ -z "$DESTDIR" ] || exit 0
    pillory_set_up "$system"
    pillory_restart
    pillory_next
    ;;
uninstall)
    as_root uninstall
    if [ -z "$DESTDIR" ]; then
        pillory_stop
        pillory_lift "$PREFIX/bin/pillory"
    fi
    remove_files
    [ -z "$DESTDIR" ] || exit 0
    pillory_forget
    [ -z "${PURGE:-}" ] || pillory_purge
    kept=$(pillory_kept)
    echo "pillory: removed, with every ban${PURGE:+, its state and its configuration}"
    [ -z "$kept" ] || echo "pillory: kept:$kept; PURGE=1 removes these, too"
    ;;
*)
    echo "usage: scripts/install.sh install|uninstall" >&2
    exit 2
    ;;
esac
