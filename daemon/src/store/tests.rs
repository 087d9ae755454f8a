use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::*;
use pillory_core::jail::names::{By, MOST_TRIED, Tried};
use pillory_core::jail::replay::Turn;
use pillory_core::ledger::Ended;
use pillory_core::machine::Record;
use pillory_core::time::Span;
use pillory_core::wall::{Rules, Spared};
use query::{Since, Wanted};
use writer::{Write, Written, commit};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pillory-store-{name}-{}", std::process::id()));
    // Left over from a run that was killed; absence is the normal case.
    drop(std::fs::remove_dir_all(&path));
    path
}

pub(super) fn ban(prefix: &str, until: Option<i64>) -> Ban {
    Ban {
        prefix: prefix.parse().unwrap(),
        jail: JailName::new("sshd").unwrap(),
        since: Timestamp::from_secs(10),
        until: End::from_option(until.map(Timestamp::from_secs)),
        failures: 5,
        reason: "5 failures".into(),
        origin: Origin::Local,
        scope: Scope::All,
        forced: false,
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
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let limited =
        Ban { forced: true, scope: Scope::Ports(JailName::new("sshd").unwrap()), ..ban("192.0.2.8", None) };
    let records = vec![
        Record::Banned(ban("192.0.2.7", Some(99))),
        Record::Banned(limited.clone()),
        Record::Banned(ban("2001:db8::/64", Some(99))),
        Record::Ended(ban("192.0.2.7", Some(99)), Ended::Lifted, Timestamp::from_secs(50)),
        Record::Attempt(attempt(5, "192.0.2.7")),
        Record::Attempt(attempt(20, "192.0.2.9")),
    ];
    let positions = vec![(Arc::from("file:/var/log/auth.log"), crate::sources::Position("here".into()))];
    commit(
        &mut db,
        &[Write { records, positions, meta: vec![("off".into(), "yes".into())], ..Write::default() }],
    )
    .unwrap();
    drop(db);
    let db = open_read_only(&directory).unwrap();
    let young = Timestamp::from_secs(6);
    let restored =
        query::restore(&db, Since { failures: young, strangers: young, ..Since::default() }).unwrap();
    assert_eq!(restored.bans.len(), 2);
    assert!(restored.bans.contains(&limited));
    assert_eq!(restored.attempts, [attempt(20, "192.0.2.9")]);
    assert_eq!(restored.past_bans.len(), 3);
    assert_eq!(restored.positions["file:/var/log/auth.log"], "here");
    assert_eq!(restored.last_write, Timestamp::from_secs(50));
    let rows =
        query::history(&db, &Wanted { prefixes: vec!["192.0.2.0/24".parse().unwrap()], ..Wanted::default() })
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
fn a_ban_was_lifted_if_somebody_did_after_it_began_or_it_was_a_mistake() {
    let directory = directory("was-lifted");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let ended = |addr, how| Record::Ended(ban(addr, Some(99)), how, Timestamp::from_secs(50));
    let records = vec![
        ended("192.0.2.7", Ended::Lifted),
        ended("192.0.2.8", Ended::Mistaken),
        ended("192.0.2.9", Ended::Expired),
    ];
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    let lifted = |addr, made| {
        let of = ban(addr, None);
        query::was_lifted(&db, (of.prefix, &of.jail), Timestamp::from_secs(made)).unwrap()
    };
    let all = ["192.0.2.7", "192.0.2.8", "192.0.2.9"].map(|addr| lifted(addr, 40));
    assert_eq!(all, [true, true, false]);
    assert!(!lifted("192.0.2.7", 60), "that was a ban before");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn whatever_ends_a_ban_it_is_over_and_the_wall_forgets_only_who_was_let_in() {
    const HOW: [Ended; 6] =
        [Ended::Expired, Ended::Lifted, Ended::Narrowed, Ended::Displaced, Ended::Mistaken, Ended::Retired];
    let directory = directory("ends");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let addr = |n: usize| format!("192.0.{n}.7");
    let tries = |n: usize| (0..20).map(move |_| Record::Attempt(attempt(5, &addr(n))));
    let begun = (0..HOW.len()).flat_map(|n| tries(n).chain([Record::Banned(ban(&addr(n), Some(99)))]));
    let ended =
        (0..).zip(HOW).map(|(n, how)| Record::Ended(ban(&addr(n), Some(99)), how, Timestamp::from_secs(50)));
    // So many that `bans` is behind the history, and read with it.
    let rest = (0..300).map(|_| Record::Attempt(attempt(6, "198.51.100.1")));
    let records = begun.chain(ended).chain(rest).collect();
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    assert!(standing::bans(&db).unwrap().is_empty());
    assert!(query::began(&db, "192.0.5.7/32".parse().unwrap(), "sshd").unwrap().is_none());
    let past = shown::past(&directory, Timestamp::from_secs(200_000), Span::from_secs(60)).unwrap();
    let wall = past.wall(&Rules { mask: false, ..Rules::default() }, &Spared::default());
    let mut shown: Vec<String> = wall.offenders.iter().map(|offender| offender.name()).collect();
    shown.sort();
    assert_eq!(shown, ["192.0.0.7", "192.0.2.7", "192.0.3.7", "192.0.5.7"]);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn past_bans_are_those_made_and_missed_without_mistakes() {
    let directory = directory("past-bans");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let lifted = |addr, how| Record::Ended(ban(addr, Some(99)), how, Timestamp::from_secs(50));
    let records = vec![
        Record::Banned(ban("192.0.2.7", Some(99))),
        lifted("192.0.2.7", Ended::Lifted),
        Record::Banned(ban("192.0.2.7", Some(99))),
        lifted("192.0.2.7", Ended::Mistaken),
        Record::Missed(ban("192.0.2.8", Some(99))),
        // The ban was before what is kept.
        lifted("192.0.2.9", Ended::Mistaken),
    ];
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    let restored = query::restore(&db, Since::default()).unwrap();
    let past: Vec<String> = restored.past_bans.iter().map(|(prefix, ..)| prefix.short()).collect();
    assert_eq!(past, ["192.0.2.7", "192.0.2.8"]);
    assert!(restored.bans.is_empty(), "a ban that was missed is not in force");
    let turns: Vec<Turn> = restored.turns.iter().map(|past| past.turn).collect();
    let of_seven = [Turn::Began, Turn::Began, Turn::Missed, Turn::Lifted, Turn::Expired, Turn::Expired];
    assert_eq!(turns, of_seven);
}

#[test]
fn a_mistake_takes_back_the_last_ban_before_it_that_was_made_here() {
    let by_hand = |addr| Record::Banned(Ban { origin: Origin::Manual, ..ban(addr, Some(99)) });
    let banned = |addr| Record::Banned(ban(addr, Some(99)));
    let missed = |addr| Record::Missed(ban(addr, Some(99)));
    let mistake = |addr| Record::Ended(ban(addr, Some(99)), Ended::Mistaken, Timestamp::from_secs(50));
    let (seven, eight) = ("192.0.2.7", "192.0.2.8");
    let cases = [
        (vec![banned(seven), missed(seven), mistake(seven)], 1),
        (vec![banned(seven), by_hand(seven), mistake(seven)], 0),
        (vec![banned(seven), banned(seven), mistake(seven), mistake(seven)], 1),
        (vec![banned(seven), mistake(seven), banned(seven), mistake(seven)], 0),
        (vec![banned(seven), banned(eight), mistake(seven), banned(seven)], 2),
        (vec![mistake(seven), banned(seven)], 1),
        (vec![missed(seven), banned(eight), mistake(seven)], 2),
    ];
    for (records, left) in cases {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        let write = Write { records, ..Write::default() };
        commit(&mut db, [&write]).unwrap();
        let past_bans = query::restore(&db, Since::default()).unwrap().past_bans;
        assert_eq!(past_bans.len(), left, "{:?}", write.records);
    }
}

#[test]
fn what_is_illegible_where_it_does_not_matter_costs_no_turn() {
    let mut db = Connection::open_in_memory().unwrap();
    db.execute_batch(SCHEMA).unwrap();
    let ended = |how| Record::Ended(ban("192.0.2.7", Some(99)), how, Timestamp::from_secs(50));
    let missed = Record::Missed(ban("192.0.2.7", Some(99)));
    let records = vec![ended(Ended::Lifted), ended(Ended::Expired), missed];
    commit(&mut db, [&Write { records, ..Write::default() }]).unwrap();
    db.execute_batch("UPDATE history SET origin = x'00', until = 'nonsense'").unwrap();
    let restored = query::restore(&db, Since::default()).unwrap();
    let turns: Vec<Turn> = restored.turns.iter().map(|past| past.turn).collect();
    assert_eq!((turns, restored.past_bans.len()), (vec![Turn::Missed, Turn::Lifted, Turn::Expired], 0));
}

#[test]
fn what_claims_to_be_of_a_time_that_is_not_believed_counts_nothing_and_its_bans_begin_now() {
    let directory = directory("future");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let far = i64::MAX / 10_000;
    let wrong = Ban { since: Timestamp::from_secs(far), ..ban("192.0.2.8", Some(far + 60)) };
    let records = vec![
        Record::Attempt(attempt(50, "192.0.2.7")),
        Record::Attempt(attempt(far, "192.0.2.7")),
        Record::Banned(wrong),
    ];
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    let (now, latest) = (Timestamp::from_secs(60), Timestamp::from_secs(1_000));
    let restored = query::restore(&db, Since { believed: (now, latest), ..Since::default() }).unwrap();
    assert_eq!(restored.last_write, Timestamp::from_secs(50));
    for (kept, expected) in [("55000", 55), ("40000", 50), ("9999000", 50), ("nonsense", 50)] {
        commit(&mut db, &[Write { meta: vec![(META_TIME.into(), kept.into())], ..Write::default() }])
            .unwrap();
        assert_eq!(query::last_write(&db, latest).unwrap(), Timestamp::from_secs(expected), "{kept}");
    }
    assert_eq!(restored.attempts, [attempt(50, "192.0.2.7")]);
    assert_eq!((restored.past_bans.len(), restored.turns.len()), (0, 0));
    assert_eq!((restored.bans[0].since, restored.bans[0].until), (now, End::At(Timestamp::from_secs(120))));
}

#[test]
fn older_failures_are_restored_where_they_tell_of_accounts_in_use_or_campaigns() {
    const DAY: i64 = 86_400;
    let directory = directory("alarms");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let by = |user: &str, day: i64, addr: &str, class| Attempt {
        user: Some(user.into()),
        class,
        ..attempt(day * DAY, addr)
    };
    let failed = Some(Class::KnownUser);
    let attempts = [
        by("alice", 1, "192.0.2.7", None),
        by("alice", 5, "198.51.100.1", failed),
        by("alice", 5, "198.51.100.1", failed),
        by("bob", 5, "198.51.100.2", failed),
        by("alice", 6, "198.51.100.1", failed),
        by("bob", 8, "198.51.100.3", failed),
        by("bob", 9, "198.51.100.4", failed),
    ];
    let records = attempts.iter().cloned().map(Record::Attempt).collect();
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    let day = |day: i64| Timestamp::from_secs(day * DAY - 1);
    let since =
        Since { failures: day(9), strangers: day(8), logins: day(1), bans: day(1), ..Since::default() };
    let restored = query::restore(&db, since).unwrap().attempts;
    // Bob never logged in; whoever tries twice on one day is one stranger.
    assert_eq!(restored, [0, 1, 4, 5, 6].map(|at: usize| attempts[at].clone()));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_good_login_of_before_is_kept_once_and_listed_at_its_time() {
    let directory = directory("learnt");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let login = |secs, addr| Attempt { class: None, connection: None, ..attempt(secs, addr) };
    let nameless = Attempt { user: None, ..login(6, "192.0.2.7") };
    let records = vec![
        Record::Attempt(attempt(20, "192.0.2.9")),
        Record::Learnt(login(5, "192.0.2.7")),
        Record::Learnt(login(6, "192.0.2.7")),
        Record::Learnt(nameless.clone()),
    ];
    let write = Write { records, ..Write::default() };
    // As after a crash while it was learnt.
    commit(&mut db, [&write]).unwrap();
    commit(&mut db, [&Write { records: write.records[1..].to_vec(), ..Write::default() }]).unwrap();
    let rows = query::attempts(&db, &Wanted::default()).unwrap();
    let rows: Vec<Attempt> = rows.into_iter().map(|(_, attempt)| attempt).collect();
    let expected = [login(5, "192.0.2.7"), login(6, "192.0.2.7"), nameless, attempt(20, "192.0.2.9")];
    assert_eq!(rows, expected);
    // Whoever follows goes on behind what was written last, and not behind what happened last.
    let last = query::attempts(&db, &Wanted { last: 1, ..Wanted::default() }).unwrap();
    let newest = query::newest_id(&db, "attempts").unwrap();
    assert_eq!((last[0].0, newest), (1, 4));
    let after = query::attempts(&db, &Wanted { after_id: newest, ..Wanted::default() }).unwrap();
    assert_eq!(after, []);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn of_who_logged_in_by_a_name_the_last_time_outlives_the_retention() {
    let directory = directory("logins");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let login = |secs, addr| Attempt { class: None, connection: None, ..attempt(secs, addr) };
    let nameless = Attempt { user: None, ..login(6, "192.0.2.8") };
    let all = [login(5, "192.0.2.7"), login(7, "192.0.2.7"), nameless, attempt(8, "192.0.2.9")];
    let records = all.iter().cloned().map(Record::Attempt).collect();
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    let forget_before = Some(Timestamp::from_secs(100));
    commit(&mut db, &[Write { forget_before, ..Write::default() }]).unwrap();
    let rows = query::attempts(&db, &Wanted::default()).unwrap();
    assert_eq!(rows.into_iter().map(|(_, attempt)| attempt).collect::<Vec<_>>(), [login(7, "192.0.2.7")]);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn names_that_banned_sources_tried_are_kept_as_they_were_known_last_until_the_retention_is_over() {
    let directory = directory("tried");
    std::fs::create_dir_all(&directory).unwrap();
    let (mut db, _) = open(&directory).unwrap();
    let by = |source, when| By { source, when };
    let tried = |user, last, before| Tried { user, by: [last, before] };
    let old = tried(3, by(7, 10), By::default());
    let first = tried(u64::MAX - 1, by(u32::MAX, 20), By::default());
    let then = tried(u64::MAX - 1, by(8, 30), by(u32::MAX, 20));
    for names in [vec![old, first], vec![then]] {
        let records = vec![Record::Tried(names)];
        commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    }
    let known = |db: &Connection| query::restore(db, Since::default()).unwrap().tried;
    assert_eq!(known(&db), [then, old]);
    let forget_before = Some(Timestamp::from_secs(11));
    commit(&mut db, &[Write { forget_before, ..Write::default() }]).unwrap();
    assert_eq!(known(&db), [then]);
    let many = (1..=MOST_TRIED as u64).map(|user| tried(user, by(9, 40), By::default())).collect();
    let records = vec![Record::Tried(many)];
    commit(&mut db, &[Write { records, ..Write::default() }]).unwrap();
    assert_eq!(known(&db).len(), MOST_TRIED);
    commit(&mut db, &[Write { forget_before, ..Write::default() }]).unwrap();
    let kept: u32 = db.query_row("SELECT count(*) FROM tried", [], |row| row.get(0)).unwrap();
    assert_eq!(kept as usize, MOST_TRIED);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The tables of a version, with one ban.
fn older(directory: &Path, version: usize) {
    let change = |text: &str, new: &str, old: &str| {
        let changed = text.replace(new, old);
        assert_ne!(changed, text);
        changed
    };
    let met = "CREATE TABLE met(block INTEGER PRIMARY KEY, addresses BLOB NOT NULL);";
    let old = change(SCHEMA, met, "CREATE INDEX attempts_addr ON attempts(addr);");
    let listed = "history_listed ON history(prefix) WHERE what = 'listed'";
    let old = change(&old, listed, "history_prefix ON history(prefix)");
    let mut old = change(&old, ",\n    scope TEXT, forced INTEGER);", ");");
    let mut forced = ", 0";
    if version < 3 {
        old = change(&old, &CHANGES[1].replace("        source_before", "    source_before"), "");
    }
    if version == 1 {
        (old, forced) = (change(&old, "    forced INTEGER NOT NULL DEFAULT 0,\n", ""), "");
    }
    let ban = format!("'192.0.2.7/32', 'sshd', 10000, 99000, 5, '5 failures', 'local', ''{forced}");
    let fill = format!("{old} INSERT INTO bans VALUES ({ban}); PRAGMA user_version = {version};");
    Connection::open(directory.join(FILE)).unwrap().execute_batch(&fill).unwrap();
}

#[test]
fn older_tables_are_changed_and_their_bans_kept() {
    for version in [1, 2, 3] {
        let directory = directory("older");
        std::fs::create_dir_all(&directory).unwrap();
        older(&directory, version);
        let expected = [ban("192.0.2.7", Some(99))];
        assert_eq!(standing::bans(&Connection::open(directory.join(FILE)).unwrap()).unwrap(), expected);
        let copy = copy::copy(&directory, &[]).unwrap().db;
        assert_eq!(query::restore(&copy, Since::default()).unwrap().bans, expected);
        let (db, _) = open(&directory).unwrap();
        assert_eq!(query::restore(&db, Since::default()).unwrap().bans, expected);
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn older_tables_that_turn_out_to_be_damaged_when_they_are_changed_keep_their_bans() {
    use std::os::unix::fs::FileExt;
    let directory = directory("older-damaged");
    std::fs::create_dir_all(&directory).unwrap();
    older(&directory, 3);
    let find = "SELECT rootpage FROM sqlite_master WHERE name = 'attempts_addr'";
    let db = Connection::open(directory.join(FILE)).unwrap();
    let page: u32 = db.query_row(find, [], |row| row.get(0)).unwrap();
    drop(db);
    let file = std::fs::File::options().write(true).open(directory.join(FILE)).unwrap();
    file.write_all_at(&[0xA5; 4096], u64::from(page - 1) * 4096).unwrap();
    assert_eq!(banned(&directory), ["192.0.2.7"]);
    assert!(directory.join("pillory.db.broken").exists());
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

/// A store whose commits fail, as on a full disk, until the other program's transaction is over.
struct Stuck {
    directory: PathBuf,
    other: Connection,
    writes: Sender<Write>,
    answers: Receiver<Written>,
    writer: std::thread::JoinHandle<()>,
}

impl Stuck {
    fn new(directory: &Path) -> Stuck {
        let started = keeper::start(directory, &directory.join("socket")).unwrap();
        let other = Connection::open(directory.join(FILE)).unwrap();
        started.store.db().unwrap().busy_timeout(std::time::Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (writes, taken) = crossbeam_channel::unbounded();
        let (told, answers) = crossbeam_channel::unbounded();
        let work = move || writer::run(started.into_writer(), &taken, |written| told.send(written).is_ok());
        let writer = std::thread::spawn(work);
        Stuck { directory: directory.to_owned(), other, writes, answers, writer }
    }

    fn write(&self, number: u64, record: Record) -> Written {
        self.writes.send(Write { number, records: vec![record], ..Write::default() }).unwrap();
        self.answers.recv().unwrap()
    }

    /// Ends the daemon, and only then lets the disk take something.
    fn crash(self) -> PathBuf {
        drop(self.writes);
        self.writer.join().unwrap();
        self.other.execute_batch("ROLLBACK").unwrap();
        self.directory
    }
}

fn banned(directory: &Path) -> Vec<String> {
    let mut started = keeper::start(directory, &directory.join("socket")).unwrap();
    let restored = started.restore(Since::default()).unwrap();
    restored.bans.iter().map(|ban| ban.prefix.short()).collect()
}

#[test]
fn what_could_not_be_written_is_written_once_it_can_be() {
    let directory = directory("full");
    let stuck = Stuck::new(&directory);
    let first = stuck.write(1, Record::Banned(ban("192.0.2.7", Some(99))));
    assert!(matches!(first, Written::Aside(1, ..)), "{first:?}");
    stuck.other.execute_batch("ROLLBACK").unwrap();
    stuck
        .writes
        .send(Write {
            number: 2,
            records: vec![Record::Banned(ban("192.0.2.8", Some(99)))],
            ..Write::default()
        })
        .unwrap();
    assert!(stuck.answers.iter().any(|answer| matches!(answer, Written::UpTo(2, _))));
    drop(stuck.writes);
    stuck.writer.join().unwrap();
    assert!(!directory.join("socket.unwritten").exists());
    assert_eq!(banned(&directory), ["192.0.2.7", "192.0.2.8"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_lies_beside_the_store_is_taken_over_once() {
    let directory = directory("spill");
    let stuck = Stuck::new(&directory);
    stuck.write(1, Record::Banned(ban("192.0.2.7", Some(99))));
    stuck.write(2, Record::Banned(ban("192.0.2.8", Some(99))));
    stuck.write(3, Record::Ended(ban("192.0.2.7", Some(99)), Ended::Lifted, Timestamp::from_secs(50)));
    stuck.write(4, Record::Attempt(attempt(60, "192.0.2.9")));
    let directory = stuck.crash();
    let spill = directory.join("socket.unwritten");
    let text = std::fs::read(&spill).unwrap();
    // The crash came in the middle of a line.
    std::fs::write(&spill, [text.as_slice(), b"{\"records\":[{\"Ban"].concat()).unwrap();
    assert_eq!(banned(&directory), ["192.0.2.8"]);
    assert!(!spill.exists());
    // And as if the crash had come between the commit and the end of the file.
    std::fs::write(&spill, text).unwrap();
    assert_eq!(banned(&directory), ["192.0.2.8"]);
    let db = open_read_only(&directory).unwrap();
    assert_eq!(query::attempts(&db, &Wanted::default()).unwrap().len(), 1);
    assert_eq!(query::history(&db, &Wanted::default()).unwrap().len(), 3);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_line_cut_within_a_letter_costs_no_line_before_it() {
    let directory = directory("letter");
    let stuck = Stuck::new(&directory);
    stuck.write(1, Record::Banned(ban("192.0.2.7", Some(99))));
    let directory = stuck.crash();
    let spill = directory.join("socket.unwritten");
    let text = std::fs::read(&spill).unwrap();
    std::fs::write(&spill, [text.as_slice(), b"{\"records\":[{\"Attempt\":{\"user\":\"jos\xc3"].concat())
        .unwrap();
    assert_eq!(banned(&directory), ["192.0.2.7"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_others_could_have_put_beside_the_store_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory("foreign");
    let stuck = Stuck::new(&directory);
    stuck.write(1, Record::Banned(ban("192.0.2.7", Some(99))));
    let directory = stuck.crash();
    let spill = directory.join("socket.unwritten");
    std::fs::set_permissions(&spill, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(banned(&directory), [""; 0]);
    // That it is not for another store's daemon either is seen by its first line.
    std::fs::set_permissions(&spill, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&spill).unwrap();
    std::fs::write(&spill, text.replacen("pillory-store-foreign", "pillory-store-other", 1)).unwrap();
    assert_eq!(banned(&directory), [""; 0]);
    std::fs::write(&spill, text).unwrap();
    assert_eq!(banned(&directory), ["192.0.2.7"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_store_that_is_removed_is_made_anew_with_a_snapshot() {
    let directory = directory("removed");
    let stuck = Stuck::new(&directory);
    stuck.other.execute_batch("ROLLBACK").unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let asked = stuck.write(1, Record::Banned(ban("192.0.2.7", Some(99))));
    assert!(matches!(asked, Written::Lacks(None)), "{asked:?}");
    let bans = vec![ban("192.0.2.7", Some(99)), ban("192.0.2.6", Some(99))];
    stuck.writes.send(Write { number: 2, snapshot: Some(bans), ..Write::default() }).unwrap();
    let done = stuck.answers.recv().unwrap();
    assert!(matches!(done, Written::UpTo(2, _)), "{done:?}");
    drop(stuck.writes);
    stuck.writer.join().unwrap();
    assert_eq!(banned(&directory), ["192.0.2.6", "192.0.2.7"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_store_that_turns_out_to_be_damaged_is_written_on() {
    use std::os::unix::fs::FileExt;
    let directory = directory("damaged");
    let mut started = keeper::start(&directory, &directory.join("socket")).unwrap();
    let kept = Write { records: vec![Record::Banned(ban("192.0.2.7", Some(99)))], ..Write::default() };
    started.keep(kept).unwrap();
    let find = "SELECT rootpage FROM sqlite_master WHERE name = 'attempts_time'";
    let page: u32 = started.store.db().unwrap().query_row(find, [], |row| row.get(0)).unwrap();
    drop(started);
    let file = std::fs::File::options().write(true).open(directory.join(FILE)).unwrap();
    file.write_all_at(&[0xA5; 4096], u64::from(page - 1) * 4096).unwrap();
    let stuck = Stuck::new(&directory);
    stuck.other.execute_batch("ROLLBACK").unwrap();
    let first = stuck.write(1, Record::Attempt(attempt(5, "192.0.2.9")));
    assert!(matches!(first, Written::Aside(1, ..)), "{first:?}");
    let asked = stuck.answers.recv().unwrap();
    assert!(matches!(&asked, Written::Lacks(Some(said)) if said.contains("pillory.db.broken")), "{asked:?}");
    let bans = vec![ban("192.0.2.7", Some(99))];
    stuck.writes.send(Write { number: 2, snapshot: Some(bans), ..Write::default() }).unwrap();
    let done = stuck.answers.recv().unwrap();
    assert!(matches!(done, Written::UpTo(2, _)), "{done:?}");
    drop(stuck.writes);
    stuck.writer.join().unwrap();
    assert_eq!(banned(&directory), ["192.0.2.7"]);
    let db = open_read_only(&directory).unwrap();
    assert_eq!(query::attempts(&db, &Wanted::default()).unwrap().len(), 1);
    assert_eq!(query::history(&db, &Wanted::default()).unwrap().len(), 1);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_store_at_its_limit_forgets_what_is_oldest_and_no_ban_in_force() {
    const MOST: u64 = 12_000_000;
    let directory = directory("bounded");
    let started = keeper::start(&directory, &directory.join("control")).unwrap();
    let mut writer = started.into_writer();
    let (first, mut number) = (1_000_000, 0);
    let mut write = |records: Vec<Record>| {
        number += 1;
        let most_bytes = Some(MOST);
        let told = writer.round([Write { number, records, most_bytes, ..Write::default() }].into_iter());
        let mut since = told.iter().filter_map(|told| match told {
            Written::Shortened(since) => Some(*since),
            _ => None,
        });
        since.next_back()
    };
    let in_force = Ban { since: Timestamp::from_secs(first), ..ban("192.0.2.7", None) };
    assert_eq!(write(vec![Record::Banned(in_force)]), None);
    let mut kept_since = None;
    let seconds = 60_i64;
    for second in 0..seconds {
        // A fifth are logins, each from an address of its own, which outlive the others.
        let one =
            |number: i64| match (number % 5, attempt(first + second, &format!("192.0.2.{}", number % 250))) {
                (0, failed) => {
                    let addr = std::net::Ipv4Addr::from_bits((second * 5_000 + number) as u32).into();
                    Record::Attempt(Attempt { class: None, connection: None, addr, ..failed })
                }
                (_, failed) => Record::Attempt(failed),
            };
        kept_since = write((0..5_000).map(one).collect()).or(kept_since);
        let bytes = std::fs::metadata(directory.join(FILE)).unwrap().len();
        assert!(bytes <= MOST, "{bytes} after {second}");
    }
    let kept_since = kept_since.expect("300,000 attempts take more");
    let db = open_read_only(&directory).unwrap();
    let oldest: i64 =
        db.query_row("SELECT min(time) FROM attempts WHERE class IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert!(Timestamp::from_millis(oldest) >= kept_since && kept_since > Timestamp::from_secs(first));
    let kept: i64 = db.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0)).unwrap();
    assert!((40_000..300_000).contains(&kept), "{kept}");
    let bans = query::restore(&db, Since::default()).unwrap().bans;
    assert_eq!(bans.len(), 1, "the history that told of it is gone");
    std::fs::remove_dir_all(directory).unwrap();
}
