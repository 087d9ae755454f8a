//! How a path is begun: at the start or when it appears, read before or never, and perhaps only later readable.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::before::Before;
use super::place::FileId;
use super::tail::Tail;
use super::{Follower, HISTORY_BYTES, Others, Places, open};

/// How a path is begun.
#[derive(Debug, Clone)]
pub(super) enum Begin {
    /// Never read before: what was there at the start is history. If it could not be read then, which file that was
    /// and how long: what came since is not history.
    History(Option<(FileId, u64)>),
    /// Appeared while we watch: everything in it is new.
    Fresh,
    /// Read before, up to these places.
    Resume(Places),
}

impl Begin {
    /// The same for a later try, because the path cannot be read now. A file tells its length even so, unless its
    /// directory is closed too.
    fn later(self, path: &Path) -> Begin {
        match self {
            Begin::History(None) => {
                let status = fs::metadata(path).ok();
                Begin::History(status.map(|status| (FileId::from(&status), status.len())))
            }
            other => other,
        }
    }
}

impl Follower {
    /// Looks at the path for the first time; if it cannot be read, the next look is the first again.
    pub(super) fn begin(&mut self, begin: Begin, others: &mut dyn Others, now: Instant) -> io::Result<()> {
        if self.before.is_none() {
            self.before = Some(Before::of(&self.path, self.format, now));
        }
        let here = match open(&self.path) {
            Ok(here) => here,
            Err(error) => {
                self.begin = Some(begin.later(&self.path));
                return Err(error);
            }
        };
        let file = match (&begin, here) {
            (Begin::Resume(places), here) => return self.resume(places, here.as_ref(), others, now),
            (_, None) => return Ok(()),
            (_, Some(file)) => file,
        };
        let mut tail = match others.adopt(FileId::from(&file.metadata()?)) {
            Some(tail) => tail,
            None => Tail::begin(file, self.format, now)?,
        };
        if tail.offset == 0
            && let Begin::History(unread) = begin
        {
            let size = tail.size()?;
            (tail.history_end, tail.catchup_end) = match unread {
                None => (size, 0),
                Some((id, then)) if id == tail.id && then <= size => (then, size),
                Some(_) => (0, size),
            };
            tail.keep_last(HISTORY_BYTES)?;
        }
        self.is_new = matches!(begin, Begin::Fresh) && tail.offset == 0;
        self.push_current(tail);
        Ok(())
    }
}
