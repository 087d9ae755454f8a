//! What is wrong with a host, or worth knowing, with the cure: what `pillory doctor` and the running daemon both look for.

pub(crate) mod disk;
pub(crate) mod rivals;

use std::path::PathBuf;

use pillory_core::suggest::with_cure;
use pillory_core::time::Timestamp;

/// Something that is wrong, with the cure; or something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A short name, stable for scripts.
    pub(crate) id: &'static str,
    /// What was found.
    pub(crate) what: String,
    /// What to do; empty for notes.
    pub(crate) cure: String,
}

impl Finding {
    pub(crate) fn new(id: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { id, what: what.into(), cure: cure.into() }
    }

    /// As a warning is said.
    pub(crate) fn words(&self) -> String {
        with_cure(&self.what, &self.cure)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<Finding>,
}

impl Report {
    pub(crate) fn find(&mut self, id: &'static str, what: impl Into<String>, cure: impl Into<String>) {
        self.findings.push(Finding::new(id, what, cure));
    }

    pub(crate) fn note(&mut self, id: &'static str, what: impl Into<String>) {
        self.notes.push(Finding::new(id, what, ""));
    }
}

/// The host that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) root: PathBuf,
    pub(crate) now: Timestamp,
}

impl Host {
    /// Where a path of that host lies.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A small text file; empty if it cannot be read.
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// Names of the processes that run there.
    pub(crate) fn processes(&self) -> Vec<String> {
        let processes = std::fs::read_dir(self.path("/proc")).into_iter().flatten().flatten();
        let numbered = processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        let name = |path: PathBuf| std::fs::read_to_string(path.join("comm")).ok();
        let mut names: Vec<String> =
            numbered.filter_map(|entry| name(entry.path())).map(|name| name.trim_end().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}
