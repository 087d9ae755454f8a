//! File systems with logs that fill up: how fast, what takes the room, and what logrotate is to be told.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::escape::{command_line, escape};

use super::{Finding, Host};

/// Less than this share free is nearly full, in percent.
const NEARLY_FULL_PERCENT: u64 = 5;

/// So many directories below one with logs are looked into, and so many files of each.
const MOST_DIRECTORIES: usize = 200;
const MOST_FILES: usize = 2_000;

/// The room on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Space {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// Its number.
    pub(crate) device: u64,
    /// Bytes that others than root may still write.
    pub(crate) free: u64,
    /// Bytes in all.
    pub(crate) all: u64,
}

impl Space {
    /// Of the file system that this directory is on; nothing if it is not there.
    pub(crate) fn of(directory: &Path) -> Option<Space> {
        let directory = directory.canonicalize().ok()?;
        let space = rustix::fs::statvfs(&directory).ok()?;
        let device = std::fs::metadata(&directory).ok()?.dev();
        let is_on_it = |path: &&Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.dev() == device);
        let mount = directory.ancestors().take_while(is_on_it).last()?.to_owned();
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Some(Space { mount, device, free: bytes(space.f_bavail), all: bytes(space.f_blocks).max(1) })
    }

    /// The share that is free.
    pub(crate) fn percent(&self) -> u64 {
        self.free.saturating_mul(100) / self.all
    }

    pub(crate) fn is_nearly_full(&self) -> bool {
        self.percent() < NEARLY_FULL_PERCENT
    }
}

/// That a file system is nearly full, or will be in so many days. `directories`: where logs are.
pub(crate) fn finding(host: &Host, space: &Space, days: Option<f64>, directories: &[PathBuf]) -> Finding {
    let mount = escape(&space.mount.display().to_string());
    let begin = match days {
        Some(days) => format!("{mount} is full in {} at this rate", period(days)),
        None => format!("{mount} is nearly full ({} free, {} %)", size(space.free), space.percent()),
    };
    let (live, rotated) = largest(space, directories);
    let journal = journal(space, directories);
    let named = |file: &Large| format!("{} {}", file.name(), size(file.bytes));
    let mut what: Vec<String> = live.iter().map(named).collect();
    what.extend(rotated.iter().map(|file| format!("largest rotated log {}", named(file))));
    let most = [&live, &rotated].into_iter().flatten().map(|file| file.bytes).max().unwrap_or(0);
    if let Some(journal) = &journal {
        let at = if journal.bytes > most { 0 } else { what.len() };
        what.insert(at, format!("the journal {}", size(journal.bytes)));
    }
    let what = if what.is_empty() { begin } else { format!("{begin}: {}", what.join(", ")) };
    let cure = match (journal.filter(|journal| journal.bytes > most), live) {
        (Some(journal), _) => keep_small(&journal),
        (None, Some(live)) => rotate(host, &live.path.display().to_string()),
        (None, None) => {
            let du = command_line(
                ["du", "-xh", &space.mount.display().to_string()].map(str::to_owned).into_iter(),
            );
            format!("see what takes the room (`{} | sort -h | tail`), and give it more", escape(&du))
        }
    };
    Finding::new("disk", what, cure)
}

/// What makes a log take less.
fn rotate(host: &Host, path: &str) -> String {
    match rotated_by(host, path) {
        Some(file) => format!(
            "{} rotates {}: write `maxsize 100M`, `compress` and fewer `rotate` there, and run `logrotate /etc/logrotate.conf`",
            escape(&file),
            escape(path)
        ),
        None => stanza(path),
    }
}

/// What makes the journal take less, now and from now on: a quarter of what it takes, as it is written in journald.conf(5).
fn keep_small(journal: &Large) -> String {
    let megabytes = (journal.bytes / 4 / (1 << 20)).max(16);
    format!(
        "`journalctl --vacuum-size={megabytes}M` makes the journal smaller, and SystemMaxUse={megabytes}M below [Journal] in \
         /etc/systemd/journald.conf keeps it so (`systemctl restart systemd-journald`)"
    )
}

/// What has logrotate rotate a log that nobody does, as a command. Whoever holds a log open goes on writing to it, so it is
/// copied and cut; login records are opened at each write, and keep their owner.
pub(crate) fn stanza(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_record = ["btmp", "wtmp"].contains(&name.as_str());
    let how = if is_record { "create" } else { "copytruncate" };
    let lines = ["weekly", "rotate 4", "maxsize 100M", "compress", "missingok", how];
    let lines: String = lines.iter().map(|line| format!("  {line}\\n")).collect();
    // Whoever may make a file where logs are must not have root run what its name says.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/@+-".contains(c);
    if !path.chars().all(is_plain) {
        return format!("nobody rotates {}: have logrotate do it", escape(path));
    }
    format!("nobody rotates it: `printf '{path} {{\\n{lines}}}\\n' > /etc/logrotate.d/{name}`")
}

/// The file of logrotate that names this log.
pub(crate) fn rotated_by(host: &Host, path: &str) -> Option<String> {
    let mut files = vec!["/etc/logrotate.conf".to_owned()];
    let directory = std::fs::read_dir(host.path("/etc/logrotate.d")).into_iter().flatten().flatten();
    files.extend(directory.map(|entry| format!("/etc/logrotate.d/{}", entry.file_name().to_string_lossy())));
    let names_it = |file: &String| {
        let text = host.text(file);
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.any(|line| line.split([' ', '\t', '{', '"']).any(|word| matches(word, path)))
    };
    files.into_iter().find(names_it)
}

/// True if this word of logrotate's names the path, with a `*` or without.
fn matches(word: &str, path: &str) -> bool {
    match word.split_once('*') {
        None => word == path,
        Some((begin, end)) => {
            let middle = path.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
            begin.starts_with('/') && middle.is_some_and(|middle| !middle.contains('/'))
        }
    }
}

/// A file that takes much room.
struct Large {
    path: PathBuf,
    bytes: u64,
}

impl Large {
    fn name(&self) -> String {
        escape(&self.path.file_name().unwrap_or_default().to_string_lossy())
    }
}

/// What journald keeps on this file system, in all.
fn journal(space: &Space, directories: &[PathBuf]) -> Option<Large> {
    let kept = directories.iter().map(|directory| directory.join("journal")).find(|path| path.is_dir())?;
    let machines = std::fs::read_dir(&kept).into_iter().flatten().flatten().take(MOST_DIRECTORIES);
    let mut bytes: u64 = 0;
    for file in machines.flat_map(|machine| std::fs::read_dir(machine.path()).into_iter().flatten().flatten())
    {
        let is_its = is_journal(&file.file_name().to_string_lossy());
        let Some(meta) = file.metadata().ok().filter(|meta| meta.is_file() && is_its) else { continue };
        if meta.dev() == space.device {
            bytes = bytes.saturating_add(taken(&meta));
        }
    }
    (bytes > 0).then_some(Large { path: kept, bytes })
}

/// True for a file of journald, one that it found damaged too.
fn is_journal(name: &str) -> bool {
    name.ends_with(".journal") || name.ends_with(".journal~")
}

/// What a file takes on the disk: one with holes is not as large as it looks.
fn taken(meta: &std::fs::Metadata) -> u64 {
    meta.len().min(meta.blocks().saturating_mul(512))
}

/// The largest log of this file system, and the largest one that was rotated.
fn largest(space: &Space, directories: &[PathBuf]) -> (Option<Large>, Option<Large>) {
    let (mut live, mut rotated): (Option<Large>, Option<Large>) = (None, None);
    let inner = directories.iter().flat_map(|directory| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir() && !path.is_symlink()).take(MOST_DIRECTORIES)
    });
    for directory in inner.chain(directories.iter().cloned()) {
        for file in std::fs::read_dir(&directory).into_iter().flatten().flatten().take(MOST_FILES) {
            // A link is not followed.
            let Ok(meta) = file.metadata() else { continue };
            let path = file.path();
            let name = file.file_name();
            let name = name.to_string_lossy();
            if !meta.is_file() || meta.dev() != space.device || is_journal(&name) {
                continue;
            }
            let largest = if is_rotated(&name) { &mut rotated } else { &mut live };
            let bytes = taken(&meta);
            if bytes > 0 && largest.as_ref().is_none_or(|known| known.bytes < bytes) {
                *largest = Some(Large { path, bytes });
            }
        }
    }
    (live, rotated)
}

/// True for a name that logrotate gives: `secure-20151011`, `auth.log.1`, `btmp.2.gz`.
fn is_rotated(name: &str) -> bool {
    let packed = [".gz", ".xz", ".bz2", ".zst"];
    let name = packed.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let is_number =
        |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    let ends =
        |mark: char, least: usize| name.rsplit_once(mark).is_some_and(|(_, end)| is_number(end, least));
    ends('.', 1) || ends('-', 8) || name.ends_with(".old")
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.0} KB", bytes / 1e3),
    }
}

fn period(days: f64) -> String {
    match days {
        days if days >= 1.5 => format!("{days:.0} days"),
        days if days * 24.0 >= 1.5 => format!("{:.0} hours", days * 24.0),
        _ => "an hour".to_owned(),
    }
}

/// The room on one file system over time, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Seconds since the start, and bytes free, every ten minutes for a day.
    samples: VecDeque<(u64, u64)>,
    /// A warning is on.
    warns: bool,
}

const SAMPLE_SECONDS: u64 = 600;
const MOST_SAMPLES: usize = 145;

/// An hour at least tells something.
const LEAST_SAMPLES: usize = 7;

/// So many times as far as was looked back is looked ahead: of an hour half a day, of 14 hours a week.
const LOOK_AHEAD: f64 = 12.0;

/// Full within so many days is told, and no more once it is later than that.
const SOON: [f64; 2] = [7.0, 10.0];

/// Nearly full is over with so much free, in percent.
const HAS_ROOM_PERCENT: u64 = 7;

impl Gauge {
    /// The room `seconds` after the start. Returns whether to warn, and in how many days it is full unless it nearly is.
    pub(crate) fn look(&mut self, seconds: u64, space: &Space) -> Option<Option<f64>> {
        if self.samples.back().is_none_or(|(last, _)| seconds >= last + SAMPLE_SECONDS) {
            self.samples.push_back((seconds, space.free));
            if self.samples.len() > MOST_SAMPLES {
                self.samples.pop_front();
            }
        }
        let least = if self.warns { HAS_ROOM_PERCENT } else { NEARLY_FULL_PERCENT };
        let is_full = space.percent() < least;
        let days = self.days(space.free).filter(|days| *days < SOON[usize::from(self.warns)]);
        self.warns = is_full || days.is_some();
        self.warns.then_some(if space.is_nearly_full() { None } else { days })
    }

    /// In how many days it is full, if it fills steadily: over the whole time that is known and over its second half.
    fn days(&self, free: u64) -> Option<f64> {
        let (first, last) = (*self.samples.front()?, *self.samples.back()?);
        let middle = *self.samples.get(self.samples.len() / 2)?;
        if self.samples.len() < LEAST_SAMPLES {
            return None;
        }
        let per_day = |from: (u64, u64)| {
            let taken = from.1.checked_sub(last.1)? as f64;
            Some(taken * 86_400.0 / last.0.checked_sub(from.0).filter(|seconds| *seconds > 0)? as f64)
        };
        let rate = per_day(first)?.min(per_day(middle)?);
        let known = last.0.saturating_sub(first.0) as f64 / 86_400.0;
        Some(free as f64 / rate).filter(|days| rate > 0.0 && *days <= known * LOOK_AHEAD)
    }
}

#[cfg(test)]
mod tests;
