//! For fuzzing: rows with any values, and files with any bytes, through everything that reads the store.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use pillory_core::config::{Config, resolve};
use pillory_core::jail::names::Names;
use pillory_core::jail::{Jail, Judge};
use pillory_core::ledger::Installed;
use pillory_core::machine::{Machine, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::Timestamp;

use super::query::{self, Restored, Since, Wanted};
use super::{FILE, SCHEMA, salvage, spill, wal};
use crate::control::server::attempt_value;

/// Bytes of a spill file.
pub(crate) fn spilled(data: &[u8]) {
    spill::whatever(data);
}

/// A log of changes behind its index.
pub(crate) fn log(data: &[u8]) {
    wal::whatever(data);
}

/// A row a line: a letter for its table, and values between tabs, which SQLite takes whatever the column is: `n` nothing,
/// `i7` a whole number, `r.5` a fraction, `bxyz` bytes, anything else is text.
pub(crate) fn rows(data: &[u8]) {
    thread_local! {
        static STORE: Option<Connection> = in_memory().ok();
    }
    STORE.with(|db| db.as_ref().map(|db| fill(db, data)));
}

/// A new store that lies nowhere.
fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(SCHEMA).map(|()| db)
}

fn fill(db: &Connection, data: &[u8]) {
    // All or nothing, so that no input leaves anything to the next.
    let Ok(transaction) = db.unchecked_transaction() else { return };
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some((table, values)) = line.split_first() else { continue };
        let table = match table {
            b'b' => "bans",
            b'h' => "history",
            b'a' => "attempts",
            b'p' => "positions",
            _ => "meta",
        };
        let values: Vec<Value> = values.split(|byte| *byte == b'\t').map(value).collect();
        let places = vec!["?"; values.len()].join(", ");
        // Too many or too few, or nothing where something must be.
        drop(db.execute(&format!("INSERT INTO {table} VALUES ({places})"), params_from_iter(values)));
    }
    read(db);
    drop(transaction);
}

fn value(bytes: &[u8]) -> Value {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let rest = || std::str::from_utf8(bytes.get(1..).unwrap_or_default()).unwrap_or_default();
    match bytes.first() {
        Some(b'n') if bytes.len() == 1 => Value::Null,
        Some(b'i') => rest().parse().map_or_else(|_| Value::Text(text()), Value::Integer),
        Some(b'r') => rest().parse().map_or_else(|_| Value::Text(text()), Value::Real),
        Some(b'b') => Value::Blob(bytes.get(1..).unwrap_or_default().to_vec()),
        _ => Value::Text(text()),
    }
}

/// Everything that is asked of a store.
fn read(db: &Connection) {
    let restored = query::restore(db, Since::default());
    let wanted = Wanted::default();
    for (_, attempt) in query::attempts(db, &wanted).unwrap_or_default() {
        drop(attempt_value(&attempt));
    }
    for (_, row) in query::history(db, &wanted).unwrap_or_default() {
        drop((row.time.to_string(), row.until.map(|until| until.to_string())));
        drop(query::began(db, row.prefix, &row.jail));
    }
    let everybody: Option<Prefix> = "0.0.0.0/0".parse().ok();
    drop((query::effect(db), everybody.map(|prefix| query::seen(db, prefix))));
    drop((query::newest_id(db, "attempts"), query::meta(db, "off")));
    if let Ok(restored) = restored {
        take_over(restored);
    }
}

/// As a start does it.
fn take_over(restored: Restored) {
    static CONFIG: LazyLock<Config> = LazyLock::new(resolve::default_config);
    let jails = CONFIG.jails.iter().map(|jail| Jail {
        name: jail.name.clone(),
        policy: jail.policy.clone(),
        lines: None,
    });
    let judge = Judge::new(jails.collect(), Names::default(), PrefixSet::default(), 1_000);
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    for (prefix, jail, when) in &restored.past_bans {
        machine.judge.past.began(*prefix, jail, *when);
        machine.banned_before(jail);
    }
    machine.restore(restored.bans, &restored.attempts, &restored.turns, restored.last_write);
    let now = Timestamp::from_secs(1_795_334_231);
    machine.reconcile(&Installed::new(), now);
    machine.tick(now, &mut Vec::new());
}

thread_local! {
    static DIRECTORY: RefCell<Option<Directory>> = const { RefCell::new(None) };
}

/// A directory that goes with its thread.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Writes a database and what belongs to one into an empty directory, in memory where there is one.
fn with_file(data: &[u8], read: impl FnOnce(&Path, &Path)) {
    DIRECTORY.with_borrow_mut(|directory| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let name = format!("pillory-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let Directory(path) = directory.get_or_insert_with(|| Directory(parent.join(name)));
        drop(std::fs::remove_dir_all(&path));
        let file = path.join(FILE);
        if std::fs::create_dir_all(&path).and_then(|()| std::fs::write(&file, data)).is_ok() {
            read(path, &file);
        }
    });
}

/// A database file of ours, or of fail2ban: what can be read of it, and what can be saved if it is damaged.
pub(crate) fn file(data: &[u8]) {
    with_file(data, |directory, file| {
        drop(crate::cli::import::database::bans(file));
        if let Ok(db) = super::open_read_only(directory) {
            read(&db);
        }
        let Ok(mut new) = in_memory() else { return };
        if salvage::salvage(&mut new, file).is_ok() {
            read(&new);
        }
    });
}
