#!/bin/sh
# Builds the book out of docs/src and the documents beside it. Argument: where its pages go; target/book without one.
#
# mdbook is built once, from the registry, into target/tools; nothing is installed elsewhere.
set -eu
cd "$(dirname "$0")/.."

version=0.5.4
mdbook=target/tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
    echo "make book: building mdbook $version into target/tools (a minute or two, once)"
    scripts/cargo-tool.sh "$PWD/target/tools" mdbook "$version" --no-default-features
fi

out=${1:-target/book}
mkdir -p target "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d target/book.XXXXXX)
trap 'rm -rf "$work"' EXIT
cp -r docs/book.toml docs/src "$work/"
# What the chapters link to lies in folders above them; in the book all of it is beside them. The README is not called
# so, since mdbook would make it the index.
cp LICENSE-* docs/*.png docs/*.svg "$work/src/"
for document in ARCHITECTURE CHANGELOG CONTRIBUTING SECURITY benches/RESULTS; do
    cp "$document.md" "$work/src/"
done
cp README.md "$work/src/readme-of-the-project.md"
sed -i -E \
    -e 's#\]\((\.\./)+#](#g' -e 's#\]\((docs/src|docs|benches)/#](#g' -e 's#\]\(README\.md#](readme-of-the-project.md#g' \
    "$work"/src/*.md
"$mdbook" build --dest-dir "$out" "$work" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
echo "make book: $out/index.html"
