//! Which user names may be shown where others look on: a password that somebody typed in the wrong place is a name, too.
//!
//! Shown is what is tried on every host, and what two sources tried that were banned: nobody's password.

use rusqlite::Connection;

use pillory_core::jail::names::{hash, is_common};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedNames<'db>(pub(crate) &'db Connection);

impl SharedNames<'_> {
    /// True if the name may be shown; what the store cannot tell may not.
    pub(crate) fn shows(self, user: &str) -> bool {
        is_common(user) || self.is_bad(user).unwrap_or(false)
    }

    fn is_bad(self, user: &str) -> rusqlite::Result<bool> {
        let mut statement = self.0.prepare_cached("SELECT source_before <> 0 FROM tried WHERE user = ?1")?;
        statement.query_row([hash(user).cast_signed()], |row| row.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_if_it_is_common_or_two_banned_sources_tried_it() {
        let db = Connection::open_in_memory().unwrap();
        let shown = |user: &str| SharedNames(&db).shows(user);
        assert!(shown("root") && !shown("webmaster"), "without the table, too");
        db.execute_batch(super::super::SCHEMA).unwrap();
        for (user, before) in [("webmaster", 7), ("hunter2", 0)] {
            let values = (hash(user).cast_signed(), 5, 1_000, before, 900);
            db.execute("INSERT INTO tried VALUES (?1, ?2, ?3, ?4, ?5)", values).unwrap();
        }
        let all = ["root", "ubuntu", "admin", "webmaster", "hunter2", "s3cret"].map(shown);
        assert_eq!(all, [true, true, true, true, false, false]);
    }
}
