//! Takes out of a damaged database what can still be read.
//!
//! A page that makes no sense ends a walk over its table; a walk from the other end finds what lies behind it. Indices
//! are made anew. `SQLite` keeps no checksums: a value may be wrong all the same, and what makes no sense of what was
//! taken over is skipped where it is read.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction};

use super::{META_ANEW, query, standing};

/// What undoes the mark of a new store.
const KNOWN: &str = "INSERT OR REPLACE INTO meta VALUES ('anew', '');";

/// What became of a damaged database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// So many rows were taken over.
    pub(super) rows: usize,
    /// Tables of which something may be missing.
    pub(super) torn: Vec<&'static str>,
}

/// Tables with the ends from which they are walked; what matters most first.
const TABLES: [(&str, [&str; 2]); 6] = [
    ("meta", ["key", "key DESC"]),
    ("bans", ["prefix, jail", "prefix DESC, jail DESC"]),
    ("history", ["id", "id DESC"]),
    ("positions", ["stream", "stream DESC"]),
    ("tried", ["user", "user DESC"]),
    ("attempts", ["id", "id DESC"]),
];

/// Copies from the file `damaged` into a new store, which stays marked as new if bans may be missing.
/// # Errors
/// SQLite's, from opening the one and from writing the other; what was copied by then stays.
pub(super) fn salvage(new: &mut Connection, damaged: &Path) -> rusqlite::Result<Salvaged> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    salvage_from(&Connection::open_with_flags(damaged, flags)?, new)
}

/// The same from a database that is open.
/// # Errors
/// SQLite's, from writing the new one.
pub(super) fn salvage_from(old: &Connection, new: &mut Connection) -> rusqlite::Result<Salvaged> {
    // One that no daemon has brought the kernel's bans into yet does not tell all of them.
    let was_anew = query::meta(old, META_ANEW).is_ok_and(|mark| mark.is_some_and(|mark| !mark.is_empty()));
    let mut salvaged = Salvaged { rows: 0, torn: Vec::new() };
    for (table, ends) in TABLES {
        let transaction = new.transaction()?;
        // A log whose position is lost is read again from its beginning: its failures must not count twice.
        let counts_again = table == "attempts" && salvaged.torn.contains(&"positions");
        let wanted = if counts_again { "WHERE class IS NULL" } else { "" };
        let mut walk = |end| walk(old, &transaction, (table, wanted, end), &mut salvaged.rows);
        // A walk that came through needs no second one.
        let is_whole = walk(ends[0])?;
        if !is_whole {
            walk(ends[1])?;
        }
        salvaged.torn.extend((!is_whole || counts_again).then_some(table));
        if table == "history" && !standing::is_told(old).unwrap_or(true) {
            standing::is_merged(&transaction)?;
        }
        if table == "history" && salvaged.torn.is_empty() && !was_anew {
            transaction.execute_batch(KNOWN)?;
        }
        transaction.commit()?;
    }
    Ok(salvaged)
}

/// Copies rows until one cannot be read; true if all were, with all that they hold.
fn walk(
    old: &Connection,
    new: &Transaction<'_>,
    (table, wanted, end): (&str, &str, &str),
    count: &mut usize,
) -> rusqlite::Result<bool> {
    let Ok((columns, is_whole)) = columns_of(old, new, table) else { return Ok(false) };
    let (names, places) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let Ok(mut select) = old.prepare(&format!("SELECT {names} FROM {table} {wanted} ORDER BY {end}")) else {
        return Ok(false);
    };
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table}({names}) VALUES ({places})"))?;
    let Ok(mut rows) = select.query([]) else { return Ok(false) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(is_whole),
            Err(_) => return Ok(false),
        };
        let values: rusqlite::Result<Vec<Value>> = (0..columns.len()).map(|column| row.get(column)).collect();
        // What is no text within a text is no row of ours.
        let Ok(values) = values else { continue };
        *count += insert.execute(rusqlite::params_from_iter(values))?;
    }
}

/// The columns of a table that both stores have, as an older version's may have fewer; false if the old one has others.
/// In a damaged schema a name may be anything, which `rusqlite`'s own list of names does not bear.
fn columns_of(old: &Connection, new: &Connection, table: &str) -> rusqlite::Result<(Vec<String>, bool)> {
    let (there, known) = (names_of(old, table)?, names_of(new, table)?);
    let is_whole = there.iter().all(|name| known.contains(name));
    let both = known.into_iter().filter(|name| there.contains(name));
    Ok((both.filter_map(|name| String::from_utf8(name).ok()).collect(), is_whole))
}

fn names_of(db: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut select = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let bytes = |row: &rusqlite::Row<'_>| row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).map_err(Into::into);
    select.query_map([table], bytes)?.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    use super::*;
    use crate::store::{FILE, open, open_file};

    /// A database of 600 bans and as many attempts.
    fn filled(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("pillory-salvage-{name}-{}", std::process::id()));
        // Left over from a run that was killed; absence is the normal case.
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        let (db, _) = open(&directory).unwrap();
        let numbers = "WITH n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n WHERE n < 599)";
        let fill = format!(
            "BEGIN; INSERT OR REPLACE INTO meta VALUES ('off', ''), ('anew', '');
            INSERT INTO positions VALUES ('file:/var/log/auth.log', 'here');
            {numbers} INSERT INTO bans
                SELECT printf('192.0.%d.%d/32', n / 250, n % 250), 'sshd', 1, 9, 5, 'why', 'local', '', 0 FROM n;
            {numbers} INSERT INTO attempts SELECT NULL, n, 'sshd', '192.0.2.7', 'root',
                CASE n % 2 WHEN 0 THEN 'root' END, 200, 1, NULL, NULL, NULL FROM n;
            COMMIT;"
        );
        db.execute_batch(&fill).unwrap();
        directory
    }

    /// Overwrites the page where this table or index begins.
    fn damage(directory: &Path, what: &str) {
        let db = Connection::open(directory.join(FILE)).unwrap();
        let find = "SELECT rootpage FROM sqlite_master WHERE name = ?1";
        let page: u32 = db.query_row(find, [what], |row| row.get(0)).unwrap();
        drop(db);
        let file = std::fs::File::options().write(true).open(directory.join(FILE)).unwrap();
        file.write_all_at(&[0xA5; 4096], u64::from(page - 1) * 4096).unwrap();
    }

    fn salvaged(directory: &Path) -> (Connection, Salvaged) {
        let mut new = open_file(&directory.join("new")).unwrap();
        let salvaged = salvage(&mut new, &directory.join(FILE)).unwrap();
        std::fs::remove_dir_all(directory).unwrap();
        (new, salvaged)
    }

    fn count(db: &Connection, table: &str) -> u32 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn damaged_indices_lose_nothing() {
        let directory = filled("index");
        damage(&directory, "attempts_time");
        let (new, salvaged) = salvaged(&directory);
        assert_eq!((count(&new, "bans"), count(&new, "attempts"), salvaged.torn.len()), (600, 600, 0));
        assert_eq!(query::meta(&new, META_ANEW).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn a_store_that_was_new_and_is_damaged_is_new_still() {
        let directory = filled("anew");
        Connection::open(directory.join(FILE)).unwrap().execute_batch(crate::store::ANEW).unwrap();
        damage(&directory, "attempts_time");
        let (new, salvaged) = salvaged(&directory);
        assert_eq!((count(&new, "bans"), salvaged.torn.len()), (600, 0));
        assert_eq!(query::meta(&new, META_ANEW).unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn what_lies_on_both_sides_of_a_damaged_page_is_found() {
        let directory = filled("leaf");
        let path = directory.join(FILE);
        // The middle of a table of many pages: one of its leaves.
        let text = std::fs::read(&path).unwrap();
        let leaf =
            text.chunks(4096).position(|page| page.windows(13).any(|at| at == b"192.0.1.7/32s")).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xA5; 4096], leaf as u64 * 4096).unwrap();
        let (new, salvaged) = salvaged(&directory);
        assert_eq!(salvaged.torn, ["bans"]);
        let bans = standing::bans(&new).unwrap();
        let has = |prefix: &str| bans.iter().any(|ban| ban.prefix.to_string() == prefix);
        assert!(has("192.0.0.0/32") && has("192.0.2.99/32"), "{bans:?}");
        assert!((300..600).contains(&bans.len()), "{}", bans.len());
        // Bans are missing, so the kernel's are to be believed.
        assert_eq!(query::meta(&new, META_ANEW).unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn a_column_that_is_called_by_no_text_tears_its_table_only() {
        let directory = filled("column");
        let path = directory.join(FILE);
        let mut file = std::fs::read(&path).unwrap();
        let told = b"CREATE TABLE positions";
        let at = file.windows(told.len()).position(|at| at == told).unwrap();
        let name = file[at..].windows(6).position(|at| at == b"stream").unwrap();
        file[at + name] = 0xFF;
        std::fs::write(&path, file).unwrap();
        let (new, salvaged) = salvaged(&directory);
        assert_eq!(salvaged.torn, ["positions", "attempts"]);
        assert_eq!((count(&new, "bans"), count(&new, "attempts")), (600, 300));
    }

    #[test]
    fn failures_of_logs_that_are_read_again_are_left_out() {
        let directory = filled("positions");
        damage(&directory, "positions");
        let (new, salvaged) = salvaged(&directory);
        assert_eq!(salvaged.torn, ["positions", "attempts"]);
        assert_eq!((count(&new, "bans"), count(&new, "attempts")), (600, 300));
    }
}
