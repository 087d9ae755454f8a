//! Logs that several groups read, made once below `target/bench/inputs/`: the same seed makes the same bytes.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::process::directory;
use crate::{access, generate};

/// Attackers of every log.
const ATTACKERS: usize = 20_000;

/// A log with a service's failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Lines of sshd and its neighbours.
    Auth,
    /// Lines of a web server in front of a WordPress.
    Access,
    /// Login records of 384 bytes.
    Btmp,
}

impl Input {
    /// The file's name, which the programs go by.
    pub fn name(self) -> &'static str {
        match self {
            Input::Auth => "auth.log",
            Input::Access => "access.log",
            Input::Btmp => "btmp",
        }
    }

    /// The file with so many records.
    pub fn file(self, records: u64) -> PathBuf {
        let dir = directory(&format!("inputs/{records}"));
        let file = dir.join(self.name());
        if !file.exists() {
            eprintln!("make bench: writing {}", file.display());
            let half = dir.join(format!("{}.half", self.name()));
            match self {
                Input::Auth => generate::auth_log(&half, records, ATTACKERS),
                Input::Access => access::log(&half, records, ATTACKERS),
                Input::Btmp => generate::btmp(&half, records, ATTACKERS),
            }
            .and_then(|()| std::fs::rename(&half, &file))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        }
        file
    }

    /// The first `records` of the file with `all` of them, for programs that would need hours for it.
    pub fn part(self, all: u64, records: u64) -> PathBuf {
        let whole = self.file(all);
        let file = whole.with_file_name(format!("first-{records}.{}", self.name()));
        if records == all {
            return whole;
        }
        if !file.exists() {
            let copied = match self {
                Input::Btmp => copy_bytes(&whole, &file, records * 384),
                _ => copy_lines(&whole, &file, records),
            };
            copied.unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        }
        file
    }
}

fn copy_bytes(from: &Path, to: &Path, bytes: u64) -> std::io::Result<()> {
    let mut from = std::fs::File::open(from)?.take(bytes);
    std::io::copy(&mut from, &mut std::fs::File::create(to)?).map(drop)
}

fn copy_lines(from: &Path, to: &Path, lines: u64) -> std::io::Result<()> {
    let mut from = BufReader::new(std::fs::File::open(from)?);
    let mut to = BufWriter::new(std::fs::File::create(to)?);
    let mut line = Vec::new();
    for _ in 0..lines {
        line.clear();
        from.read_until(b'\n', &mut line)?;
        to.write_all(&line)?;
    }
    to.flush()
}
