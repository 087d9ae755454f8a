//! What is kept while a directory is read: files that several jails share, and what was found so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::filter::settings::definition::Fault;
use crate::filter::settings::{Files, Loader, Options, Place, Settings, Work};

use super::{DaemonSettings, Fail2ban, Problem, seconds};

/// The state of one reading.
pub(super) struct Reader<'a> {
    pub(super) base: String,
    pub(super) loader: Loader<'a>,
    /// Filters and actions by their path below the directory; nothing if not there.
    pub(super) loaded: BTreeMap<String, Option<Arc<Settings>>>,
    pub(super) every_jail: bool,
    pub(super) out: Fail2ban,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Files, base: &str, every_jail: bool) -> Self {
        Self {
            base: base.to_owned(),
            loader: Loader::new(files),
            loaded: BTreeMap::new(),
            every_jail,
            out: Fail2ban::default(),
        }
    }

    /// A filter or an action, read once for all jails.
    pub(super) fn load(&mut self, path: &str) -> Option<Arc<Settings>> {
        if let Some(known) = self.loaded.get(path) {
            return known.clone();
        }
        let loaded = self.loader.load(&format!("{}/{path}", self.base)).map(Arc::new);
        self.loaded.insert(path.to_owned(), loaded.clone());
        loaded
    }

    /// Takes over what the files themselves have wrong.
    pub(super) fn take_problems(&mut self) {
        for (place, problem) in self.loader.take_problems() {
            self.out.problems.push(said(&place, None, &problem.to_string()));
        }
    }

    /// Says a sentence, once.
    pub(super) fn notice(&mut self, sentence: String) {
        if !self.out.notices.contains(&sentence) {
            self.out.notices.push(sentence);
        }
    }

    /// Reads `fail2ban.conf`.
    pub(super) fn daemon_settings(&mut self) {
        let Some(settings) = self.loader.load(&format!("{}/fail2ban", self.base)) else {
            self.take_problems();
            return;
        };
        self.take_problems();
        let mut work = Work::default();
        let mut text = |key: &str| match settings.get("Definition", key, &Options::new(), &mut work) {
            Ok(text) => text,
            Err(problem) => {
                let place = settings.place("Definition", key);
                self.out.problems.push(said(&place, None, &format!("{key}: {problem}")));
                None
            }
        };
        let mut daemon = DaemonSettings::default();
        for (key, place) in [
            ("loglevel", &mut daemon.loglevel),
            ("logtarget", &mut daemon.logtarget),
            ("syslogsocket", &mut daemon.syslogsocket),
            ("allowipv6", &mut daemon.allowipv6),
        ] {
            if let Some(text) = text(key) {
                *place = text;
            }
        }
        if let Some(file) = text("dbfile") {
            daemon.dbfile = Some(file).filter(|file| file.to_lowercase() != "none" && file != ":memory:");
        }
        let (matches, age) = (text("dbmaxmatches"), text("dbpurgeage"));
        let mut misfit = |key: &str, text: &str, why: &str| {
            let place = settings.place("Definition", key);
            self.out.problems.push(said(&place, None, &format!("{key} {text:?} {why}")));
        };
        if let Some(text) = matches {
            daemon.dbmaxmatches = text.trim().parse().ok();
            if daemon.dbmaxmatches.is_none() {
                misfit("dbmaxmatches", &text, "is no number; write for example 10");
            }
        }
        if let Some(text) = age {
            match seconds::span(&text) {
                Ok(span) => daemon.dbpurgeage = span,
                Err(why) => misfit("dbpurgeage", &text, &format!("{why}; write for example 1d")),
            }
        }
        self.out.settings = daemon;
    }
}

/// A problem of a message that names the cure behind its last semicolon.
pub(super) fn said(place: &Place, jail: Option<&str>, message: &str) -> Problem {
    let (what, cure) = message.rsplit_once("; ").unwrap_or((message, ""));
    Problem {
        file: place.file.to_string(),
        line: place.line,
        jail: jail.map(str::to_owned),
        what: what.to_owned(),
        cure: cure.to_owned(),
    }
}

/// A value that cannot be filled in.
pub(super) fn fault(fault: &Fault, jail: &str) -> Problem {
    said(&fault.place, Some(jail), &fault.problem.to_string())
}
