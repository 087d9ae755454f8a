//! The journal as a source, with a real journald: nothing lost, nothing twice, nothing forged.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::{
    Daemon, Host, Logging, PERSISTENT_JOURNAL, Running, SOON, Scene, SceneOptions, Syslog, VOLATILE_JOURNAL,
    World, find, need, pillory, wait_for,
};

const ATTACKER: &str = "198.51.100.7";
/// Nobody is banned, everything is counted.
const COUNT_ONLY: &str = "maxretry = 1000\n[jail.sshd]\nbackend = \"journal\"\n";

/// A program that says line by line what it is given, through syslog, as `sshd`.
struct Speaker {
    child: Child,
    input: ChildStdin,
}

impl Speaker {
    /// A program of this name, run by this user: journald sees both. `None` if there is no logger(1) to rename.
    fn start(host: &Host, name: &str, uid: u32) -> Speaker {
        let inside = format!("/run/speaker/{uid}/{name}");
        let logger = find("logger").expect("logger is here").path;
        // By another process: a program that this one has open for writing, or a child of another test's for a
        // moment, cannot be started.
        host.run("install", &["-D", "-m", "755", &logger.display().to_string(), &inside]);
        let mut command = host.command("setpriv");
        command.args([&format!("--reuid={uid}"), "--clear-groups", "--"]).arg(&inside);
        command.args(["-t", "sshd", "-p", "authpriv.info"]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let input = child.stdin.take().expect("standard input is piped");
        // Until its name is its own it is not sshd.
        wait_for(SOON, "the speaker to be itself", || {
            let comm = std::fs::read_to_string(format!("/proc/{}/comm", child.id())).ok()?;
            (comm.trim() == name).then_some(())
        });
        Speaker { child, input }
    }

    fn say(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).expect("it listens");
    }

    /// `count` wrong passwords of bob, from `addr`, ports from `port` on.
    fn fail(&mut self, addr: &str, port: u32, count: u32) {
        for port in port..port + count {
            self.say(&format!("Failed password for bob from {addr} port {port} ssh2"));
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with a journald that only speakers speak to.
fn spoken(logging: Logging) -> Option<(World, Syslog)> {
    if !need(&["logger", "setpriv"]) {
        return None;
    }
    let world = World::with(logging.needs())?;
    let syslog = logging.start(&world.server);
    Some((world, syslog))
}

/// The jail's count of attempts by the attacker becomes `count`.
#[track_caller]
fn wait_counted(daemon: &Daemon, count: u64) {
    daemon.wait_for(SOON, &format!("{count} attempts"), || {
        (daemon.attempts_of(ATTACKER) >= count).then_some(())
    });
}

/// And it is no more: what is said after everything else has been counted.
#[track_caller]
fn check_counted(daemon: &Daemon, speaker: &mut Speaker, count: u64) {
    let last = "198.51.100.99";
    let before = daemon.attempts_of(last);
    speaker.fail(last, 60_000 + before as u32, 1);
    daemon.wait_for(SOON, "the last line", || (daemon.attempts_of(last) > before).then_some(()));
    assert_eq!(daemon.attempts_of(ATTACKER), count);
}

/// journald has written everything that was said so far.
#[track_caller]
fn wait_written(syslog: &Syslog, text: &str) {
    wait_for(SOON, &format!("{text} in the journal"), || syslog.text().contains(text).then_some(()));
}

#[track_caller]
fn rotate(host: &Host, syslog: &Syslog, directory: &str) {
    let count = || {
        let machines = std::fs::read_dir(host.path(directory)).into_iter().flatten().flatten();
        machines.flat_map(|machine| std::fs::read_dir(machine.path()).into_iter().flatten()).count()
    };
    let before = count();
    let pid = syslog.pid().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)).expect("journald runs");
    rustix::process::kill_process(pid, Signal::USR2).expect("journald takes a signal");
    wait_for(SOON, "journald to rotate", || (count() > before).then_some(()));
}

#[test]
fn every_line_of_a_real_sshd_is_counted_once_even_if_journald_came_too_late_to_see_its_process() {
    let options = SceneOptions {
        logging: Logging::Journald,
        use_pam: false,
        sshd: Vec::new(),
        config: "maxretry = 1000\n".into(),
    };
    let Some(scene) = Scene::with(&options) else { return };
    let addrs: Vec<String> = (0..4).map(|last| format!("198.51.100.{}", 10 + last)).collect();
    // All at once: journald falls behind, and processes of sshd are gone before it looks at them.
    std::thread::scope(|scope| {
        for addr in &addrs {
            let attacker = scene.world.attacker(addr);
            scope.spawn(move || (0..8).for_each(|_| drop(attacker.try_password("root", "wrong"))));
        }
    });
    scene.settle();
    for addr in &addrs {
        assert_eq!(scene.daemon.attempts_of(addr), 8, "{addr}:\n{}", scene.syslog.text());
    }
}

fn rotation(logging: Logging, directory: &str) {
    let Some((world, syslog)) = spoken(logging) else { return };
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    for round in 0..4 {
        // Some before, some while, some after.
        speaker.fail(ATTACKER, 1000 + round * 100, 30);
        rotate(&world.server, &syslog, directory);
        speaker.fail(ATTACKER, 1050 + round * 100, 20);
    }
    wait_counted(&daemon, 200);
    check_counted(&daemon, &mut speaker, 200);
}

#[test]
fn rotation_loses_no_line_of_a_journal_in_memory() {
    rotation(Logging::Journald, VOLATILE_JOURNAL);
}

#[test]
fn rotation_loses_no_line_of_a_journal_on_disk() {
    rotation(Logging::JournaldPersistent, PERSISTENT_JOURNAL);
}

/// A journal on disk of which five failures have been counted.
fn five_counted() -> Option<(World, Syslog, Speaker, Daemon)> {
    let (world, syslog) = spoken(Logging::JournaldPersistent)?;
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    speaker.fail(ATTACKER, 1000, 5);
    wait_counted(&daemon, 5);
    Some((world, syslog, speaker, daemon))
}

#[test]
fn what_was_written_and_rotated_while_the_daemon_was_down_is_counted_once() {
    let Some((world, syslog, mut speaker, daemon)) = five_counted() else { return };
    daemon.stop();
    speaker.fail(ATTACKER, 2000, 5);
    rotate(&world.server, &syslog, PERSISTENT_JOURNAL);
    speaker.fail(ATTACKER, 3000, 5);
    rotate(&world.server, &syslog, PERSISTENT_JOURNAL);
    speaker.fail(ATTACKER, 4000, 5);
    wait_written(&syslog, "port 4004 ");
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    // Ready means that all of it has been judged.
    assert_eq!(daemon.attempts_of(ATTACKER), 20);
    check_counted(&daemon, &mut speaker, 20);
}

#[test]
fn kill_9_at_any_moment_loses_and_repeats_nothing() {
    let Some((world, syslog)) = spoken(Logging::Journald) else { return };
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    let mut daemon = Daemon::start(&world.server, COUNT_ONLY);
    for round in 0..4 {
        speaker.fail(ATTACKER, 1000 + round * 100, 40);
        let seen = u64::from(round) * 40 + 1 + u64::from(round) * 7;
        daemon.wait_for(SOON, "some of them", || (daemon.attempts_of(ATTACKER) >= seen).then_some(()));
        daemon.kill();
        wait_written(&syslog, &format!("port {} ", 1039 + round * 100));
        daemon = Daemon::start(&world.server, COUNT_ONLY);
    }
    wait_counted(&daemon, 160);
    check_counted(&daemon, &mut speaker, 160);
}

#[test]
fn vacuuming_away_what_was_read_last_loses_nothing_that_is_left() {
    let Some((world, syslog, mut speaker, daemon)) = five_counted() else { return };
    daemon.stop();
    rotate(&world.server, &syslog, PERSISTENT_JOURNAL);
    world.server.run("journalctl", &["-D", PERSISTENT_JOURNAL, "--vacuum-size=1", "-q"]);
    assert!(!syslog.text().contains("port 1004 "), "it is gone");
    speaker.fail(ATTACKER, 2000, 5);
    wait_written(&syslog, "port 2004 ");
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    assert_eq!(daemon.attempts_of(ATTACKER), 10);
    check_counted(&daemon, &mut speaker, 10);
}

#[test]
fn a_journald_that_was_killed_and_starts_again_is_followed() {
    let Some((world, syslog, speaker, daemon)) = five_counted() else { return };
    drop((speaker, syslog));
    // Its socket stays behind; the next one is not to be taken for listening before it does.
    for left in ["/dev/log", "/run/systemd/journal/dev-log"] {
        std::fs::remove_file(world.server.path(left)).expect("it was there");
    }
    let _syslog = Logging::JournaldPersistent.start(&world.server);
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    speaker.fail(ATTACKER, 2000, 5);
    wait_counted(&daemon, 10);
    check_counted(&daemon, &mut speaker, 10);
}

/// A journald that begins in memory and moves to the disk when told, as at boot; lines of before are copied.
fn flushed(while_down: bool) {
    let Some((world, syslog)) = spoken(Logging::JournaldPersistent) else { return };
    let host = &world.server;
    drop(syslog);
    std::fs::remove_file(host.path("/run/systemd/journal/flushed")).expect("it was there");
    std::fs::remove_file(host.path("/run/systemd/journal/dev-log")).expect("it was there");
    let journald = Running::start("journald", host.command("systemd-journald"));
    wait_for(SOON, "journald", || host.path("/run/systemd/journal/dev-log").exists().then_some(()));
    let daemon = Daemon::start(host, COUNT_ONLY);
    let mut speaker = Speaker::start(host, "sshd", 0);
    speaker.fail(ATTACKER, 1000, 5);
    wait_counted(&daemon, 5);
    let machine = "0123456789abcdef0123456789abcdef";
    assert!(host.path(format!("{VOLATILE_JOURNAL}/{machine}/system.journal")).exists());
    let daemon = if while_down {
        drop(daemon.stop());
        None
    } else {
        Some(daemon)
    };
    journald.signal(Signal::USR1);
    wait_for(SOON, "the journal to move", || {
        (!host.path(format!("{VOLATILE_JOURNAL}/{machine}/system.journal")).exists()).then_some(())
    });
    speaker.fail(ATTACKER, 2000, 5);
    let daemon = daemon.unwrap_or_else(|| Daemon::start(host, COUNT_ONLY));
    wait_counted(&daemon, 10);
    check_counted(&daemon, &mut speaker, 10);
}

#[test]
fn lines_that_journald_copies_from_memory_to_disk_count_once() {
    flushed(false);
}

#[test]
fn lines_that_journald_copied_while_the_daemon_was_down_count_once() {
    flushed(true);
}

#[test]
fn what_others_say_in_the_name_of_sshd_does_not_count() {
    let Some((world, syslog)) = spoken(Logging::Journald) else { return };
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    // Another user's program of that name, root's program of another name.
    let mut user = Speaker::start(&world.server, "sshd", 65534);
    user.fail(ATTACKER, 1000, 5);
    let mut other = Speaker::start(&world.server, "backup", 0);
    other.fail(ATTACKER, 2000, 5);
    syslog.log(4711, &format!("Failed password for bob from {ATTACKER} port 3000 ssh2"));
    // One whose process ends at once, so that journald knows its user only.
    let short = format!("Failed password for bob from {ATTACKER} port 4000 ssh2");
    for _ in 0..20 {
        world
            .server
            .run("setpriv", &["--reuid=65534", "--clear-groups", "--", "logger", "-t", "sshd", &short]);
    }
    for text in ["port 1004 ", "port 2004 ", "port 3000 ", "port 4000 "] {
        wait_written(&syslog, text);
    }
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    check_counted(&daemon, &mut speaker, 0);
    speaker.fail(ATTACKER, 5000, 1);
    wait_counted(&daemon, 1);
}

#[test]
fn a_long_message_that_journald_packs_is_read() {
    let Some((world, _syslog)) = spoken(Logging::Journald) else { return };
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    let mut speaker = Speaker::start(&world.server, "sshd", 0);
    // logger cuts at 1 KiB.
    let name = "a".repeat(700);
    speaker.say(&format!("Failed password for invalid user {name} from {ATTACKER} port 1000 ssh2"));
    wait_counted(&daemon, 1);
    // And without a daemon, in a directory of directories.
    let found = pillory(&world.server, &["scan", "--json", VOLATILE_JOURNAL]).json();
    assert_eq!(
        (&found["failures"], &found["offenders"][0]["prefix"]),
        (&1.into(), &format!("{ATTACKER}/32").into())
    );
    let rehearsed = pillory(&world.server, &["rehearse", "--json"]).json();
    assert_eq!((&rehearsed["attempts"], &rehearsed["jails"][0]["name"]), (&1.into(), &"sshd".into()));
    let said = pillory(&world.server, &["doctor"]);
    assert!(
        said.out.contains("logged to the journal") || said.out.contains("logs to the journal"),
        "{said:?}"
    );
}

#[test]
fn damaged_files_beside_the_journal_are_left_out_and_said() {
    let Some((world, syslog)) = spoken(Logging::Journald) else { return };
    let host = &world.server;
    let mut speaker = Speaker::start(host, "sshd", 0);
    speaker.fail(ATTACKER, 1000, 5);
    wait_written(&syslog, "port 1004 ");
    let directory = format!("{VOLATILE_JOURNAL}/0123456789abcdef0123456789abcdef");
    let mut whole = host.read_bytes(format!("{directory}/system.journal"));
    // Another file of the same sequence, whose entries are all gone.
    whole[24..40].fill(7);
    let half = 4096.min(whole.len());
    host.write(format!("{directory}/system@half.journal"), &whole[..half]);
    host.write(format!("{directory}/system@empty.journal"), "");
    host.write(format!("{directory}/system@garbage.journal"), "garbage ".repeat(1000));
    std::fs::create_dir(host.path(format!("{directory}/directory.journal"))).expect("made");
    let daemon = Daemon::start(host, COUNT_ONLY);
    assert!(daemon.errors().contains("system@garbage.journal"), "{}", daemon.errors());
    assert!(daemon.errors().contains("system@half.journal"), "{}", daemon.errors());
    speaker.fail(ATTACKER, 2000, 5);
    daemon.wait_for(SOON, "five lines", || (daemon.counted(ATTACKER).1 >= 5).then_some(()));
}

#[test]
fn without_a_journal_the_status_says_so_and_one_that_comes_is_read() {
    if !need(&["logger", "setpriv"]) {
        return;
    }
    let Some(world) = World::with(Logging::Journald.needs()) else { return };
    let host = &world.server;
    let daemon = Daemon::start(host, COUNT_ONLY);
    let status = daemon.status().to_string();
    assert!(status.contains("there is no journal in"), "{status}");
    let _syslog = Logging::Journald.start(host);
    let mut speaker = Speaker::start(host, "sshd", 0);
    speaker.fail(ATTACKER, 1000, 5);
    wait_counted(&daemon, 5);
    check_counted(&daemon, &mut speaker, 5);
    assert!(!daemon.status().to_string().contains("there is no journal in"));
}

#[test]
fn the_first_line_of_an_attack_is_seen_long_before_the_next_check() {
    let Some((world, _syslog)) = spoken(Logging::Journald) else { return };
    let host = &world.server;
    // Each address is a ban of its own, though they are neighbours.
    let config = "maxretry = 1\nwiden = false\n[jail.sshd]\nbackend = \"journal\"\n";
    let monitor = world.kernel().monitor();
    let mut speaker = Speaker::start(host, "sshd", 0);
    let mut number = 0;
    let mut one = |speaker: &mut Speaker, daemon: &Daemon| {
        number += 1;
        let addr = format!("203.0.113.{number}");
        let began = Instant::now();
        speaker.fail(&addr, 1000, 1);
        daemon.wait_for(SOON, "the ban", || monitor.heard(&format!("{{ {addr} "))).duration_since(began)
    };
    let (mut idle, mut hot) = (Vec::new(), Vec::new());
    for round in 0..5 {
        // A daemon that has just started has seen no line: it is idle. Each begins its rounds at another moment.
        let daemon = Daemon::start(host, config);
        std::thread::sleep(Duration::from_millis(37 * round));
        idle.push(one(&mut speaker, &daemon));
        for _ in 0..4 {
            hot.push(one(&mut speaker, &daemon));
        }
        daemon.stop();
    }
    idle.sort();
    hot.sort();
    println!("line to kernel, idle: {idle:?}");
    println!("line to kernel, under attack: {hot:?}");
    // Checks are 5 s apart. How fast it is otherwise, `make bench` says.
    assert!(idle[idle.len() / 2] < Duration::from_secs(2), "{idle:?}");
    assert!(hot[hot.len() / 2] < Duration::from_secs(2), "{hot:?}");
}

/// Makes the journal files in a directory older by so many seconds, as if they had been written then.
///
/// Source: systemd, `docs/JOURNAL_FILE_FORMAT.md`: objects follow each other at multiples of eight, of which the third kind
/// are entries, with their time at 24; the header has those of the first and the last at 184.
fn age(host: &Host, directory: &str, secs: u64) {
    let machines = std::fs::read_dir(host.path(directory)).expect("a directory").flatten();
    let files = machines.filter(|entry| entry.path().is_dir()).flat_map(|machine| {
        std::fs::read_dir(machine.path()).into_iter().flatten().flatten().map(|file| file.path())
    });
    for path in files.filter(|path| path.extension().is_some_and(|ext| ext == "journal")) {
        let mut bytes = std::fs::read(&path).expect("it can be read");
        let number =
            |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let older = |bytes: &mut [u8], at: usize| {
            let micros = number(bytes, at) - secs * 1_000_000;
            bytes[at..at + 8].copy_from_slice(&micros.to_le_bytes());
        };
        older(&mut bytes, 184);
        older(&mut bytes, 192);
        let mut at = number(&bytes, 88) as usize;
        while at + 64 <= bytes.len() && number(&bytes, at + 8) >= 16 {
            if bytes[at] == 3 {
                older(&mut bytes, at + 24);
            }
            at = (at + number(&bytes, at + 8) as usize).next_multiple_of(8);
        }
        std::fs::write(&path, bytes).expect("it can be written");
    }
}

#[test]
fn the_first_start_learns_from_a_journal_of_twenty_days_ago() {
    let Some((world, syslog)) = spoken(Logging::JournaldPersistent) else { return };
    let (owner, host) = ("198.51.100.20", world.server.clone());
    let mut speaker = Speaker::start(&host, "sshd", 0);
    speaker.say(&format!(
        "Accepted publickey for alice from {owner} port 50122 ssh2: ED25519 SHA256:DSJvGj3fuCTV"
    ));
    speaker.fail(ATTACKER, 1000, 1);
    wait_written(&syslog, "port 1000");
    drop((speaker, syslog));
    age(&host, PERSISTENT_JOURNAL, 20 * 86_400);
    // Another one, with a journal of its own.
    host.run("rm", &["-f", "/dev/log", "/run/systemd/journal/dev-log"]);
    let _syslog = Logging::JournaldPersistent.start(&host);
    let mut speaker = Speaker::start(&host, "sshd", 0);
    let daemon = Daemon::start(&host, "[jail.sshd]\nbackend = \"journal\"\n");
    let learnt = daemon.wait_for(SOON, "everything to be learnt", || {
        let learnt = daemon.status()["learnt"].clone();
        (learnt["done"] == true).then_some(learnt)
    });
    assert_eq!(
        (&learnt["logins"], &learnt["from"]),
        (&1.into(), &serde_json::json!(["journal"])),
        "{learnt}"
    );
    for (port, user) in (2000..).zip(["oracle", "admin", "test"]) {
        for (port, addr) in [(port, owner), (port + 100, ATTACKER)] {
            speaker.say(&format!("Failed password for invalid user {user} from {addr} port {port} ssh2"));
        }
    }
    daemon.wait_for(SOON, "the stranger to be banned", || {
        daemon.lists(&format!("{ATTACKER}/32")).then_some(())
    });
    daemon.wait_for(SOON, "the owner's tries", || (daemon.attempts_of(owner) >= 3).then_some(()));
    assert_eq!(daemon.list().len(), 1, "{:?}", daemon.list());
    assert_eq!(daemon.attempts_of(ATTACKER), 3, "a failure of twenty days ago is not read");
}
