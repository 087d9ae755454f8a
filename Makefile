# The commands of this project. Each works from a fresh clone with git, Rust, and root or sudo.

.PHONY: help run install uninstall packages test demo book bench simulate soak fuzz lint

help:
	@echo "make run     build the release binary and protect this host until Ctrl-C; DRY=1 enforces nothing"
	@echo "make install    install it on this host as a service, and start nothing; PREFIX=/usr, DESTDIR="
	@echo "make uninstall  remove it, its user and every ban; PURGE=1 its state and configuration, too"
	@echo "make packages   a Debian package, an RPM and a static tarball in target/packages"
	@echo "make test    fetch what the tests need, then run every test, the lab included; PACKAGES=1 builds what makes packages, too"
	@echo "make demo    play one attack in network namespaces; this host is not touched"
	@echo "make book    build the book out of docs/ into target/book"
	@echo "make bench   measure, beside other programs, and write benches/RESULTS.md; ONLY=\"scan idle\"; QUICK=1 compares instructions with what was recorded"
	@echo "make simulate play 30 days of people and attacks, and print what plain counting and Pillory make of them"
	@echo "make soak    ten million steps of the simulator, ten million sources in memory, then an hour among attackers, rotations and faults; STEPS=, SOURCES=0, MINUTES="
	@echo "make fuzz    throw invented input at the parsers for a minute each; needs a nightly compiler"
	@echo "make lint    formatting and clippy"

run:
	@DRY="$(DRY)" scripts/run.sh

install uninstall:
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" PURGE="$(PURGE)" scripts/install.sh $@

packages:
	@scripts/packages.sh

test:
	@PACKAGES="$(PACKAGES)" scripts/test.sh

demo:
	@scripts/demo.sh

book:
	@scripts/book.sh

bench:
	@ONLY="$(ONLY)" QUICK="$(QUICK)" RECORD="$(RECORD)" scripts/bench.sh

simulate:
	@cargo test --quiet -p pillory-core --test simulation -- --nocapture --test-threads 1

soak:
	@STEPS="$(STEPS)" SOURCES="$(SOURCES)" MINUTES="$(MINUTES)" scripts/soak.sh

fuzz:
	@scripts/fuzz.sh

lint:
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items
