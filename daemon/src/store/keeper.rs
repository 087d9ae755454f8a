//! The store as the daemon keeps it: the open database, the lock of its directory, and what to do when the disk
//! takes nothing or somebody takes the file away.
//!
//! A disk that is full, read-only or broken keeps nobody from being banned: the daemon then starts from a copy in
//! memory, writes to the [`Spill`], and opens the database as soon as the disk lets it. A database that is found to be
//! damaged, at the start or at any write, is put aside, and a new one begins with what can still be read of it; without
//! room for another it is written on until there is.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use pillory_core::time::Timestamp;
use rusqlite::Connection;
use tracing::warn;

use super::copy::{Copy, copy, copy_of_damaged};
use super::damaged::{Damaged, Identity, identity};
use super::query::{self, Restored, Since};
use super::rescue::{finish, is_interrupted, lacks_room_for, rescue};
use super::spill::{META_SPILLED, Spill};
use super::wal;
use super::writer::{Write, Writer, commit};
use super::{ANEW, FILE, StoreError, create_private, lock, open, open_file};

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    lock: Option<OwnedFd>,
    open: Option<Open>,
    spill: Spill,
    /// What was wrong with a file that was put aside.
    broken: Option<String>,
    /// It was rescued, and what was being written then is not in it.
    lacks: bool,
    /// What was written last is lost, and the database does not say so yet.
    is_behind: bool,
    /// It is damaged, and the disk had no room for another.
    damaged: Option<Damaged>,
}

/// The database and its file.
#[derive(Debug)]
struct Open {
    db: Connection,
    file: Identity,
}

/// What a daemon starts with.
#[derive(Debug)]
pub(crate) struct Started {
    /// The store.
    pub(crate) store: Store,
    /// The copy in memory, if the store takes nothing now.
    copy: Option<Connection>,
    /// What an earlier daemon kept beside the store and what is not in it yet.
    pub(crate) spilled: Vec<Write>,
    /// Why the store takes nothing now.
    pub(crate) trouble: Option<StoreError>,
    /// Why nothing is known of what it holds.
    pub(crate) unread: Option<StoreError>,
    /// What was wrong with the store before, if it had to begin anew and something of it was there.
    pub(crate) broken: Option<String>,
}

impl Started {
    /// One setting that an earlier daemon kept; nothing if it cannot be read.
    pub(crate) fn meta(&mut self, key: &str) -> Option<String> {
        let found = self.read_or_rescue(|db| query::meta(db, key));
        found.ok().flatten().filter(|value| !value.is_empty())
    }

    /// When it was last written, as far as that is believed; 0 if it cannot be read, which is noted when all of it is.
    /// Of a damaged store what is left says so: time would go back behind it, and forward again with the next start.
    pub(crate) fn last_write(&mut self, latest: Timestamp) -> Timestamp {
        self.read_or_rescue(|db| query::last_write(db, latest)).unwrap_or_default()
    }

    /// Reads what was kept; a disk that cannot be read is noted, and nothing is known then.
    /// # Errors
    /// [`StoreError`], for what is not the disk's fault.
    pub(crate) fn restore(&mut self, since: Since) -> Result<Restored, StoreError> {
        let restored = self.read_or_rescue(|db| query::restore(db, since));
        restored.or_else(|error| {
            if !error.is_the_disks() {
                return Err(error);
            }
            self.unread = Some(error);
            Ok(Restored::default())
        })
    }

    /// Reads from the store, or from the copy of it. A store that turns out to be damaged is put aside, and what is
    /// left of it read.
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn read_or_rescue<T: Default>(
        &mut self,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match self.read(&read) {
            Err(damage) if damage.is_damage() && self.copy.is_none() => {
                match self.store.rescue(&damage.to_string()) {
                    Err(trouble) if trouble.is_the_disks() => {
                        let (copy, said) = copy_of_damaged(&self.store.path(), &damage)?;
                        (self.copy, self.broken, self.trouble) = (Some(copy), Some(said), Some(trouble));
                    }
                    rescued => {
                        rescued?;
                        self.broken = self.store.broken.take();
                    }
                }
                self.read(&read)
            }
            done => done,
        }
    }

    fn read<T: Default>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let db = self.copy.as_ref().or(self.store.db());
        db.map_or_else(|| Ok(T::default()), read).map_err(|cause| self.store.failed("read", cause))
    }

    /// What goes on writing to it.
    pub(crate) fn into_writer(self) -> Writer {
        Writer::new(self.store, self.spilled, self.unread.is_some())
    }

    /// Writes, or sets aside what the disk does not take; returns what is to be said of that.
    /// # Errors
    /// [`StoreError`]; then nothing is kept.
    pub(crate) fn keep(&mut self, write: Write) -> Result<Option<String>, StoreError> {
        let trouble = match self.trouble.take() {
            Some(trouble) => trouble,
            None => match self.store.commit_or_rescue(std::slice::from_ref(&write)) {
                Err(trouble) if trouble.is_the_disks() => trouble,
                done => return done.map(|()| self.store.broken.take().or_else(|| self.broken.take())),
            },
        };
        if self.store.set_aside(&[write]).is_err() {
            return Err(trouble);
        }
        let path = self.store.spill_path().display();
        Ok(Some(format!(
            "not on disk ({trouble}), but kept in {path} until it takes it; a reboot before that loses it"
        )))
    }
}

/// Opens the store for a daemon, on a disk that takes nothing too.
/// # Errors
/// [`StoreError`], for what is not the disk's fault.
pub(crate) fn start(directory: &Path, control: &Path) -> Result<Started, StoreError> {
    let mut store = Store::at(directory, control);
    let (spilled, unusable) = store.spill.read();
    let taken_over = store.take_over(&spilled);
    if let Some(error) = unusable.filter(|_| !matches!(&taken_over, Err(error) if !error.is_the_disks())) {
        let path = store.spill.path().display();
        warn!(%path, %error, "what was kept beside the store cannot be used");
    }
    let trouble = match taken_over {
        Ok(()) => {
            let broken = store.broken.take();
            return Ok(Started {
                store,
                copy: None,
                spilled: Vec::new(),
                trouble: None,
                unread: None,
                broken,
            });
        }
        Err(trouble) if trouble.is_the_disks() => trouble,
        Err(other) => return Err(other),
    };
    if store.lock.is_none() && directory.is_dir() {
        store.lock = Some(lock(directory)?);
    }
    let Copy { db: copy, unread, broken, damage } = copy(directory, &spilled)?;
    let damage = damage.map(|how| Damaged::new(&store.path(), how));
    store.damaged = store.damaged.or(damage);
    if store.is_behind {
        copy.execute_batch(ANEW).map_err(|cause| store.failed("copy", cause))?;
    }
    let broken = store.broken.take().or(broken);
    Ok(Started { store, copy: Some(copy), spilled, trouble: Some(trouble), unread, broken })
}

impl Store {
    /// The store of `directory`; nothing is opened yet.
    fn at(directory: &Path, control: &Path) -> Store {
        let spill = Spill::beside(control, directory);
        let directory = directory.to_owned();
        Store {
            directory,
            lock: None,
            open: None,
            spill,
            broken: None,
            lacks: false,
            is_behind: false,
            damaged: None,
        }
    }

    /// The database, if it is open.
    pub(crate) fn db(&self) -> Option<&Connection> {
        self.open.as_ref().map(|open| &open.db)
    }

    /// The file that keeps what the store cannot take.
    pub(crate) fn spill_path(&self) -> &Path {
        self.spill.path()
    }

    /// Opens it and brings what lay beside it in.
    fn take_over(&mut self, spilled: &[Write]) -> Result<(), StoreError> {
        let known = match self.taken_over_last() {
            Err(error) if error.is_damage() => {
                self.rescue(&error.to_string())?;
                self.taken_over_last()
            }
            known => known,
        }?;
        if spilled.is_empty() || known.as_deref() == self.spill.id() {
            return self.clear_spill();
        }
        warn!(writes = spilled.len(), "what was kept beside the store is taken over");
        self.commit_or_rescue(spilled)
    }

    /// The name of the last spill that was taken over.
    fn taken_over_last(&mut self) -> Result<Option<String>, StoreError> {
        let known = query::meta(&self.opened()?.db, META_SPILLED);
        known.map_err(|cause| self.failed("read", cause))
    }

    fn opened(&mut self) -> Result<&mut Open, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_anew()?,
        };
        Ok(self.open.insert(open))
    }

    fn open_anew(&mut self) -> Result<Open, StoreError> {
        create_private(&self.directory)?;
        if self.lock.is_none() {
            self.lock = Some(lock(&self.directory)?);
        }
        let path = self.path();
        let is_finished = finish(&path)?;
        self.look_at_damage(&path, is_finished);
        // Without room for another it is written on: what it takes is durable. If a rescue fails although there seemed to
        // be room, the disk takes nothing, and all is set aside: the next start would find the damage again and believe
        // the kernel instead of what was written into this file.
        if let Some(damaged) = self.damaged.take_if(|_| !lacks_room_for(&path)) {
            return self.rescued(&damaged.how);
        }
        self.look_at_log(&path);
        let opened = open(&self.directory).and_then(|(db, broken)| Ok((self.doubted(db)?, broken)));
        let (db, broken) = match opened {
            Err(error) if error.is_damage() => return self.rescued(&error.to_string()),
            opened => opened?,
        };
        if let Some(broken) = broken {
            warn!(reason = %broken, "the store was broken");
            (self.broken, self.damaged) = (Some(broken), None);
        }
        let file = identity(&path).map_err(|cause| StoreError::Directory { path, cause })?;
        Ok(Open { db, file })
    }

    /// Forgets the damage if there is another file by now, which knows less than the engine. `is_finished`: that is the one
    /// made of it.
    fn look_at_damage(&mut self, path: &Path, is_finished: bool) {
        let Some(said) = self.damaged.as_ref().and_then(|damaged| damaged.became(path, is_finished)) else {
            return;
        };
        warn!(reason = %said, "the store is another one");
        (self.damaged, self.broken, self.lacks) = (None, Some(said), true);
    }

    /// Notes what the log of changes has lost; opening the database passes over it in silence.
    fn look_at_log(&mut self, path: &Path) {
        let Some(damage) = wal::damage(path) else { return };
        if let Err(error) = damage.put_aside(path) {
            warn!(path = %path.display(), %error, "cannot put a damaged log of changes aside");
        }
        let said = damage.said(path);
        warn!(reason = %said, "the store's log of changes was damaged");
        if damage.loses {
            (self.broken, self.lacks, self.is_behind) = (Some(said), true, true);
        }
    }

    /// Marks a database whose log lost something, for then the kernel may know more.
    fn doubted(&mut self, db: Connection) -> Result<Connection, StoreError> {
        if self.is_behind {
            wal::doubt(&db).map_err(|cause| self.failed("check", cause))?;
            self.is_behind = false;
        }
        Ok(db)
    }

    /// Writes a group as one transaction. What lay beside the store is taken to be part of it.
    /// # Errors
    /// [`StoreError`]; then nothing of the group was written.
    pub(crate) fn commit(&mut self, group: &[Write]) -> Result<(), StoreError> {
        let mark = self
            .spill
            .id()
            .map(|id| Write { meta: vec![(META_SPILLED.into(), id.to_owned())], ..Write::default() });
        if self.damaged.is_some() && !lacks_room_for(&self.path()) {
            // It is rescued when it is opened next.
            self.open = None;
        }
        let db = &mut self.opened()?.db;
        if let Err(cause) = commit(db, group.iter().chain(&mark)) {
            if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) {
                // Once opened for reading only, it stays so, whatever becomes of the disk.
                self.open = None;
            }
            let error = self.failed("write", cause);
            if error.is_damage() {
                self.rescue(&error.to_string())?;
            }
            return Err(error);
        }
        self.clear_spill()
    }

    /// The same; if the database turns out to be damaged, the new one gets the group.
    /// # Errors
    /// As those of [`Store::commit`].
    fn commit_or_rescue(&mut self, group: &[Write]) -> Result<(), StoreError> {
        match self.commit(group) {
            Err(error) if error.is_damage() => self.commit(group),
            committed => committed,
        }
    }

    /// Puts a damaged database aside and begins a new one with what can still be read of it.
    fn rescue(&mut self, damage: &str) -> Result<(), StoreError> {
        self.open = None;
        self.open = Some(self.rescued(damage)?);
        Ok(())
    }

    fn rescued(&mut self, damage: &str) -> Result<Open, StoreError> {
        let path = self.path();
        // A disk that has no room for another now is asked again before later writes, for not every one meets the damage.
        self.damaged = Some(Damaged::new(&path, damage.to_owned()));
        let said = rescue(&path, damage, self.is_behind)?;
        self.damaged = None;
        warn!(reason = %said, "the store begins anew");
        (self.broken, self.lacks, self.is_behind) = (Some(said), true, false);
        let db = open_file(&path)?;
        let file = identity(&path).map_err(|cause| StoreError::Directory { path, cause })?;
        Ok(Open { db, file })
    }

    /// What is to be said if the store was rescued since this was asked last: a snapshot is needed.
    pub(super) fn take_rescued(&mut self) -> Option<String> {
        std::mem::take(&mut self.lacks).then(|| self.broken.take()).flatten()
    }

    fn clear_spill(&mut self) -> Result<(), StoreError> {
        if let Err(error) = self.spill.clear() {
            // The store knows that it has it.
            warn!(path = %self.spill.path().display(), %error, "cannot remove what the store has taken over");
        }
        Ok(())
    }

    /// Keeps writes beside the store.
    /// # Errors
    /// The system's.
    pub(crate) fn set_aside(&mut self, writes: &[Write]) -> std::io::Result<()> {
        self.spill.append(writes)
    }

    /// True, once, if somebody removed or replaced the file since it was opened or found damaged; it is opened anew at
    /// the next write.
    pub(crate) fn is_gone(&mut self) -> bool {
        let damaged = || self.damaged.as_ref().and_then(|damaged| damaged.file);
        let Some(known) = self.open.as_ref().map(|open| open.file).or_else(damaged) else { return false };
        let path = self.path();
        let is_gone = match identity(&path) {
            Ok(found) => found != known,
            // We put it aside ourselves, if it was not open.
            Err(_) if self.open.is_none() && is_interrupted(&path) => false,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if is_gone {
            // The lock may have gone with the directory.
            (self.open, self.lock, self.damaged) = (None, None, None);
        }
        is_gone
    }

    /// The database file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn failed(&self, tried: &'static str, cause: rusqlite::Error) -> StoreError {
        StoreError::Database { tried, path: self.path(), cause }
    }
}
