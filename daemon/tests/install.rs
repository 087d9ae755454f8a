//! `scripts/install.sh` by itself: what it puts where, what it refuses, and that it leaves alone what is not its own.
//! `packages.rs` goes the whole way with a service that runs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::{Answer, CONTROL, Daemon, Place, World, binary, need, quiet_server};
use crate::markdown::{dead_links, documents_below};

const BANNED: &str = "198.51.100.7";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Links that work in the project work where its documents are installed.
#[track_caller]
pub(crate) fn check_documents(folder: &Path) {
    let documents = documents_below(folder);
    assert!(documents.contains_key(&folder.join("README.md")), "{:?}", documents.keys());
    assert_eq!(dead_links(&documents), Vec::<String>::new());
}

/// Runs `scripts/install.sh` of the project, or of a copy.
fn script(project: &Path, order: &str, environment: &[(&str, &str)]) -> Answer {
    let mut command = Command::new("sh");
    command.args(["scripts/install.sh", order]).current_dir(project).stdin(Stdio::null());
    command.envs(environment.iter().copied()).output().expect("sh starts").into()
}

fn is_banned(world: &World) -> bool {
    world.kernel().is_banned(BANNED.parse().expect("an address"))
}

#[test]
fn below_another_prefix_the_unit_names_the_program_there_and_all_of_it_goes_again() {
    let place = Place::new("prefix");
    let run = |order: &str| {
        let mut command = Command::new("make");
        command.args([order, "PREFIX=/opt/pillory", &format!("DESTDIR={}", place.0.display())]);
        command.env("PILLORY_BIN", binary()).current_dir(ROOT).stdin(Stdio::null());
        let answer: Answer = command.output().expect("make starts").into();
        assert_eq!(answer.code, Some(0), "{answer:?}");
    };
    run("install");
    let read = |path: &str| std::fs::read_to_string(place.0.join(path)).expect("it is there");
    let unit = read("etc/systemd/system/pillory.service");
    assert!(unit.contains("\nExecStart=/opt/pillory/bin/pillory run\n"), "{unit}");
    assert!(unit.contains("\nExecReload=/opt/pillory/bin/pillory reload\n"), "{unit}");
    assert!(read("etc/sysusers.d/pillory.conf").contains("u     pillory"));
    assert!(place.0.join("opt/pillory/bin/pillory").exists());
    check_documents(&place.0.join("opt/pillory/share/doc/pillory"));
    run("uninstall");
    let mut command = Command::new("find");
    let left =
        command.arg(&place.0).args(["-name", "*pillory*", "-type", "f"]).output().expect("find starts");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn a_program_that_cannot_make_its_manual_pages_is_not_installed() {
    let place = Place::new("no-pages");
    let program = place.write("pillory", "#!/bin/sh\necho 'cannot execute' >&2\nexit 126\n");
    Command::new("chmod").args(["755", &program]).status().expect("chmod starts");
    let to = place.0.join("to");
    let said = script(
        Path::new(ROOT),
        "install",
        &[("PILLORY_BIN", &program), ("DESTDIR", &to.display().to_string())],
    );
    assert!(said.code == Some(1) && said.err.contains("cannot execute"), "{said:?}");
    assert!(said.err.contains("generate failed") && said.err.contains("PILLORY_BIN=FILE"), "{said:?}");
    assert!(!to.exists(), "nothing was installed");
}

#[test]
fn zsh_finds_its_completions_below_each_prefix() {
    let place = Place::new("zsh");
    let debian =
        if Path::new("/etc/debian_version").exists() { "vendor-completions" } else { "site-functions" };
    let program = binary().display().to_string();
    for (prefix, asked, wanted) in [
        ("/usr", "", debian),
        // Debian's zsh looks for what packages bring below /usr only.
        ("/usr/local", "", "site-functions"),
        ("/usr", "functions", "functions"),
    ] {
        let to = place.0.join(format!("{}-{asked}", prefix.replace('/', "_")));
        let to_text = to.display().to_string();
        let environment =
            [("PILLORY_BIN", &*program), ("PREFIX", prefix), ("DESTDIR", &to_text), ("ZSH_FUNCTIONS", asked)];
        let said = script(Path::new(ROOT), "install", &environment);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(
            to.join(format!("{}/share/zsh/{wanted}/_pillory", &prefix[1..])).exists(),
            "{prefix} {asked}"
        );
    }
}

#[test]
fn what_was_asked_for_is_still_known_once_the_script_is_root() {
    if !need(&["setpriv"]) {
        return;
    }
    let place = Place::new("sudo");
    for name in ["scripts", "packaging"] {
        let copied = Command::new("cp").arg("-r").arg(Path::new(ROOT).join(name)).arg(&place.0).status();
        assert!(copied.expect("cp starts").success());
    }
    // In the place of sudo: what it is given.
    place.write("scripts/as-root.sh", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "scripts/install.sh", "install"]);
    command.current_dir(&place.0).env("ZSH_FUNCTIONS", "functions").env("PREFIX", "/usr/local");
    let said: Answer = command.env("PILLORY_BIN", "/bin/true").output().expect("setpriv starts").into();
    let words: Vec<&str> = said.out.lines().collect();
    for word in ["ZSH_FUNCTIONS=functions", "PREFIX=/usr/local", "PILLORY_BIN=/bin/true"] {
        assert!(words.contains(&word), "{word}: {said:?}");
    }
}

#[test]
fn uninstall_leaves_all_while_a_daemon_runs_that_is_no_service_and_says_how_to_end_it() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", BANNED]).code, Some(0));
    server.run("mkdir", &["-p", "/run/usr/bin"]);
    server.run("ln", &["-s", &binary().display().to_string(), "/run/usr/bin/pillory"]);
    let uninstall = || -> Answer {
        let mut command = server.command("sh");
        command.args([&format!("{ROOT}/scripts/install.sh"), "uninstall"]).env("PREFIX", "/run/usr");
        command.output().expect("nsenter starts").into()
    };
    let said = uninstall();
    let cure = format!("End it (kill {})", daemon.pid());
    assert!(said.code == Some(1) && said.err.contains("no file was removed"), "{said:?}");
    assert!(said.err.contains(&cure), "{cure}: {said:?}");
    assert!(server.path("/run/usr/bin/pillory").exists() && is_banned(&world));
    assert_eq!(daemon.ask(&["status"]).code, Some(0));
    daemon.stop();
    let said = uninstall();
    assert!(said.code == Some(0) && said.out.contains("kept: /var/lib/pillory"), "{said:?}");
    assert!(!server.path("/run/usr").exists() && !server.path(CONTROL).exists() && !is_banned(&world));
}

#[test]
fn in_a_chroot_uninstall_takes_nothing_out_of_the_kernel_which_is_another_hosts() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", BANNED]).code, Some(0));
    daemon.stop();
    assert!(is_banned(&world), "bans stay when the daemon ends");
    // A root with what the script needs, and a process 1 with another.
    let script = "set -eu
        mkdir -p /run/root/usr /run/root/project /run/root/proc /run/root/run/prefix/bin /run/root/etc /run/root/dev
        mount --bind /usr /run/root/usr
        for name in bin lib lib64 sbin; do ln -s usr/$name /run/root/$name; done
        mount --bind \"$1\" /run/root/project
        install -m 755 /dev/null /run/root/run/prefix/bin/pillory
        exec unshare --pid --fork sh -euc '
            mount -t proc proc /run/root/proc
            chroot /run/root sh /project/scripts/install.sh uninstall
            exit'";
    let mut command = server.command("sh");
    let project = Path::new(ROOT).canonicalize().expect("it is there").display().to_string();
    command.args(["-c", script, "sh", &project]).env("PREFIX", "/run/prefix");
    let said: Answer = command.output().expect("nsenter starts").into();
    assert!(said.code == Some(0) && said.out.contains("this is a chroot"), "{said:?}");
    assert!(!server.path("/run/root/run/prefix").exists() && is_banned(&world));
}
