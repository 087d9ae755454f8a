use std::io::Write;
use std::path::PathBuf;

use crossbeam_channel::{bounded, unbounded};
use pillory_core::config::{Backend, resolve};

use super::*;
use crate::sources::Wanted;

const DAY: i64 = 86_400;

struct Logs {
    directory: PathBuf,
    now: Timestamp,
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Logs {
    fn new(name: &str) -> Logs {
        let directory = std::env::temp_dir().join(format!("pillory-learn-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Logs { directory, now: clock::now() }
    }

    fn ago(&self, secs: i64) -> Timestamp {
        Timestamp::from_millis(self.now.millis() / 1000 * 1000 - secs * 1000)
    }

    fn line(&self, secs_ago: i64, message: &str) -> String {
        format!("{} web sshd[4711]: {message}\n", self.ago(secs_ago))
    }

    fn accepted(&self, secs_ago: i64, addr: &str) -> String {
        self.line(
            secs_ago,
            &format!("Accepted publickey for alice from {addr} port 50022 ssh2: ED25519 SHA256:abc"),
        )
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, secs_ago: i64) {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        let changed =
            std::time::UNIX_EPOCH + Duration::from_millis(self.ago(secs_ago).millis().unsigned_abs());
        std::fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
    }

    fn jail(&self) -> ActiveJail {
        let mut config =
            resolve::default_config().jails.into_iter().find(|jail| jail.name.as_str() == "sshd").unwrap();
        config.backend = Backend::File;
        let wanted = vec![Wanted::Lines(self.directory.join("auth.log").display().to_string())];
        ActiveJail { config, wanted, reads: String::new(), why: "" }
    }

    fn learner(&self, wtmp: Vec<Event>) -> Learner {
        Learner { jails: vec![self.jail()], wtmp, before: self.now, bounds: BOUNDS }
    }

    /// What a first start now learns.
    fn learn(&self, wtmp: Vec<Event>) -> (Vec<Event>, Report) {
        self.learn_with(self.learner(wtmp))
    }

    fn learn_with(&self, learner: Learner) -> (Vec<Event>, Report) {
        let (inputs, learnt) = unbounded();
        let (go, begun) = bounded(1);
        go.send(()).unwrap();
        learner.run(&begun, &inputs, &Wake::new().unwrap());
        let (mut logins, mut report) = (Vec::new(), None);
        for input in learnt.try_iter() {
            match input {
                Input::Learnt(Learnt::Logins(some)) => {
                    logins.extend(some.into_iter().map(|(_, login)| login))
                }
                Input::Learnt(Learnt::Done(done)) => report = Some(done),
                other => panic!("{other:?}"),
            }
        }
        (logins, report.expect("it came to its end"))
    }
}

fn addrs(logins: &[Event]) -> Vec<String> {
    logins.iter().map(|login| login.addr.to_string()).collect()
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn rotated_and_packed_logs_are_read_and_the_newest_first() {
    let logs = Logs::new("rotated");
    logs.write("auth.log.2.gz", packed(&logs.accepted(20 * DAY, "198.51.100.2")), 14 * DAY);
    logs.write("auth.log.1", logs.accepted(10 * DAY, "198.51.100.1"), 7 * DAY);
    let failed = logs.line(60, "Failed password for root from 203.0.113.9 port 1 ssh2");
    logs.write("auth.log", logs.accepted(DAY, "198.51.100.0") + &failed, 60);
    let (logins, report) = logs.learn(Vec::new());
    assert_eq!(addrs(&logins), ["198.51.100.0", "198.51.100.1", "198.51.100.2"]);
    assert_eq!(logins[2].stamp, Some(logs.ago(20 * DAY)));
    assert_eq!((report.from.join(", ").as_str(), report.left_out.len()), ("1 log, 2 rotated logs", 0));
}

#[test]
fn what_is_older_than_thirty_days_or_not_yet_is_no_login() {
    let logs = Logs::new("times");
    let text = logs.accepted(31 * DAY, "198.51.100.1")
        + &logs.accepted(-5, "198.51.100.2")
        + &logs.accepted(-400 * DAY, "198.51.100.3")
        + &logs.accepted(29 * DAY, "198.51.100.4");
    logs.write("auth.log", &text, 0);
    logs.write("auth.log.1", logs.accepted(DAY, "198.51.100.5"), 31 * DAY);
    let (logins, report) = logs.learn(Vec::new());
    assert_eq!(addrs(&logins), ["198.51.100.4"]);
    assert_eq!(report.from, ["1 log"], "a part that was not written to since is not opened");
}

#[test]
fn a_line_within_a_line_and_a_login_that_a_failure_claims_are_no_logins() {
    let logs = Logs::new("forged");
    let forged =
        "Invalid user Accepted publickey for alice from 198.51.100.1 port 1 ssh2 from 203.0.113.9 port 2";
    let named = "Failed password for alice from 198.51.100.1 port 1 ssh2: x from 203.0.113.9 port 3 ssh2";
    logs.write("auth.log", logs.line(60, forged) + &logs.line(50, named), 0);
    assert_eq!(addrs(&logs.learn(Vec::new()).0), Vec::<String>::new());
}

#[test]
fn a_part_that_others_could_have_put_there_teaches_nothing() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let logs = Logs::new("planted");
    logs.write("auth.log", "", 0);
    for (name, addr) in [("auth.log.1", "198.51.100.1"), ("auth.log.2", "198.51.100.2")] {
        logs.write(name, logs.accepted(DAY, addr), DAY);
    }
    let writable = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(logs.directory.join("auth.log.1"), writable.clone()).unwrap();
    // Only root can give files away.
    let is_root = chown(logs.directory.join("auth.log.2"), Some(65_534), None).is_ok();
    let expected: &[&str] = if is_root { &[] } else { &["198.51.100.2"] };
    assert_eq!(addrs(&logs.learn(Vec::new()).0), expected);
    // Whoever could write the log itself learns nothing new.
    std::fs::set_permissions(logs.directory.join("auth.log"), writable).unwrap();
    assert!(addrs(&logs.learn(Vec::new()).0).contains(&"198.51.100.1".to_owned()));
}

#[test]
fn wtmp_adds_what_no_log_tells_of() {
    let logs = Logs::new("wtmp");
    logs.write("auth.log", logs.accepted(DAY, "198.51.100.1"), 0);
    let session = |secs_ago: i64, addr: &str| Event {
        stamp: Some(logs.ago(secs_ago)),
        addr: addr.parse().unwrap(),
        user: Some("alice".into()),
        outcome: Outcome::Success,
        connection: None,
        forwarded: Vec::new(),
    };
    let (logins, report) =
        logs.learn(vec![session(DAY - 2, "198.51.100.1"), session(20 * DAY, "198.51.100.1")]);
    let stamps: Vec<Option<Timestamp>> = logins.iter().map(|login| login.stamp).collect();
    assert_eq!(stamps, [Some(logs.ago(DAY)), Some(logs.ago(20 * DAY))]);
    assert_eq!(report.from, ["wtmp", "1 log"]);
}

#[test]
fn of_a_long_log_the_end_is_read_and_the_rest_is_said() {
    let logs = Logs::new("long");
    let old = logs.accepted(3 * DAY, "198.51.100.3");
    let new = logs.accepted(2 * DAY, "198.51.100.2");
    logs.write("auth.log", old.clone() + &new, 0);
    logs.write("auth.log.1", logs.accepted(4 * DAY, "198.51.100.4"), 4 * DAY);
    let learner = logs.learner(Vec::new());
    let bounds = Bounds { bytes: new.len() as u64 + 5, ..BOUNDS };
    let (logins, report) = logs.learn_with(Learner { bounds, ..learner });
    assert_eq!(addrs(&logins), ["198.51.100.2"]);
    assert_eq!(report.left_out.len(), 2, "{report:?}");
    let (logins, report) = logs.learn(Vec::new());
    assert_eq!((logins.len(), report.left_out.len()), (3, 0));
    // What is packed has no end to begin at.
    let log = old + &new;
    logs.write("auth.log.1.gz", packed(&log), 0);
    let opened = past::open_last(&logs.directory.join("auth.log.1.gz"), 10).unwrap();
    assert!(opened.head == log.as_bytes() && !opened.is_cut);
}

#[test]
fn after_its_time_what_was_found_is_kept_and_the_rest_is_said() {
    let logs = Logs::new("slow");
    logs.write("auth.log", logs.accepted(DAY, "198.51.100.1"), 0);
    let bounds = Bounds { time: Duration::ZERO, ..BOUNDS };
    let (_, report) = logs.learn_with(Learner { bounds, ..logs.learner(Vec::new()) });
    assert!(report.left_out.iter().any(|left| left.starts_with("the rest")), "{report:?}");
}

#[test]
fn a_daemon_that_ends_ends_learning_without_a_report() {
    let logs = Logs::new("ended");
    logs.write("auth.log", logs.accepted(DAY, "198.51.100.1"), 0);
    let (inputs, learnt) = unbounded();
    let (go, begun) = bounded(1);
    let wake = Wake::new().unwrap();
    let learner = || logs.learner(Vec::new());
    go.send(()).unwrap();
    wake.raise();
    learner().run(&begun, &inputs, &wake);
    drop(go);
    learner().run(&begun, &inputs, &wake);
    assert!(!learnt.try_iter().any(|input| matches!(input, Input::Learnt(Learnt::Done(_)))));
}

#[test]
fn a_place_is_learnt_once_a_day_if_nobody_is_named_and_so_many_logins_a_jail() {
    let logs = Logs::new("bounds");
    let login = |user: Option<&str>, secs_ago: i64| Event {
        stamp: Some(logs.ago(secs_ago)),
        addr: "198.51.100.1".parse().unwrap(),
        user: user.map(Into::into),
        outcome: Outcome::Success,
        connection: None,
        forwarded: Vec::new(),
    };
    let mut found = Found::new(1);
    let new = (0..1_000).filter(|n| found.is_new(0, &login(None, n * 60), Told::Log)).count();
    assert!((1..=2).contains(&new), "1000 minutes touch two days at most: {new}");
    let new = (0..30_000).filter(|n| found.is_new(0, &login(Some("alice"), *n), Told::Log)).count();
    assert!((19_990..=20_000).contains(&new), "{new}");
    // What the journal told in the same moment is no other login.
    let mut found = Found::new(1);
    assert!(found.is_new(0, &login(Some("alice"), 100), Told::Journal));
    assert!(!found.is_new(0, &login(Some("alice"), 101), Told::Log));
    assert!(found.is_new(0, &login(Some("alice"), 103), Told::Log));
    assert!(!found.is_new(0, &login(Some("alice"), 40), Told::Wtmp));
}
