//! Drills: somebody without rights plants links where we write. None is followed, and what they lead to stays as it is.

use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::PathBuf;

use rustix::process::Signal;

use crate::lab::{
    Answer, CONFIG, CONTROL, Daemon, DaemonOptions, Host, PASSWORD, Place, SOON, STATE_DIR, Scene, binary,
    failed_lines, need, pillory, quiet_server, wait_until,
};

const LOG: &str = "/var/log/auth.log";
const FROM: &str = "198.51.100.7";
/// Alice of the lab, who has no rights.
const ALICE: Option<u32> = Some(1001);
/// What a link leads to: something precious, and something that must not come into being.
const PRECIOUS: &str = "/etc/precious";
const NOTHING: &str = "/etc/nothing";

/// A directory that is alice's.
fn give(server: &Host, directory: &str, mode: u32) {
    let path = server.path(directory);
    std::fs::create_dir_all(&path).expect("it is made");
    lchown(&path, ALICE, ALICE).expect("it is hers");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode is set");
    server.write(PRECIOUS, "precious\n");
}

/// A link of alice's.
fn plant(server: &Host, at: &str, to: &str) {
    let at = server.path(at);
    // Whatever had this name was in a directory of hers.
    drop(std::fs::remove_file(&at));
    symlink(to, &at).expect("it is planted");
    lchown(at, ALICE, ALICE).expect("it is hers");
}

#[track_caller]
fn assert_untouched(server: &Host) {
    assert_eq!(server.read(PRECIOUS), "precious\n");
    let mode = std::fs::metadata(server.path(PRECIOUS)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(!server.path(NOTHING).exists());
}

/// Starts a daemon that has to refuse; returns its exit code and what it said.
#[track_caller]
fn refused(server: &Host) -> (Option<i32>, String) {
    let mut running =
        Daemon::spawn(server, &DaemonOptions { config: Some(String::new()), ..DaemonOptions::default() });
    let code = running.wait(SOON);
    (code, running.errors())
}

#[test]
fn a_state_directory_that_everybody_can_write_to_is_refused() {
    let Some((_world, server)) = quiet_server() else { return };
    for mode in [0o1777, 0o777] {
        std::fs::set_permissions(server.path(STATE_DIR), PermissionsExt::from_mode(mode)).expect("it is set");
        let (code, said) = refused(&server);
        assert!(
            code.is_some_and(|code| code != 0) && said.contains("everybody can write"),
            "{code:?}: {said}"
        );
        assert!(!server.path(format!("{STATE_DIR}/pillory.db")).exists());
    }
}

#[test]
fn links_in_a_state_directory_of_somebody_else_are_not_followed() {
    let Some((_world, server)) = quiet_server() else { return };
    for to in [PRECIOUS, NOTHING] {
        for name in ["pillory.db", "pillory.db-wal", "pillory.db-shm", "lock"] {
            std::fs::remove_dir_all(server.path(STATE_DIR)).expect("it is removed");
            give(&server, STATE_DIR, 0o755);
            plant(&server, &format!("{STATE_DIR}/{name}"), to);
            if matches!(name, "pillory.db" | "lock") {
                let (code, said) = refused(&server);
                let is_told = said.contains(&format!("{STATE_DIR}/{name}"));
                assert!(code.is_some_and(|code| code != 0) && is_told, "{name}: {code:?}: {said}");
            } else {
                // SQLite's own files: it takes such a link away, or refuses.
                let mut running = Daemon::spawn(&server, &DaemonOptions::default());
                let ended = wait_until(SOON, || {
                    (running.errors().contains("\nready") || !running.is_running()).then_some(())
                });
                assert!(ended.is_some(), "{name}: {}", running.errors());
                running.signal(Signal::TERM);
                running.wait(SOON);
            }
            assert_untouched(&server);
        }
    }
}

#[test]
fn links_at_the_control_socket_are_not_followed() {
    let Some((_world, server)) = quiet_server() else { return };
    give(&server, "/run/pillory", 0o777);
    for to in [PRECIOUS, NOTHING] {
        plant(&server, CONTROL, to);
        let (code, said) = refused(&server);
        assert!(code.is_some_and(|code| code != 0) && said.contains(CONTROL), "{code:?}: {said}");
        assert_untouched(&server);
    }
}

#[test]
fn links_at_what_the_disk_does_not_take_are_not_followed() {
    let Some((world, server)) = quiet_server() else { return };
    server.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "full", STATE_DIR]);
    give(&server, "/run/pillory", 0o777);
    let spill = format!("{CONTROL}.unwritten");
    for (pid, to) in [(5000, PRECIOUS), (5100, NOTHING)] {
        let addr = format!("198.51.100.{}", pid / 100);
        plant(&server, &spill, to);
        let daemon = Daemon::start(&server, "");
        let filler = server.path(format!("{STATE_DIR}/filler"));
        let mut file = std::fs::File::create(&filler).expect("it opens");
        while std::io::Write::write_all(&mut file, &[b'x'; 4096]).is_ok() {}
        server.append(LOG, failed_lines(pid, 3, "root", &addr));
        daemon.wait_for(SOON, "the ban", || world.kernel().holds("ban4", &addr).then_some(()));
        daemon.wait_for(SOON, "a file of our own", || {
            std::fs::symlink_metadata(server.path(&spill)).is_ok_and(|status| status.is_file()).then_some(())
        });
        assert_untouched(&server);
        daemon.kill();
        std::fs::remove_file(filler).expect("it is removed");
        let daemon = Daemon::start(&server, "");
        assert!(daemon.lists(&format!("{addr}/32")));
        daemon.stop();
    }
}

#[test]
fn links_beside_a_configuration_are_not_followed_when_it_is_confirmed() {
    const NEW: &str = "maxretry = 9\n";
    let Some(scene) = Scene::new("maxretry = 7\n") else { return };
    let server = &scene.world.server;
    give(server, "/etc/pillory", 0o777);
    for suffix in [".new", ".before"] {
        plant(server, &format!("{CONFIG}{suffix}"), if suffix == ".new" { NOTHING } else { PRECIOUS });
    }
    server.write("/run/new.toml", NEW);
    assert_eq!(scene.daemon.ask(&["apply", "/run/new.toml", "--confirm", "60"]).code, Some(0));
    let confirm = format!("{} confirm", binary().display());
    let confirmed: Answer = scene.world.friend("203.0.113.9").run("root", PASSWORD, &confirm);
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");
    assert_untouched(server);
    assert_eq!(server.read(CONFIG), NEW);
    assert!(server.read(format!("{CONFIG}.before")).ends_with("maxretry = 7\n"));
}

#[test]
fn links_at_the_files_that_commands_write_are_not_followed() {
    if !need(&[]) {
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    // As /tmp is.
    give(&server, "/run/shared", 0o1777);
    let out = "/run/shared/curve.svg";
    for to in [PRECIOUS, NOTHING] {
        for name in [out.to_owned(), format!("{out}.new")] {
            plant(&server, &name, to);
            let drawn = pillory(&server, &["rehearse", "--svg", out, LOG]);
            assert_eq!(drawn.code, Some(0), "{drawn:?}");
            assert_untouched(&server);
            assert!(server.read(out).starts_with("<svg "));
        }
    }
    // A hard link, which the kernel lets nobody make to a file of somebody else's by default.
    let link = server.path(out);
    std::fs::remove_file(&link).expect("it is removed");
    server.write("/run/shared/precious", "precious\n");
    std::fs::hard_link(server.path("/run/shared/precious"), &link).expect("it is linked");
    assert_eq!(pillory(&server, &["rehearse", "--svg", out, LOG]).code, Some(0));
    assert_eq!(server.read("/run/shared/precious"), "precious\n");
    // Where nobody else can plant anything a link is somebody's wish.
    let drawn = pillory(&server, &["rehearse", "--svg", "/dev/stdout", LOG]);
    assert!(drawn.code == Some(0) && drawn.out.contains("<svg "), "{drawn:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_not_followed_by_import() {
    let place = Place::new("planted");
    let directory = place.0.join("fail2ban");
    std::fs::create_dir_all(&directory).expect("it is made");
    place.write(
        "fail2ban/jail.local",
        "[sshd]\nenabled = true\nlogpath = /var/log/auth.log\nbackend = polling\n",
    );
    let (out, nothing): (PathBuf, PathBuf) = (place.0.join("pillory.toml"), place.0.join("nothing"));
    symlink(&nothing, &out).expect("it is planted");
    let args =
        ["import", "--fail2ban", &directory.display().to_string(), "--out", &out.display().to_string()];
    let answer = place.offline(&args);
    assert!(answer.code != Some(0) && answer.err.contains("cannot write"), "{answer:?}");
    assert!(!nothing.exists());
}
