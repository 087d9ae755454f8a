use std::sync::Arc;

use super::*;
use pillory_core::ledger::Ended;
use pillory_core::machine::Record;
use query::Wanted;
use writer::{Write, commit};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pillory-store-{name}-{}", std::process::id()));
    // Left over from a run that was killed; absence is the normal case.
    drop(std::fs::remove_dir_all(&path));
    path
}

fn ban(prefix: &str, until: Option<i64>) -> Ban {
    Ban {
        prefix: prefix.parse().unwrap(),
        jail: JailName::new("sshd").unwrap(),
        since: Timestamp::from_secs(10),
        until: End::from_option(until.map(Timestamp::from_secs)),
        failures: 5,
        reason: "5 failures".into(),
        origin: Origin::Local,
        scope: Scope::All,
    }
}

fn attempt(secs: i64, addr: &str) -> Attempt {
    Attempt {
        time: Timestamp::from_secs(secs),
        jail: JailName::new("sshd").unwrap(),
        addr: addr.parse().unwrap(),
        user: Some("root".into()),
        class: Some(Class::Root),
        points: Points(200),
        tries: 1,
        connection: Some(Shown { connection: u64::MAX, kind: 3, attempts: 2 }),
    }
}

#[test]
fn what_was_written_is_restored() {
    let directory = directory("restore");
    let (mut db, _) = open(&directory).unwrap();
    let limited = Ban { scope: Scope::Ports(JailName::new("sshd").unwrap()), ..ban("192.0.2.8", None) };
    let records = vec![
        Record::Banned(ban("192.0.2.7", Some(99))),
        Record::Banned(limited.clone()),
        Record::Banned(ban("2001:db8::/64", Some(99))),
        Record::Ended(ban("192.0.2.7", Some(99)), Ended::Lifted, Timestamp::from_secs(50)),
        Record::Attempt(attempt(5, "192.0.2.7")),
        Record::Attempt(attempt(20, "192.0.2.9")),
    ];
    let positions = vec![(Arc::from("file:/var/log/auth.log"), crate::sources::Position("here".into()))];
    commit(&mut db, &[Write { records, positions, meta: vec![("off", "yes".into())], ..Write::default() }])
        .unwrap();
    drop(db);
    let db = open_read_only(&directory).unwrap();
    let restored = query::restore(&db, Timestamp::from_secs(6), Timestamp::from_secs(0)).unwrap();
    assert_eq!(restored.bans.len(), 2);
    assert!(restored.bans.contains(&limited));
    assert_eq!(restored.attempts, [attempt(20, "192.0.2.9")]);
    assert_eq!(restored.past_bans.len(), 3);
    assert_eq!(restored.positions["file:/var/log/auth.log"], "here");
    assert_eq!(restored.last_write, Timestamp::from_secs(50));
    let rows =
        query::history(&db, &Wanted { prefix: Some("192.0.2.0/24".parse().unwrap()), ..Wanted::default() })
            .unwrap();
    let told: Vec<(&str, String)> =
        rows.iter().map(|(_, row)| (row.what.as_str(), row.prefix.short())).collect();
    assert_eq!(
        told,
        [("ban", "192.0.2.7".into()), ("ban", "192.0.2.8".into()), ("unban", "192.0.2.7".into())]
    );
    let last = query::attempts(&db, &Wanted { last: 1, ..Wanted::default() }).unwrap();
    assert_eq!(last[0].1, attempt(20, "192.0.2.9"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_put_aside() {
    let directory = directory("broken");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(FILE), vec![0xA5; 8192]).unwrap();
    let (_, said) = open(&directory).unwrap();
    assert!(said.unwrap().contains("pillory.db.broken"));
    assert!(directory.join("pillory.db.broken").exists());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_could_not_be_written_is_written_once_it_can_be() {
    let directory = directory("full");
    let (db, _) = open(&directory).unwrap();
    // Another program's transaction stands for the full disk: a commit fails until it is over.
    let other = rusqlite::Connection::open(directory.join(FILE)).unwrap();
    db.busy_timeout(std::time::Duration::ZERO).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (writes_in, writes) = crossbeam_channel::unbounded();
    let (answers_in, answers) = crossbeam_channel::unbounded();
    let path = directory.join(FILE);
    let writer = std::thread::spawn(move || writer::run(db, path, &writes, &answers_in));
    let write = |number, prefix| Write {
        number,
        records: vec![Record::Banned(ban(prefix, Some(99)))],
        ..Write::default()
    };
    writes_in.send(write(1, "192.0.2.7")).unwrap();
    assert!(matches!(answers.recv().unwrap(), writer::Written::Failed(_)));
    other.execute_batch("ROLLBACK").unwrap();
    writes_in.send(write(2, "192.0.2.8")).unwrap();
    assert!(answers.iter().any(|answer| matches!(answer, writer::Written::UpTo(2))));
    drop(writes_in);
    writer.join().unwrap();
    let db = open_read_only(&directory).unwrap();
    let restored = query::restore(&db, Timestamp::from_secs(0), Timestamp::from_secs(0)).unwrap();
    let prefixes: Vec<String> = restored.bans.iter().map(|ban| ban.prefix.to_string()).collect();
    assert_eq!(prefixes, ["192.0.2.7/32", "192.0.2.8/32"]);
    std::fs::remove_dir_all(&directory).unwrap();
}
