//! Install and leave: each package, the tarball and `make install`, on a host with a real systemd. What was installed is
//! upgraded while it runs, removed, installed again and purged; afterwards the host is as it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::install::check_documents;
use crate::lab::{Answer, CONFIG, SYSTEMD, Systemd, World, binary, find, need, say_skipped};

const PILLORY: &str = "pillory.service";
const BANNED: &str = "198.51.100.7";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How one of them is handled; `REVISION` is 1 or 2, `/root` has what was packed.
struct Way {
    /// Programs that it needs.
    needs: &'static [&'static str],
    install: &'static str,
    remove: &'static str,
    purge: &'static str,
    /// Whether what is not there can be removed, too.
    removes_twice: bool,
    program: &'static str,
    config: &'static str,
}

const DEB: Way = Way {
    needs: &["dpkg"],
    install: "dpkg -i /root/REVISION/pillory_*.deb",
    remove: "dpkg -r pillory",
    purge: "dpkg -P pillory",
    removes_twice: true,
    program: "/usr/bin/pillory",
    config: "",
};

const RPM: Way = Way {
    needs: &["rpm"],
    // Its own database is empty here, and Debian's rpm wants to be told that it may.
    install: "rpm --force-debian --nodeps -U /root/REVISION/pillory-*.rpm",
    remove: "rpm --force-debian -e pillory",
    // What it says itself.
    purge: "rpm --force-debian -e pillory | sed -n 's/.*, too: rm -r/rm -r/p' | sh",
    removes_twice: false,
    program: "/usr/bin/pillory",
    config: "banaction = \"nullroute\"\n",
};

const TARBALL: Way = Way {
    needs: &["tar"],
    install: "cd /root && tar -xzf REVISION/pillory-*.tar.gz && pillory-*/scripts/install.sh install",
    remove: "/root/pillory-*/scripts/install.sh uninstall",
    purge: "PURGE=1 /root/pillory-*/scripts/install.sh uninstall",
    removes_twice: true,
    program: "/usr/bin/pillory",
    config: "",
};

const MAKE: Way = Way {
    needs: &["make"],
    install: "make -C /root/source install PREFIX=/usr/local PILLORY_BIN=/root/source/pillory",
    remove: "make -C /root/source uninstall PREFIX=/usr/local",
    purge: "make -C /root/source uninstall PREFIX=/usr/local PURGE=1",
    removes_twice: true,
    program: "/usr/local/bin/pillory",
    config: "",
};

#[test]
fn the_debian_package_is_installed_upgraded_removed_and_purged_without_a_trace() {
    walk(&DEB);
}

#[test]
fn the_rpm_is_installed_upgraded_and_removed_without_a_trace() {
    walk(&RPM);
}

#[test]
fn the_tarball_is_installed_upgraded_removed_and_purged_without_a_trace() {
    walk(&TARBALL);
}

#[test]
fn make_install_and_make_uninstall_leave_no_trace() {
    let Some((world, host)) = walk(&MAKE) else { return };
    // Half of it is gone, and the service runs all the same.
    let before = traces(&world, &host);
    shell(&host, MAKE.install);
    host.must(&["systemctl", "enable", "--now", PILLORY]);
    for path in [MAKE.program, "/usr/local/lib/systemd/system/pillory.service"] {
        std::fs::remove_file(host.path(path)).expect("it was there");
    }
    let said = host.run(&["sh", "-c", MAKE.purge]);
    assert!(said.code == Some(0) && said.err.contains("nft delete table inet pillory"), "{said:?}");
    world.kernel().nft("delete table inet pillory");
    compare(&before, &traces(&world, &host));
}

/// A file, a rule or an account each.
type Traces = BTreeSet<String>;

/// Goes the whole way once; returns the host as it is then, or nothing if that is not possible here.
fn walk(way: &Way) -> Option<(World, Systemd)> {
    let packed = packed()?;
    let needed: Vec<&str> = SYSTEMD.iter().chain(way.needs).copied().collect();
    let world = World::with(&needed)?;
    // Without a book of groups' passwords the tools for accounts would begin one.
    let host = Systemd::bare(&world.server, &[("/etc/gshadow", "")])?;
    bring(&host, packed);
    let before = traces(&world, &host);

    // A service that never ran.
    let said = install(&host, way, 1);
    assert!(said.contains("systemctl enable --now pillory"), "{said}");
    assert_eq!(host.property(PILLORY, "ActiveState"), "inactive");
    assert_eq!(host.property(PILLORY, "UnitFileState"), "disabled");
    check_unit(&host);
    let prefix = way.program.strip_suffix("/bin/pillory").expect("a program");
    check_documents(&host.path(&format!("{prefix}/share/doc/pillory")));
    shell(&host, way.remove);
    if way.removes_twice {
        shell(&host, way.remove);
    }
    compare(&before, &traces(&world, &host));

    // One that runs, through an upgrade.
    install(&host, way, 1);
    let config = format!("decoys = 0\n{}", way.config);
    std::fs::write(host.path(CONFIG), &config).expect("its directory was made");
    // What somebody wrote for the unit goes with a purge only.
    shell(&host, "mkdir -p /etc/systemd/system/pillory.service.d");
    shell(&host, "printf '[Service]\\nNice=1\\n' >/etc/systemd/system/pillory.service.d/own.conf");
    host.must(&["systemctl", "enable", "--now", PILLORY]);
    host.must(&[way.program, "ban", BANNED, "--for", "1h"]);
    let (bans, pid) = (bans(&host, way), host.daemon_pid());
    let monitor = world.kernel().monitor();
    let said = install(&host, way, 2);
    assert!(!said.contains("nothing was started"), "{said}");
    assert_eq!(host.property(PILLORY, "ActiveState"), "active");
    assert!(pid != 0 && host.daemon_pid() != pid, "the new program runs");
    assert_eq!(self::bans(&host, way), bans);
    let changes = monitor.lines();
    let lifts = |line: &&String| {
        line.contains("delete") && (line.contains(BANNED) || line.contains("table inet pillory"))
    };
    assert_eq!(changes.iter().find(lifts), None);
    assert!(is_banned(&world));

    // Removed while it runs: what it had in force is lifted, and nobody has its user's number.
    let own = host.must(&["id", "-u", "pillory"]).trim().to_owned();
    shell(&host, way.remove);
    assert!(!is_banned(&world));
    assert_eq!(host.property(PILLORY, "LoadState"), "not-found");
    let new: Vec<String> = traces(&world, &host).difference(&before).cloned().collect();
    let kept = |trace: &String| {
        let places = [" /var/lib/pillory", " /etc/pillory", " /etc/systemd/system/pillory.service.d"];
        places.iter().any(|place| trace.contains(place))
    };
    assert!(new.iter().all(|trace| kept(trace) && trace.contains(" 0:0 ")), "{new:?}");
    assert_eq!(std::fs::read_to_string(host.path(CONFIG)).expect("it is kept"), config);
    host.must(&["useradd", "--system", "--no-create-home", "--uid", &own, "other"]);

    // Back again, with another number.
    install(&host, way, 2);
    host.must(&["systemctl", "enable", "--now", PILLORY]);
    assert_eq!(self::bans(&host, way), bans);
    assert!(is_banned(&world));
    shell(&host, way.purge);
    host.must(&["userdel", "other"]);
    compare(&before, &traces(&world, &host));
    Some((world, host))
}

#[track_caller]
fn shell(host: &Systemd, line: &str) -> String {
    host.must(&["sh", "-c", line])
}

#[track_caller]
fn install(host: &Systemd, way: &Way, revision: u32) -> String {
    shell(host, &way.install.replace("REVISION", &revision.to_string()))
}

fn is_banned(world: &World) -> bool {
    world.kernel().is_banned(BANNED.parse().expect("an address"))
}

/// The bans in force as the daemon lists them.
#[track_caller]
fn bans(host: &Systemd, way: &Way) -> Value {
    serde_json::from_str(&host.must(&[way.program, "list", "--json"])).expect("list prints JSON")
}

/// The unit as it lies there is understood, and exposes little.
fn check_unit(host: &Systemd) {
    let path = host.property(PILLORY, "FragmentPath");
    let verified = host.run(&["systemd-analyze", "verify", &path]);
    let about_us = verified.err.lines().filter(|line| line.contains("pillory") && !line.contains("man "));
    assert_eq!(about_us.collect::<Vec<_>>(), Vec::<&str>::new(), "{verified:?}");
    host.must(&["systemd-analyze", "security", "--no-pager", "--threshold=13", PILLORY]);
}

/// What the host has: files with their owners, accounts, and what the kernel enforces. Left out is what logs, what keeps
/// the books of packages, what runs, and the copies that the tools for accounts make.
fn traces(world: &World, host: &Systemd) -> Traces {
    const OTHERS: [&str; 12] = [
        "/root/",
        "/upper",
        "/work",
        "/tmp/",
        "/var/log",
        "/var/lib/dpkg",
        "/var/lib/rpm",
        "/run/systemd",
        "/run/log",
        "/etc/.pwd.lock",
        "/var/tmp",
        "/usr/lib/sysimage",
    ];
    // Each of these is a file system of its own.
    let roots = "/ /run /usr /usr/lib /usr/lib/systemd/system /usr/lib/sysusers.d /usr/lib/tmpfiles.d";
    let found = shell(host, &format!("find {roots} -xdev -printf '%y %m %U:%G %p %l\\n'"));
    let counted = |line: &&str| {
        let path = line.splitn(4, ' ').nth(3).unwrap_or_default().trim_end();
        let is_copy = path.starts_with("/etc/") && path.ends_with('-');
        !is_copy && !OTHERS.iter().any(|other| path.starts_with(other))
    };
    let mut traces: Traces = found.lines().filter(counted).map(str::to_owned).collect();
    for file in ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"] {
        let text = std::fs::read_to_string(host.path(file)).unwrap_or_default();
        traces.extend(text.lines().map(|line| format!("{file}: {line}")));
    }
    let rules = world.kernel().ruleset();
    let routes = world.server.run("ip", &["route", "show", "table", "all", "proto", "199"]);
    traces.extend(rules.lines().chain(routes.lines()).map(|line| format!("kernel: {line}")));
    traces
}

#[track_caller]
fn compare(before: &Traces, after: &Traces) {
    let changed: Vec<&String> = before.symmetric_difference(after).collect();
    assert!(before.len() > 1000 && changed.is_empty(), "{changed:#?}");
}

/// Puts what was packed, and the sources that `make install` needs, where the host finds them.
fn bring(host: &Systemd, packed: &Path) {
    let copy = |from: &Path, to: &str| {
        let mut command = Command::new("cp");
        let done = command.arg("-r").arg(from).arg(host.path(to)).status().expect("cp starts");
        assert!(done.success(), "{}", from.display());
    };
    for revision in ["1", "2"] {
        copy(&packed.join(revision), "/root/");
    }
    std::fs::create_dir_all(host.path("/root/source")).expect("a directory is made");
    copy(&packed.join("pillory"), "/root/source/");
    for name in [
        "Makefile",
        "Cargo.toml",
        "scripts",
        "packaging",
        "docs",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        copy(&Path::new(ROOT).join(name), "/root/source/");
    }
    std::fs::create_dir_all(host.path("/root/source/benches")).expect("a directory is made");
    copy(&Path::new(ROOT).join("benches/RESULTS.md"), "/root/source/benches/");
    // The lab's server has the one directory and lacks the other; a host on which nothing was installed is the reverse.
    shell(host, "rmdir /etc/pillory; mkdir -p /etc/systemd/system");
    // Other packages have files where ours are put: a directory that nobody uses is taken away with the last file.
    let shared = "licenses zsh/site-functions zsh/vendor-completions fish/vendor_completions.d bash-completion/completions \
                  lintian/overrides";
    shell(host, &format!("cd /usr/share; for d in {shared}; do mkdir -p $d; touch $d/another; done"));
    // dpkg asks which packages are there; this machine's are.
    std::fs::create_dir_all(host.path("/var/lib/dpkg/info")).expect("a directory is made");
    std::fs::create_dir_all(host.path("/var/lib/dpkg/updates")).expect("a directory is made");
    if Path::new("/var/lib/dpkg/status").exists() {
        copy(Path::new("/var/lib/dpkg/status"), "/var/lib/dpkg/");
    }
}

/// Directory of two revisions of each package, made of the binary under test by `make packages`, once; `None`, with a word,
/// if that cannot be.
fn packed() -> Option<&'static Path> {
    static PACKED: OnceLock<Option<PathBuf>> = OnceLock::new();
    if !need(&[]) {
        return None;
    }
    if find("dpkg").is_none() {
        say_skipped("no dpkg here, which makes packages");
        return None;
    }
    let is_there = |tool| Path::new(ROOT).join("target/tools/cargo/bin").join(tool).exists();
    if !is_there("cargo-deb") || !is_there("cargo-generate-rpm") {
        say_skipped(
            "packages are not made (cargo-deb and cargo-generate-rpm are not here; `make test PACKAGES=1` builds them)",
        );
        return None;
    }
    PACKED.get_or_init(|| Some(pack())).as_deref()
}

fn pack() -> PathBuf {
    let place = Path::new(ROOT).join("target/lab/packages");
    std::fs::create_dir_all(&place).expect("a directory is made");
    let place = place.canonicalize().expect("it is there");
    let program = place.join("pillory");
    let stripped = Command::new("strip").arg("-o").arg(&program).arg(binary()).status();
    assert!(stripped.expect("strip starts").success());
    for revision in ["1", "2"] {
        let mut command = Command::new(Path::new(ROOT).join("scripts/packages.sh"));
        command.env("PILLORY_BIN", &program).env("OUT", place.join(revision)).env("REVISION", revision);
        let answer: Answer =
            command.env("FAST", "1").stdin(Stdio::null()).output().expect("sh starts").into();
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
    place
}
