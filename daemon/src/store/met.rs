//! Which addresses attempts are from, without an index of them.
//!
//! An index by address takes a new attempt at a random place, so in a flood it costs more than all the rest of a row.
//! Instead, once a block of attempts is complete, `met` gets the hashes of its addresses, sorted: 16 KiB for 4,096
//! attempts of as many sources, less where sources repeat. Who asks for an address reads these, and then only the blocks
//! that may hold it. A block without its hashes is one that may.

use rusqlite::{Connection, Transaction};

use pillory_core::hash::stable;
use pillory_core::net::Prefix;

/// So many numbers of attempts are a block: those of block 2 are 8,192 to 12,287.
const BLOCK: i64 = 4_096;

/// At most so many blocks get their hashes with one commit: a store of an older version has none.
const MOST_AT_ONCE: usize = 16;

/// So many rows of one address are listed by number; for more the table is read as it lies.
const MOST_LISTED: usize = 2_048;

/// The highest number that an attempt may have had: numbers within complete blocks are not given again.
/// # Errors
/// SQLite's.
pub(super) fn newest_number(db: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM attempts), 0),
        coalesce((SELECT max(block) FROM met) * ?1 + ?1 - 1, 0))";
    db.prepare_cached(sql)?.query_row([BLOCK], |row| row.get(0))
}

/// Writes the hashes of blocks that have become complete.
/// # Errors
/// SQLite's.
pub(super) fn complete(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    for _ in 0..MOST_AT_ONCE {
        // Numbers may have gaps.
        let sql = "SELECT min(id) / ?1 FROM attempts WHERE id >= coalesce((SELECT max(block) + 1 FROM met) * ?1, 0)";
        let next: Option<i64> = transaction.prepare_cached(sql)?.query_row([BLOCK], |row| row.get(0))?;
        let newest = super::query::newest_id(transaction, "attempts")?;
        let Some(block) = next.filter(|block| block.saturating_add(1) <= newest / BLOCK) else { break };
        let addresses = addresses_of(transaction, block)?;
        let sql = "INSERT OR REPLACE INTO met VALUES (?1, ?2)";
        transaction.prepare_cached(sql)?.execute((block, addresses))?;
    }
    Ok(())
}

/// The hashes of the addresses in a block, sorted, each once, as big-endian bytes.
fn addresses_of(db: &Connection, block: i64) -> rusqlite::Result<Vec<u8>> {
    let mut select = db.prepare_cached("SELECT addr FROM attempts WHERE id >= ?1 AND id < ?1 + ?2")?;
    let mut rows = select.query([block * BLOCK, BLOCK])?;
    let mut hashes = Vec::new();
    while let Some(row) = rows.next()? {
        hashes.push(stable(row.get_ref(0)?.as_bytes().unwrap_or_default()));
    }
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect())
}

/// Forgets the hashes of blocks whose failures are all deleted. Old logins stay here and there: few, so they are read.
/// # Errors
/// SQLite's.
pub(super) fn forget(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM met WHERE block < coalesce(
        (SELECT id / ?1 FROM attempts WHERE class IS NOT NULL ORDER BY id LIMIT 1), ?2)";
    transaction.execute(sql, [BLOCK, i64::MAX]).map(drop)
}

/// First and last number of each run of blocks that may hold an attempt from this address, in order.
fn runs_of(db: &Connection, addr: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    let sought = stable(addr.as_bytes());
    let mut runs = Vec::new();
    let mut from = 0;
    let mut select = db.prepare_cached("SELECT block, addresses FROM met WHERE block >= 0 ORDER BY block")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let block: i64 = row.get(0)?;
        if may_hold(row.get_ref(1)?.as_blob().unwrap_or_default(), sought) {
            continue;
        }
        let first = block.saturating_mul(BLOCK);
        if from < first {
            runs.push((from, first - 1));
        }
        from = first.saturating_add(BLOCK);
    }
    runs.push((from, i64::MAX));
    Ok(runs)
}

/// True unless these are the hashes of a block and this one is not among them.
fn may_hold(addresses: &[u8], sought: u32) -> bool {
    let (hashes, rest) = addresses.as_chunks::<4>();
    !rest.is_empty() || hashes.binary_search(&sought.to_be_bytes()).is_ok()
}

/// Calls `read` with attempts in the order of their numbers, as long as it says true: those from an address, or all if a
/// network is asked for.
/// # Errors
/// SQLite's, and those of `read`.
pub(super) fn each_of(
    db: &Connection,
    prefix: Prefix,
    columns: &str,
    mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let addr = prefix.is_host().then(|| prefix.addr().to_string());
    let runs = addr.as_deref().map_or_else(|| Ok(vec![(0, i64::MAX)]), |addr| runs_of(db, addr))?;
    let sql =
        format!("SELECT {columns} FROM attempts WHERE id BETWEEN ?1 AND ?2 AND (addr = ?3 OR ?3 IS NULL)");
    let mut select = db.prepare_cached(&sql)?;
    for (first, last) in runs {
        let mut rows = select.query((first, last, &addr))?;
        while let Some(row) = rows.next()? {
            if !read(row)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The numbers of the attempts from an address; nothing if there are more than are worth listing.
/// # Errors
/// SQLite's.
pub(super) fn numbers_of(db: &Connection, host: Prefix) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut numbers = Vec::new();
    each_of(db, host, "id", |row| {
        numbers.push(row.get(0)?);
        Ok(numbers.len() <= MOST_LISTED)
    })?;
    Ok((numbers.len() <= MOST_LISTED).then_some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store whose attempt number `n` is from the address `addr(n)`.
    fn filled(count: i64, addr: impl Fn(i64) -> String) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::SCHEMA).unwrap();
        let transaction = db.transaction().unwrap();
        for number in 1..=count {
            let sql = "INSERT INTO attempts(id, time, jail, addr, points, tries) VALUES (?1, ?1, 'sshd', ?2, 100, 1)";
            transaction.prepare_cached(sql).unwrap().execute((number, addr(number))).unwrap();
        }
        complete(&transaction).unwrap();
        transaction.commit().unwrap();
        db
    }

    fn host(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn only_blocks_that_may_hold_an_address_are_read() {
        let db = filled(5 * BLOCK, |number| match number {
            9_000 | 9_001 => "192.0.2.7".to_owned(),
            _ => format!("198.51.100.{}", number % 100),
        });
        assert_eq!(runs_of(&db, "192.0.2.7").unwrap(), [(2 * BLOCK, 3 * BLOCK - 1), (5 * BLOCK, i64::MAX)]);
        assert_eq!(numbers_of(&db, host("192.0.2.7")).unwrap(), Some(vec![9_000, 9_001]));
        assert_eq!(runs_of(&db, "198.51.100.7").unwrap(), [(0, i64::MAX)]);
        assert_eq!(numbers_of(&db, host("192.0.2.8")).unwrap(), Some(vec![]));
        assert_eq!(numbers_of(&db, host("198.51.100.7")).unwrap().unwrap().len(), 205);
    }

    #[test]
    fn what_has_no_hashes_or_damaged_ones_is_read() {
        let db = filled(5 * BLOCK, |_| "192.0.2.7".to_owned());
        db.execute_batch("DELETE FROM met WHERE block = 1; UPDATE met SET addresses = x'00' WHERE block = 3")
            .unwrap();
        let runs = [(BLOCK, 2 * BLOCK - 1), (3 * BLOCK, 4 * BLOCK - 1), (5 * BLOCK, i64::MAX)];
        assert_eq!(runs_of(&db, "192.0.2.8").unwrap(), runs);
    }

    #[test]
    fn a_store_that_has_none_gets_them_a_few_at_a_time() {
        let mut db = filled(40 * BLOCK, |_| "192.0.2.7".to_owned());
        for expected in [16, 32, 40, 40] {
            let count: i64 = db.query_row("SELECT count(*) FROM met", [], |row| row.get(0)).unwrap();
            assert_eq!(count, expected);
            let transaction = db.transaction().unwrap();
            complete(&transaction).unwrap();
            transaction.commit().unwrap();
        }
        // More than are worth listing.
        assert_eq!(numbers_of(&db, host("192.0.2.7")).unwrap(), None);
    }

    #[test]
    fn numbers_of_complete_blocks_are_not_given_again() {
        let mut db = filled(3 * BLOCK, |_| "192.0.2.7".to_owned());
        assert_eq!(newest_number(&db).unwrap(), 3 * BLOCK);
        db.execute("DELETE FROM attempts WHERE id > 5", []).unwrap();
        assert_eq!(newest_number(&db).unwrap(), 3 * BLOCK - 1);
        let transaction = db.transaction().unwrap();
        forget(&transaction).unwrap();
        transaction.execute("DELETE FROM attempts", []).unwrap();
        forget(&transaction).unwrap();
        transaction.commit().unwrap();
        assert_eq!(newest_number(&db).unwrap(), 0);
    }

    #[test]
    fn numbers_at_the_end_of_all_are_no_block() {
        let mut db = filled(3, |_| "192.0.2.7".to_owned());
        db.execute("UPDATE attempts SET id = ?1 WHERE id = 3", [i64::MAX]).unwrap();
        let transaction = db.transaction().unwrap();
        complete(&transaction).unwrap();
        transaction.commit().unwrap();
        assert_eq!(numbers_of(&db, host("192.0.2.7")).unwrap(), Some(vec![1, 2, i64::MAX]));
    }
}
