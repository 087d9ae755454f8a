//! A daemon's own store, filled while it is away: bans, their lines of history, and the attempts that led to them.

use std::net::Ipv4Addr;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

/// What each of the addresses gets.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// How long ago the oldest ban began, in milliseconds; the others follow evenly spread, up to a tenth of that ago.
    pub oldest_ms: i64,
    /// Attempts of each address, a minute after another, the last one with the ban.
    pub attempts: i64,
    /// True if the ban stands, false if there is only its line in the history.
    pub in_force: bool,
}

/// Fills the tables that a daemon has made.
/// # Errors
/// What SQLite says.
pub fn fill(path: &Path, addresses: &[Ipv4Addr], story: Story) -> rusqlite::Result<()> {
    let mut store = Connection::open(path)?;
    let transaction = store.transaction()?;
    let now = Timestamp::now().as_millisecond();
    let step = story.oldest_ms * 9 / 10 / i64::try_from(addresses.len()).expect("few enough");
    for (at, addr) in (0..).zip(addresses) {
        add(&transaction, *addr, now - story.oldest_ms + at * step, story)?;
    }
    // As the daemon notes which rows of the history the table of bans knows.
    transaction.execute("INSERT OR REPLACE INTO meta SELECT 'merged', max(id) FROM history", [])?;
    transaction.commit()
}

fn add(to: &Transaction<'_>, addr: Ipv4Addr, since: i64, story: Story) -> rusqlite::Result<()> {
    let until = since + 8 * 86_400_000;
    let (addr, prefix) = (addr.to_string(), format!("{addr}/32"));
    let reason = "5 points: oracle (notorious name)";
    if story.in_force {
        to.prepare_cached(
            "INSERT INTO bans(prefix, jail, since, until, failures, reason, origin, scope)
             VALUES (?1, 'sshd', ?2, ?3, 1, ?4, 'local', '')",
        )?
        .execute(params![prefix, since, until, reason])?;
    }
    to.prepare_cached(
        "INSERT INTO history(time, what, prefix, jail, until, failures, reason, origin)
         VALUES (?2, 'ban', ?1, 'sshd', ?3, 1, ?4, 'local')",
    )?
    .execute(params![prefix, since, until, reason])?;
    for before in (0..story.attempts).rev() {
        to.prepare_cached(
            "INSERT INTO attempts(time, jail, addr, user, class, points, tries)
             VALUES (?2, 'sshd', ?1, 'oracle', 'bad_user', 500, 1)",
        )?
        .execute(params![addr, since - before * 60_000])?;
    }
    Ok(())
}
