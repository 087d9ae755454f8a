//! A section with keys of its own, read key by key: every problem of it is told, and each key that it does not have.

use crate::config::raw::Value;
use crate::suggest::did_you_mean;

use super::{Misfit, Misfits, Row};

/// See the module.
pub(super) struct Section<'v> {
    rows: &'v [(String, Value)],
    /// Its keys, as the manual has them.
    keys: &'static [Row],
    /// Those of them that mean something here.
    known: Vec<&'static str>,
    misfits: Vec<Misfit>,
}

impl<'v> Section<'v> {
    /// # Errors
    /// [`Misfit`] if it is no table.
    pub(super) fn new(
        value: &'v Value,
        cure: &'static str,
        keys: &'static [Row],
    ) -> Result<Section<'v>, Misfit> {
        match value {
            Value::Table(rows) => Ok(Section { rows, keys, known: Vec::new(), misfits: Vec::new() }),
            _ => Err(Misfit("is no table".into(), cure)),
        }
    }

    /// True if the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.rows.iter().any(|(name, _)| name == key)
    }

    /// The value of a key that may be left out. One that the manual lacks is unknown, whoever asks for it.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, Misfit>,
    ) -> Option<T> {
        self.known.extend(self.keys.iter().map(|(name, _)| *name).filter(|name| *name == key));
        let (_, value) = self.rows.iter().find(|(name, _)| name == key)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(Misfit(what, cure)) => {
                self.misfits.push(Misfit(format!("{key} {what}"), cure));
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        cure: &'static str,
        read: impl Fn(&Value) -> Result<T, Misfit>,
    ) -> Option<T> {
        if !self.has(key) {
            self.refuse(format!("{key} is missing"), cure);
        }
        self.take(key, read)
    }

    /// Notes what is wrong with several keys together.
    pub(super) fn refuse(&mut self, what: String, cure: &'static str) {
        self.misfits.push(Misfit(what, cure));
    }

    /// What was made of it, if nothing is wrong.
    /// # Errors
    /// Everything that is.
    pub(super) fn finish<T>(mut self, made: Option<T>) -> Result<T, Misfits> {
        let unknown = self.rows.iter().filter(|(name, _)| !self.known.contains(&name.as_str()));
        let unknown: Vec<Misfit> =
            unknown.map(|(name, _)| no_key(name, self.known.iter().copied())).collect();
        self.misfits.extend(unknown);
        match made {
            Some(made) if self.misfits.is_empty() => Ok(made),
            _ => Err(Misfits(self.misfits)),
        }
    }
}

/// What is said of a key that a section does not have.
pub(super) fn no_key(name: &str, known: impl IntoIterator<Item = &'static str>) -> Misfit {
    let meant = did_you_mean(name, known);
    let cure = if meant.is_empty() { "remove it or mend its spelling" } else { "else remove it" };
    Misfit(format!("there is no key {name:?}{meant}"), cure)
}

/// Reads the sections of a table, each under its name; every problem names its section.
pub(super) fn each<T>(
    value: &Value,
    cure: &'static str,
    read: impl Fn(&str, &Value) -> Result<T, Misfits>,
) -> Result<Vec<T>, Misfits> {
    let Value::Table(sections) = value else {
        return Err(Misfit("is no table".into(), cure).into());
    };
    let (mut all, mut misfits) = (Vec::new(), Vec::new());
    for (name, keys) in sections {
        match read(name, keys) {
            Ok(one) => all.push(one),
            Err(Misfits(found)) => {
                let named = |Misfit(what, cure)| Misfit(format!("{name}: {what}"), cure);
                misfits.extend(found.into_iter().map(named));
            }
        }
    }
    Misfits::none(misfits).map(|()| all)
}
