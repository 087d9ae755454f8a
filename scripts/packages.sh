#!/bin/sh
# Makes a Debian package, an RPM and a tarball of the static release binary in target/packages, or OUT. Installs nothing.
#
# PILLORY_BIN packages another binary and builds none; REVISION (1) is the packages' own number behind the version; FAST=1
# packs quickly instead of well.
# --tools only fetches cargo-deb and cargo-generate-rpm, which are built under target/tools.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/target/tools/cargo
REVISION=${REVISION:-1}

fetch() {
    case $("$tools/bin/$1" --version 2>/dev/null || true) in
    *"$2"*) return ;;
    esac
    echo "make packages: building $1 $2 under target/tools (once; a minute or two)"
    scripts/cargo-tool.sh "$tools" "$1" "$2"
}
fetch cargo-deb 3.8.0
fetch cargo-generate-rpm 0.21.1
[ "${1:-}" != --tools ] || exit 0

if [ -z "${PILLORY_BIN:-}" ]; then
    echo "make packages: building the release binary (the first time takes a few minutes)"
    directory=$(scripts/release.sh --bin pillory)
    PILLORY_BIN=$directory/pillory
fi
export PILLORY_BIN
work=$PWD/target/packages/work
out=${OUT:-target/packages}
mkdir -p "$work" "$out"
out=$(cd "$out" && pwd)
exec 9>"$work/.lock"
flock 9
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
machine=$(uname -m)
# The day of the last commit, so that the same sources make the same packages.
epoch=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH="$epoch"

# The files as they are installed, for $1; zsh looks for its functions in $2.
stage() {
    rm -rf "$work/$1"
    DESTDIR=$work/$1 PREFIX=/usr ZSH_FUNCTIONS=$2 scripts/install.sh install
}

# The maintainer scripts of packaging/$1, each with what they share at its beginning.
scripts() {
    mkdir -p "$work/scripts/$1"
    for name in $2; do
        { printf '#!/bin/sh\nset -e\n' && cat packaging/lifecycle.sh "packaging/$1/$name"; } >"$work/scripts/$1/$name"
    done
}

debian() {
    stage debian vendor-completions
    rm -r "$work/debian/usr/share/licenses"
    install -D -m 644 packaging/debian/lintian-overrides "$work/debian/usr/share/lintian/overrides/pillory"
    scripts debian "postinst prerm postrm"
    maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' daemon/Cargo.toml)
    cat >"$work/changelog" <<TEXT
pillory ($version-$REVISION) unstable; urgency=medium

  * What changes for who operates it stands in changelog.gz.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$epoch")
TEXT
    "$tools/bin/cargo-deb" deb --quiet --no-build --no-strip ${FAST:+--fast} --deb-revision "$REVISION" \
        --manifest-path daemon/Cargo.toml --output "$out/" >/dev/null
}

rpm() {
    stage rpm site-functions
    scripts rpm "post preun postun"
    "$tools/bin/cargo-generate-rpm" generate-rpm -p daemon --auto-req no ${FAST:+--payload-compress none} \
        --set-metadata "release = \"$REVISION\"" -o "$out/"
}

# The program, its documents, and the script that installs them.
tarball() {
    name=pillory-$version-$machine-linux
    rm -rf "${work:?}/$name"
    mkdir -p "$work/$name/scripts" "$work/$name/benches"
    cp -r ./*.md LICENSE-APACHE LICENSE-MIT packaging docs "$work/$name/"
    cp benches/*.md "$work/$name/benches/"
    cp scripts/install.sh scripts/as-root.sh "$work/$name/scripts/"
    install -m 755 "$PILLORY_BIN" "$work/$name/pillory"
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" |
        gzip ${FAST:+--fast} -n >"$out/$name.tar.gz"
}

debian
rpm
tarball
rm -rf "$work/debian" "$work/rpm" "$work/pillory-"*
ls -1 "$out"/pillory*
