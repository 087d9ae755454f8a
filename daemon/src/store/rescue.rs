//! Puts a new store in the place of a damaged one.
//!
//! It is made beside it, of all that can still be read, and takes its place once it is complete. Until then the damaged
//! one stays where it is: where the disk has no room for another, and after a crash in between, that is still what knows
//! who is banned. It is written on then, and another is tried again with each write for which there is room.

use std::path::{Path, PathBuf};

use rusqlite::ffi;
use tracing::warn;

#[cfg(test)]
use super::fullness;
use super::salvage::salvage;
use super::{ANEW, StoreError, beside, open_file, put_aside};

/// The new store, until it is complete and the damaged one put aside.
fn new_of(path: &Path) -> PathBuf {
    beside(path, ".new")
}

/// Puts the damaged store at `path` aside and what can be read of it in its place; returns what is to be said of that.
/// `is_behind`: what was written last is lost.
/// # Errors
/// [`StoreError`]; if it is the disk's, the damaged store is where it was.
pub(super) fn rescue(path: &Path, damage: &str, is_behind: bool) -> Result<String, StoreError> {
    let new = new_of(path);
    remove(&new)?;
    let made = make(&new, path, is_behind);
    if made.is_err() {
        remove(&new)?;
    }
    let saved = made?;
    let aside = put_aside(path)?;
    rename(&new, path)?;
    Ok(format!("the store was damaged: {damage}; it was put aside as {}, {saved}", aside.display()))
}

/// True if a damaged store was put aside and the one made of it waits for its place.
pub(super) fn is_interrupted(path: &Path) -> bool {
    !path.exists() && new_of(path).exists()
}

/// Ends what a crash interrupted: a damaged store that was put aside already is replaced, else the new one is not
/// complete. True if there is a new store now.
/// # Errors
/// [`StoreError::Directory`].
pub(super) fn finish(path: &Path) -> Result<bool, StoreError> {
    let new = new_of(path);
    if !new.exists() {
        return Ok(false);
    }
    if path.exists() {
        return remove(&new).map(|()| false);
    }
    warn!(path = %path.display(), "a damaged store was put aside; what could be read of it takes its place");
    // What belonged to the damaged one may lie there still.
    put_aside(path)?;
    rename(&new, path).map(|()| true)
}

/// Makes a store of what can be read of a damaged one, whole in its one file; returns what to say of it.
fn make(new: &Path, damaged: &Path, is_behind: bool) -> Result<String, StoreError> {
    let failed = |cause| StoreError::Database { tried: "rescue", path: damaged.to_owned(), cause };
    // Else it would fill the disk and give that up again, every second.
    if lacks_room_for(damaged) {
        return Err(failed(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None)));
    }
    let mut db = open_file(new)?;
    let saved = match salvage(&mut db, damaged) {
        Ok(saved) if saved.torn.is_empty() => format!("all {} rows were taken over", saved.rows),
        Ok(saved) => {
            let (rows, torn) = (saved.rows, saved.torn.join(", "));
            format!("the {rows} rows that can be read were taken over; some may be missing of: {torn}")
        }
        Err(cause) => {
            let said = format!("not all of it could be taken over ({cause})");
            let error = failed(cause);
            if error.is_the_disks() {
                return Err(error);
            }
            said
        }
    };
    if is_behind {
        db.execute_batch(ANEW).map_err(failed)?;
    }
    // Its log of changes would not go with it.
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
    Ok(saved)
}

/// True if the disk has less room than twice this file: another is written to its log of changes, and then whole.
pub(super) fn lacks_room_for(file: &Path) -> bool {
    #[cfg(test)]
    if fullness::is_short() {
        return true;
    }
    let Some(Ok(disk)) = file.parent().map(rustix::fs::statvfs) else { return false };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    std::fs::metadata(file).is_ok_and(|status| status.len().saturating_mul(2) > room)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).map_err(|cause| StoreError::Directory { path: to.to_owned(), cause })
}

/// Removes a store that is not complete, and what belongs to it.
fn remove(new: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = beside(new, suffix);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path, cause });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::query::{self, Since, Wanted};
    use super::super::tests::ban;
    use super::super::writer::{Write, Writer, Written, commit};
    use super::super::{FILE, META_ANEW, keeper, open_read_only, standing};
    use super::*;
    use pillory_core::machine::Record;
    use std::os::unix::fs::FileExt;

    fn fresh(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("pillory-rescue-{name}-{}", std::process::id()));
        // Left over from a run that was killed; absence is the normal case.
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// A store with a ban, of which a page is damaged that only a write meets.
    fn damaged(name: &str) -> PathBuf {
        let directory = fresh(name);
        let path = directory.join(FILE);
        let mut db = open_file(&path).unwrap();
        let known = Write { meta: vec![(META_ANEW.into(), String::new())], ..banned("192.0.2.7") };
        commit(&mut db, [&known]).unwrap();
        let find = "SELECT rootpage FROM sqlite_master WHERE name = 'history_time'";
        let page: u32 = db.query_row(find, [], |row| row.get(0)).unwrap();
        drop(db);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xA5; 4096], u64::from(page - 1) * 4096).unwrap();
        directory
    }

    fn banned(addr: &str) -> Write {
        Write { records: vec![Record::Banned(ban(addr, None))], ..Write::default() }
    }

    fn bans(directory: &Path) -> Vec<String> {
        let mut started = keeper::start(directory, &directory.join("socket")).unwrap();
        let mut bans: Vec<String> = started
            .read_or_rescue(standing::bans)
            .unwrap()
            .iter()
            .map(|ban| ban.prefix.short().to_string())
            .collect();
        bans.sort();
        bans
    }

    #[test]
    fn a_damaged_store_on_a_full_disk_loses_nobody() {
        let directory = damaged("full");
        let mut started = keeper::start(&directory, &directory.join("socket")).unwrap();
        fullness::set(true, started.store.db()).unwrap();
        let said = started.keep(banned("192.0.2.8")).unwrap().unwrap();
        assert!(said.contains("full") && said.contains("kept in"), "{said}");
        drop(started);
        assert!(!directory.join("pillory.db.broken").exists() && !directory.join("pillory.db.new").exists());
        fullness::set(false, None).unwrap();
        assert_eq!(bans(&directory), ["192.0.2.7", "192.0.2.8"]);
        assert!(directory.join("pillory.db.broken").exists() && !directory.join("pillory.db.new").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_is_nothing_where_the_tables_forbid_that_is_damage() {
        let directory = fresh("nothing");
        let mut db = open_file(&directory.join(FILE)).unwrap();
        let records = (0..300).map(|number| Record::Banned(ban(&format!("10.0.{}.1", number % 256), None)));
        commit(&mut db, [&Write { records: records.collect(), ..Write::default() }]).unwrap();
        // One bit of a row's header tells a 0 from a nothing.
        db.execute_batch(
            "PRAGMA writable_schema = ON;
            UPDATE sqlite_master SET sql = replace(sql, 'failures INTEGER NOT NULL', 'failures INTEGER')
                WHERE name = 'history';
            PRAGMA writable_schema = RESET;
            UPDATE history SET failures = NULL WHERE id = 280;",
        )
        .unwrap();
        drop(db);
        let mut started = keeper::start(&directory, &directory.join("socket")).unwrap();
        let said = started.keep(banned("192.0.2.8")).unwrap().unwrap();
        assert!(said.contains("pillory.db.broken"), "{said}");
        drop(started);
        assert_eq!(bans(&directory).len(), 257);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_start_on_a_full_disk_reads_what_is_left_of_a_damaged_store() {
        for lies_beside in [false, true] {
            let directory = damaged(if lies_beside { "start-beside" } else { "start" });
            let control = directory.join("socket");
            fullness::set(true, None).unwrap();
            if lies_beside {
                // This write meets the damage before anything is read.
                keeper::start(&directory, &control).unwrap().keep(banned("192.0.2.8")).unwrap();
            }
            let mut started = keeper::start(&directory, &control).unwrap();
            let restored = started.restore(Since::default()).unwrap();
            fullness::set(false, None).unwrap();
            assert_eq!(restored.bans.len(), 1 + usize::from(lies_beside));
            assert_eq!(restored.meta.get(META_ANEW).map(String::as_str), Some(""));
            assert!(
                started.trouble.as_ref().is_some_and(StoreError::is_the_disks) && started.unread.is_none()
            );
            assert!(started.broken.as_ref().is_some_and(|said| said.contains("no room for another")));
            // As soon as there is room it is rescued, though what is written then does not meet the damage.
            let broken = directory.join("pillory.db.broken");
            assert!(!broken.exists());
            let mut writer = started.into_writer();
            writer.round(std::iter::once(Write { number: 1, ..Write::default() }));
            assert!(broken.exists());
            drop(writer);
            assert_eq!(bans(&directory).len(), restored.bans.len());
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }

    /// A daemon that met the damage on a disk that has no room for another store.
    fn refused(directory: &Path) -> Writer {
        fullness::set_short(true);
        let mut started = keeper::start(directory, &directory.join("socket")).unwrap();
        started.restore(Since::default()).unwrap();
        assert!(started.trouble.as_ref().is_some_and(StoreError::is_the_disks));
        started.into_writer()
    }

    fn switched_off(number: u64) -> Write {
        Write { number, meta: vec![("off".into(), number.to_string())], ..Write::default() }
    }

    fn is_off(directory: &Path) -> Option<String> {
        query::meta(&open_read_only(directory).unwrap(), "off").unwrap()
    }

    #[test]
    fn a_damaged_store_without_room_for_another_is_written_on_until_there_is() {
        let directory = damaged("on");
        let mut writer = refused(&directory);
        let broken = directory.join("pillory.db.broken");
        for number in [1, 2] {
            let told = writer.round(std::iter::once(switched_off(number)));
            assert!(matches!(told[..], [Written::UpTo(..)]), "{told:?}");
            assert_eq!(is_off(&directory), Some(number.to_string()));
            assert!(!broken.exists());
        }
        fullness::set_short(false);
        let told = writer.round(std::iter::once(switched_off(3)));
        assert!(matches!(told[..], [Written::UpTo(3, _), Written::Lacks(Some(_))]), "{told:?}");
        assert!(broken.exists());
        assert_eq!(is_off(&directory).as_deref(), Some("3"));
        drop(writer);
        assert_eq!(bans(&directory), ["192.0.2.7"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_damaged_store_that_is_removed_or_replaced_is_damaged_no_more() {
        for is_replaced in [false, true] {
            let directory = damaged(if is_replaced { "replaced" } else { "removed" });
            let mut writer = refused(&directory);
            fullness::set_short(false);
            let (path, other) = (directory.join(FILE), directory.join("other"));
            if is_replaced {
                commit(&mut open_file(&other).unwrap(), [&banned("192.0.2.9")]).unwrap();
                std::fs::rename(&other, &path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
            let told = writer.round(std::iter::once(switched_off(1)));
            assert!(matches!(told[..], [Written::Lacks(None)]), "{told:?}");
            let snapshot = Some(vec![ban("192.0.2.6", None)]);
            let told = writer.round(std::iter::once(Write { number: 2, snapshot, ..Write::default() }));
            assert!(matches!(told[..], [Written::UpTo(2, _)]), "{told:?}");
            drop(writer);
            assert!(!directory.join("pillory.db.broken").exists());
            let known = query::history(&open_read_only(&directory).unwrap(), &Wanted::default()).unwrap();
            assert_eq!((bans(&directory), known.len()), (vec!["192.0.2.6".into()], usize::from(is_replaced)));
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }

    #[test]
    fn a_rescue_that_was_interrupted_and_is_ended_later_is_not_made_twice() {
        let directory = damaged("twice");
        let (path, broken) = (directory.join(FILE), directory.join("pillory.db.broken"));
        let mut writer = refused(&directory);
        fullness::set_short(false);
        make(&new_of(&path), &path, false).unwrap();
        std::fs::rename(&path, &broken).unwrap();
        let put_aside = std::fs::read(&broken).unwrap();
        let told = writer.round(std::iter::once(switched_off(1)));
        assert!(matches!(told[..], [Written::UpTo(1, _), Written::Lacks(Some(_))]), "{told:?}");
        drop(writer);
        assert_eq!(std::fs::read(&broken).unwrap(), put_aside);
        assert_eq!((bans(&directory), is_off(&directory).as_deref()), (vec!["192.0.2.7".into()], Some("1")));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn time_goes_on_from_what_is_left_of_a_damaged_store() {
        let directory = damaged("time");
        let mut started = keeper::start(&directory, &directory.join("socket")).unwrap();
        let last = started.last_write(crate::clock::latest_believed());
        assert_eq!(last, ban("192.0.2.7", None).since);
        assert!(directory.join("pillory.db.broken").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_rescue_that_a_crash_interrupted_is_ended() {
        let directory = damaged("crash");
        let path = directory.join(FILE);
        make(&new_of(&path), &path, false).unwrap();
        std::fs::write(directory.join("pillory.db-wal"), "of the damaged one").unwrap();
        std::fs::rename(&path, directory.join("pillory.db.broken")).unwrap();
        assert_eq!(bans(&directory), ["192.0.2.7"]);
        assert!(directory.join("pillory.db.broken-wal").exists() && !new_of(&path).exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_new_store_that_is_not_complete_is_given_up() {
        let directory = damaged("half");
        let path = directory.join(FILE);
        drop(open_file(&new_of(&path)).unwrap());
        assert_eq!(bans(&directory), ["192.0.2.7"]);
        assert!(!new_of(&path).exists() && !directory.join("pillory.db.broken").exists());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
