//! What the daemon warns of by itself, as the user meets it: in `status` while it lasts, in the log once, in the file of
//! `motd`.

use std::time::Duration;

use crate::lab::{
    Answer, CONFIG, Daemon, LOG, Logging, SOON, VOLATILE_JOURNAL, World, binary, failed_lines, find, pillory,
    quiet_server,
};
use crate::learning::edit_store;
use crate::meddling::{fill, rename};

/// Some things are looked at once a minute.
const MINUTE: Duration = Duration::from_secs(100);

fn warnings(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    let all = status["warnings"].as_array().expect("a list").iter();
    all.filter_map(|warning| warning.as_str().map(str::to_owned)).collect()
}

/// The warning that has this text, once there is one.
#[track_caller]
fn warned(daemon: &Daemon, patience: Duration, text: &str) -> String {
    daemon.wait_for(patience, text, || warnings(daemon).into_iter().find(|warning| warning.contains(text)))
}

#[track_caller]
fn said_once(daemon: &Daemon, text: &str) {
    daemon.wait_for(SOON, "the line in the log", || daemon.errors().contains(text).then_some(()));
    assert_eq!(daemon.errors().matches(text).count(), 1, "{}", daemon.errors());
}

#[test]
fn a_file_system_with_logs_that_is_nearly_full_is_told_with_the_largest_log_and_the_stanza() {
    let Some((_world, server)) = quiet_server() else { return };
    server.run("mkdir", &["-p", "/var/log/app"]);
    server.run("mount", &["-t", "tmpfs", "-o", "size=4m,mode=755", "disk", "/var/log/app"]);
    server.write("/var/log/app/app.log-20240102", vec![b'x'; 400_000]);
    let filler = fill(&server, "/var/log/app");
    rename(&server, "/var/log/app/filler", "/var/log/app/app.log");
    let config = "[jail.app]\nlogpath = \"/var/log/app/app.log\"\nfailregex = ['^failed from <HOST>$']\n";
    let daemon = Daemon::start(&server, config);
    let warning = warned(&daemon, SOON * 3, "/var/log/app is nearly full");
    assert!(warning.contains(": app.log 4 MB, largest rotated log app.log-20240102 40"), "{warning}");
    let stanza = warning.split('`').nth(1).expect("a command");
    assert!(stanza.ends_with("> /etc/logrotate.d/app.log"), "{warning}");
    said_once(&daemon, "/var/log/app is nearly full");
    // The cure is one that a shell takes, and is seen.
    server.run("mkdir", &["-p", "/etc/logrotate.d"]);
    server.run("sh", &["-c", stanza]);
    let written = server.read("/etc/logrotate.d/app.log");
    assert_eq!(
        written,
        "/var/log/app/app.log {\n  weekly\n  rotate 4\n  maxsize 100M\n  compress\n  missingok\n  copytruncate\n}\n"
    );
    filler.set_len(0).expect("there is room again");
    let is_over = || (!warnings(&daemon).iter().any(|warning| warning.contains("nearly full"))).then_some(());
    daemon.wait_for(MINUTE, "the end of the warning", is_over);
    said_once(&daemon, "a warning is over");
}

#[test]
fn another_tool_that_bans_is_told_by_the_daemon_and_once_by_doctor() {
    let Some((world, server)) = quiet_server() else { return };
    world.kernel().nft("add table inet f2b-table; add chain inet f2b-table f2b-chain");
    let daemon = Daemon::start(&server, "");
    let warning = warned(&daemon, SOON, "the kernel holds what bans for fail2ban (nft table inet f2b-table");
    assert!(warning.contains("`nft delete table inet f2b-table`"), "{warning}");
    said_once(&daemon, "the kernel holds what bans for fail2ban");
    let doctor = pillory(&server, &["doctor"]).out;
    assert_eq!(doctor.matches("the kernel holds what bans for fail2ban").count(), 1, "{doctor}");
    assert!(!warnings(&daemon).iter().any(|warning| warning.contains("seems to ban here too")));
}

#[test]
fn the_file_of_motd_has_the_warnings_while_there_are_some_and_goes_with_the_daemon() {
    let Some((world, server)) = quiet_server() else { return };
    let motd = "/run/pillory/motd";
    let daemon = Daemon::start(&server, &format!("motd = \"{motd}\"\n"));
    assert_eq!(daemon.ask(&["ban", "203.0.113.5"]).code, Some(0));
    assert!(!server.path(motd).exists(), "nothing is wrong");
    let shows = |text: &'static str| {
        // Any command wakes the engine, which looks every few seconds.
        daemon.wait_for(SOON * 2, text, || {
            daemon.status();
            server.read(motd).contains(text).then_some(())
        });
    };
    daemon.ask(&["off"]);
    shows("pillory: switched off: nothing is enforced; `pillory on` switches on\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(server.path(motd)).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o644, "everybody who logs in reads it");
    daemon.ask(&["on"]);
    daemon.wait_for(SOON * 2, "the end of the file", || {
        daemon.status();
        (!server.path(motd).exists()).then_some(())
    });
    daemon.ask(&["off"]);
    shows("switched off");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(!server.path(motd).exists());
    drop(world);
}

#[test]
fn a_file_of_motd_that_cannot_be_written_is_a_warning() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "motd = \"/run/nowhere/motd\"\n");
    daemon.ask(&["off"]);
    daemon.wait_for(SOON * 2, "a warning", || {
        let text = "cannot write the warnings for who logs in to /run/nowhere/motd";
        warnings(&daemon).iter().any(|warning| warning.contains(text)).then_some(())
    });
}

#[test]
fn a_filter_that_matches_nothing_and_bans_without_effect_are_told_once() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/var/log/app.log", "");
    let config =
        "[jail.app]\nlogpath = \"/var/log/app.log\"\nfailregex = ['^app: wrong password from <HOST>$']\n";
    let daemon = Daemon::start(&server, config);
    server.append("/var/log/app.log", "app: login failed for alice from 192.0.2.7\n".repeat(25));
    server.append(LOG, failed_lines(5000, 5, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    let text = "jail app: its filter has matched nothing since the start, but of 25 lines looked at 25 look like failures";
    let warning = warned(&daemon, MINUTE, text);
    // The cure is a command that works.
    let cure = warning.split('`').nth(1).expect("a command");
    let words: Vec<&str> = cure.split(' ').collect();
    assert_eq!(words[..4], ["pillory", "test-filter", "--jail", "app"], "{warning}");
    let answer = pillory(&server, &words[1..]);
    assert!(answer.code == Some(1) && answer.out.contains("25 misses"), "{cure}: {answer:?}");
    said_once(&daemon, text);
    // Half a minute after the ban is over by now: what comes, comes through.
    server.append(LOG, failed_lines(6000, 7, "root", "198.51.100.7"));
    let text = "jail sshd: the ban of 198.51.100.7 has no effect: attempts still come";
    warned(&daemon, SOON, text);
    said_once(&daemon, text);
    server.append("/var/log/app.log", "app: wrong password from 192.0.2.7\n");
    let is_over = || (!warnings(&daemon).iter().any(|warning| warning.contains("jail app"))).then_some(());
    daemon.wait_for(MINUTE, "the end of the warning", is_over);
    assert!(warnings(&daemon).iter().any(|warning| warning.contains("has no effect")), "it lasts an hour");
}

#[test]
fn a_log_that_has_gone_silent_is_told_after_a_restart_and_a_reload_too() {
    let Some((_world, server)) = quiet_server() else { return };
    Daemon::start(&server, "").kill();
    // For two days it had a line each minute, and has had none for more than six hours.
    let kept = r#"{"file:/var/log/auth.log":{"known":4000,"silence":400,"longest":1}}"#;
    edit_store(&server, |store| {
        store.execute("INSERT OR REPLACE INTO meta VALUES ('rhythms', ?1)", [kept]).map(drop)
    });
    let daemon = Daemon::start(&server, "");
    let text = "jail sshd: /var/log/auth.log has had no line for 6h";
    warned(&daemon, MINUTE, text);
    // Another jail comes before this one.
    server.write("/var/log/app.log", "");
    let config =
        "[jail.app]\nlogpath = \"/var/log/app.log\"\nfailregex = ['^app: wrong password from <HOST>$']\n";
    server.write(CONFIG, config);
    let reloaded = daemon.ask(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    server.append("/var/log/app.log", "app: login failed for alice from 192.0.2.7\n".repeat(25));
    // Both are looked at in the same minute.
    warned(&daemon, MINUTE, "jail app: its filter has matched nothing");
    assert!(warnings(&daemon).iter().any(|warning| warning.contains(text)), "{:?}", warnings(&daemon));
    said_once(&daemon, text);
    server.append(LOG, failed_lines(5000, 1, "root", "198.51.100.7"));
    let is_over = || (!warnings(&daemon).iter().any(|warning| warning.contains(text))).then_some(());
    daemon.wait_for(MINUTE, "the end of the warning", is_over);
}

#[test]
fn the_cure_of_a_filter_that_matches_nothing_in_the_journal_reads_the_journal() {
    let Some(world) = World::with(Logging::Journald.needs()) else { return };
    let (server, syslog) = (&world.server, Logging::Journald.start(&world.server));
    let config = "[jail.app]\nbackend = \"journal\"\njournalmatch = \"SYSLOG_IDENTIFIER=sshd\"\n\
        failregex = ['^app: wrong password from <HOST>$']\n[jail.sshd]\nenabled = false\n";
    let daemon = Daemon::start(server, config);
    for pid in 5000..5025 {
        syslog.log(pid, "login failed for alice from 192.0.2.7");
    }
    let warning = warned(&daemon, MINUTE, "jail app: its filter has matched nothing");
    let cure = warning.split('`').nth(1).expect("a command");
    assert_eq!(cure, "journalctl -n 1000 SYSLOG_IDENTIFIER=sshd | pillory test-filter --jail app -");
    let (program, journalctl) = (binary(), find("journalctl").expect("it is needed").path);
    // Of this host, whose files are not where its id says.
    let script = format!(
        "journalctl() {{ {} -q -D {VOLATILE_JOURNAL} \"$@\"; }}; pillory() {{ {} \"$@\"; }}; {cure}",
        journalctl.display(),
        program.display()
    );
    let answer: Answer = server.command("sh").args(["-c", &script]).output().expect("sh starts").into();
    assert!(answer.code == Some(1) && answer.out.contains("25 misses"), "{answer:?}");
}
