//! `pillory scan`: who attacked, how hard, and who would be banned when; offline, without root, from log files,
//! btmp files, journals, and gzipped ones of the first two. Files are streamed; memory is bounded.

mod crew;
mod journal;
pub(in crate::cli) mod judging;
mod lines;
mod overlap;
mod reading;
pub(in crate::cli) mod report;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use pillory_core::config::{Config, resolve};
use pillory_core::filter::Clock;
use pillory_core::filter::btmp::Layout;
use pillory_core::jail::JailIndex;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::escape::escape;
use crate::sources::past::{self, Format, Opened, Pieces};

use super::configfile::{DEFAULT_CONFIG, load_config, status};
use super::screen::Screen;
use super::{Failure, Outcome, complain, exit, print, print_json};

use judging::{Collected, Judging};
use reading::Reading;

/// `pillory scan`
#[derive(Debug, clap::Args)]
pub(crate) struct Scan {
    /// Logs, btmp files, journal files or directories of them; `.gz` and `.xz` too; `-` is standard input. Which names are
    /// accounts is taken from this host's /etc/passwd, also for files of another host; btmp records of a time that
    /// a log or journal among the files covers are passed over, as both record the same attempts.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this jail, whatever the files look like.
    #[arg(long, value_name = "J")]
    jail: Option<String>,
    /// Configuration file; default /etc/pillory/pillory.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

/// A text of no more pieces, 4 MiB, is read and judged by one thread: others would have to compile the filters first.
const SHORT_PIECES: u64 = 32;

/// What became of one file.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(in crate::cli) path: PathBuf,
    /// When its first record happened; far ahead if it does not say.
    pub(in crate::cli) first: Timestamp,
    format: &'static str,
    records: u64,
    bytes: u64,
    /// Records that were passed over, because a log among the files records the same attempts.
    in_log: u64,
    pub(in crate::cli) jails: Vec<String>,
    /// Why not all of it was counted.
    pub(in crate::cli) trouble: Option<String>,
    /// A part of it may not be read.
    is_closed: bool,
}

/// A file that was not read at all, and why.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) why: String,
    /// It may not be read.
    is_closed: bool,
}

/// A file to read.
#[derive(Debug)]
pub(in crate::cli) struct ToRead {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) by: By,
}

/// Which jails read a file.
#[derive(Debug, Clone)]
pub(in crate::cli) enum By {
    /// Its content and its name say.
    Content,
    /// Every jail, whatever it looks like.
    Every,
    /// These, as the daemon does: it reads each attempt from one place only.
    Just(Vec<usize>),
}

impl Scan {
    pub(crate) fn run(&self) -> Outcome {
        let config = policy(self.config.as_deref())?;
        let mut scanner = Scanner::new(&config, self.jail.as_deref())?;
        let by = if self.jail.is_some() { By::Every } else { By::Content };
        let files = each_once(&self.files).map(|path| ToRead { path: path.clone(), by: by.clone() });
        let (scanned, unread) = read(files, &mut scanner);
        let names = scanner.reading.names();
        let tally = &mut scanner.judging.tally;
        if self.json {
            let json = report::json((&scanned, &unread), tally, &names);
            let json = json.map_err(|error| Failure::new(exit::NO, format!("cannot write JSON: {error}")))?;
            print_json(&json)?;
        } else {
            let place = (&clock::zone(), Screen::here());
            print(&report::text((&scanned, unread.len()), tally, &names, place))?;
        }
        let nothing = tally.failures() == 0;
        if is_kept_out(&scanned, &unread) {
            return Err(Failure::new(exit::NOT_PERMITTED, "what may not be read was not scanned"));
        }
        let failed = !unread.is_empty() || scanned.iter().any(|file| file.trouble.is_some());
        Ok(if failed { exit::USAGE } else { u8::from(nothing) * exit::NO })
    }
}

/// Reads files and judges what is in them.
pub(in crate::cli) struct Scanner {
    reading: Reading,
    judging: Judging,
    others: crew::Others,
}

impl Scanner {
    /// With the jails of a configuration, or only one of them.
    pub(in crate::cli) fn new(config: &Config, only: Option<&str>) -> Result<Scanner, Failure> {
        let (reading, jails) = Reading::new(config, only)?;
        Ok(Scanner { reading, judging: Judging::new(config, &jails), others: crew::Others::default() })
    }

    /// From now on what is read is collected and not judged.
    pub(in crate::cli) fn collect(&mut self) {
        self.judging.collect();
    }

    /// What was collected.
    pub(in crate::cli) fn into_collected(self) -> Collected {
        self.judging.into_collected()
    }
}

/// Reads all of these files in the order in which their first records happened: rotated ones tell one story.
pub(in crate::cli) fn read(
    files: impl Iterator<Item = ToRead>,
    scanner: &mut Scanner,
) -> (Vec<Scanned>, Vec<Unread>) {
    let mut unread: Vec<Unread> = Vec::new();
    let mut opened: Vec<(Opened, By)> = Vec::new();
    for ToRead { path, by } in files {
        match past::open(&path) {
            Ok(file) => opened.push((file, by)),
            Err(why) => unread.push(Unread::said(&path, why)),
        }
    }
    opened.iter_mut().for_each(|(file, _)| file.first = first_stamp(file, &mut scanner.reading));
    opened.sort_by_key(|(file, _)| file.first);
    let covered = overlap::covered(&opened, scanner);
    let total = opened.iter().filter_map(|(file, _)| file.size).sum();
    let mut progress = Progress::new(total, report::size(total));
    let mut scanned = Vec::new();
    for (file, by) in opened {
        let path = file.path.clone();
        let done = one(file, by, scanner, &covered, &mut progress);
        progress.clear();
        match done {
            Ok(done) => {
                done.say_trouble();
                scanned.push(done);
            }
            Err(why) => unread.push(Unread::said(&path, why)),
        }
    }
    (scanned, unread)
}

/// The files, each once, whatever it is called: twice read is twice counted.
pub(in crate::cli) fn each_once(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::HashSet::new();
    files.iter().filter(move |path| {
        let Ok(meta) = std::fs::metadata(path) else { return true };
        let is_new = !meta.is_file() || seen.insert((meta.dev(), meta.ino()));
        if !is_new {
            complain(&format!("{} is named twice; it is read once", escape(&path.display().to_string())));
        }
        is_new
    })
}

/// The configuration to judge by. The default one may be closed to people who are not root.
pub(in crate::cli) fn policy(file: Option<&Path>) -> Result<Config, Failure> {
    let is_closed =
        std::fs::File::open(DEFAULT_CONFIG).is_err_and(|error| exit::of(&error) == exit::NOT_PERMITTED);
    if file.is_none() && is_closed {
        complain(&format!("{DEFAULT_CONFIG} cannot be read; judged by the built-in configuration"));
        return Ok(resolve::default_config());
    }
    load_config(file)
}

fn one(
    file: Opened,
    by: By,
    scanner: &mut Scanner,
    covered: &[overlap::Span],
    progress: &mut Progress,
) -> Result<Scanned, String> {
    let path = file.path.clone();
    let Scanner { reading, judging, .. } = scanner;
    let (format, jails) = match (&file.format, by) {
        (Format::Text, By::Just(jails)) => ("text", jails),
        (Format::Text, By::Every) => ("text", reading.all()),
        (Format::Text, By::Content) => ("text", reading.choose(&path, &file.head, judging.last)),
        (Format::Btmp(_), By::Just(jails)) => ("btmp", jails),
        (Format::Btmp(_), _) => ("btmp", vec![reading.btmp_jail()]),
        (Format::Journal, By::Just(jails)) => ("journal", jails),
        (Format::Journal, _) => ("journal", reading.all()),
    };
    reading.begin();
    let mut done = Scanned {
        path: path.clone(),
        first: file.first,
        format,
        records: 0,
        bytes: 0,
        in_log: 0,
        jails: reading.named(&jails),
        trouble: None,
        is_closed: false,
    };
    match file.format {
        Format::Text => text(file, scanner, &jails, &mut done, progress),
        Format::Btmp(layout) => login_records(file, layout, (judging, &jails, covered), &mut done, progress),
        Format::Journal => journal::scan(&path, scanner, &jails, &mut done)?,
    }
    Ok(done)
}

impl Unread {
    fn said(path: &Path, why: String) -> Unread {
        complain(&format!("cannot read {}: {}", escape(&path.display().to_string()), escape(&why)));
        Unread { path: path.to_owned(), why, is_closed: is_closed(path) }
    }
}

/// True if there was something to read that this user may not read, and root may.
pub(in crate::cli) fn is_kept_out(scanned: &[Scanned], unread: &[Unread]) -> bool {
    let is_closed = unread.iter().any(|file| file.is_closed) || scanned.iter().any(|file| file.is_closed);
    is_closed && !rustix::process::geteuid().is_root()
}

/// True if a file may not be read, or a directory or one in it not be listed.
fn is_closed(path: &Path) -> bool {
    let denied = |error: std::io::Error| exit::of(&error) == exit::NOT_PERMITTED;
    if !path.is_dir() {
        return status(path) == exit::NOT_PERMITTED;
    }
    match std::fs::read_dir(path) {
        Err(error) => denied(error),
        Ok(inner) => {
            let mut directories = inner.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
            directories.any(|directory| std::fs::read_dir(directory).is_err_and(denied))
        }
    }
}

impl Scanned {
    fn say_trouble(&self) {
        if let Some(trouble) = &self.trouble {
            let path = escape(&self.path.display().to_string());
            complain(&format!("not all of {path} is counted: {}", escape(trouble)));
        }
    }
}

fn cut_off(error: &std::io::Error) -> String {
    format!("it cannot be read to its end: {error}")
}

fn login_records(
    file: Opened,
    layout: Layout,
    (judging, jails, covered): (&mut Judging, &[usize], &[overlap::Span]),
    done: &mut Scanned,
    progress: &mut Progress,
) {
    let mut pieces = file.into_pieces();
    let mut good = 0;
    while let Some(records) = pieces.records(layout.record_bytes()) {
        let mut plausible = 0;
        for jail in jails {
            let put_off = |read| judging.put_off(read);
            let (in_log, those) = reading::records(*jail as JailIndex, layout, records, covered, put_off);
            done.in_log += in_log;
            plausible = those;
        }
        judging.count_pending();
        done.records += (records.len() / layout.record_bytes()) as u64;
        done.bytes += records.len() as u64;
        good += plausible;
        progress.show(pieces.raw_bytes());
    }
    progress.finished(pieces.raw_bytes());
    let (bad, rest) = (done.records - good, pieces.rest_bytes());
    done.trouble = match pieces.trouble() {
        Some(error) => Some(cut_off(error)),
        // The writer may be at it, and garbage in the midst is normal; most of a file is not.
        None if bad * 2 > done.records || (done.records == 0 && rest > 0) => Some(format!(
            "{bad} of its {} records are none ({rest} bytes are left over at the end); it is damaged or no btmp file",
            done.records
        )),
        None => None,
    };
}

fn text(file: Opened, scanner: &mut Scanner, jails: &[usize], done: &mut Scanned, progress: &mut Progress) {
    let clock = Clock { now: file.clock(), zone: clock::zone() };
    let mut pieces: Pieces = file.into_pieces();
    let few = if crew::is_of_use() { SHORT_PIECES } else { u64::MAX };
    let (mut lines, is_over) = alone(&mut pieces, few, (scanner, jails, &clock), progress);
    if !is_over {
        lines += match crew::read(&mut pieces, scanner, jails, &clock, progress) {
            Some(more) => more,
            None => alone(&mut pieces, u64::MAX, (scanner, jails, &clock), progress).0,
        };
    }
    done.records = lines;
    done.bytes = pieces.plain_bytes();
    done.trouble = pieces.trouble().map(cut_off);
    progress.finished(pieces.raw_bytes());
}

/// Reads and judges at most so many pieces on this thread; returns how many lines they have, and whether that was all.
fn alone(
    pieces: &mut Pieces,
    most: u64,
    (scanner, jails, clock): (&mut Scanner, &[usize], &Clock),
    progress: &mut Progress,
) -> (u64, bool) {
    let Scanner { reading, judging, .. } = scanner;
    let (mut sieve, mut lines) = (reading.sieve(jails), 0);
    for _ in 0..most {
        let Some(text) = pieces.lines() else { return (lines, true) };
        lines += reading.lines((jails, &mut sieve), text, clock, |read| judging.put_off(read));
        judging.count_pending();
        progress.show(pieces.raw_bytes());
    }
    (lines, false)
}

/// When the file's first record that says so happened; unknown ones are judged last.
fn first_stamp(file: &Opened, reading: &mut Reading) -> Timestamp {
    let first = match &file.format {
        Format::Text => reading.first_stamp(&file.head, &Clock { now: file.clock(), zone: clock::zone() }),
        Format::Btmp(layout) => reading::first_record_stamp(*layout, &file.head),
        Format::Journal => journal::first_stamp(&file.path),
    };
    first.unwrap_or(Timestamp::from_millis(i64::MAX))
}

/// How far the work has come, on standard error if that is a terminal.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    total: u64,
    /// What there is to do, in words.
    all: String,
    before: u64,
    next_ms: u128,
    since: clock::Stopwatch,
    shown: bool,
    on: bool,
}

impl Progress {
    pub(in crate::cli) fn new(total: u64, all: String) -> Progress {
        let on = std::io::stderr().is_terminal();
        Progress { total, all, before: 0, next_ms: 500, since: clock::Stopwatch::start(), shown: false, on }
    }

    pub(in crate::cli) fn show(&mut self, bytes: u64) {
        let elapsed = self.since.elapsed().as_millis();
        if !self.on || elapsed < self.next_ms || self.total == 0 {
            return;
        }
        self.next_ms = elapsed + 200;
        self.shown = true;
        let done = (self.before + bytes).min(self.total);
        let left_s = elapsed * u128::from(self.total - done) / u128::from(done.max(1)) / 1000;
        // Progress that cannot be shown is no reason to stop.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("\r\x1b[K{} of {}, {left_s} s left", progress_bar(done, self.total), self.all),
        );
    }

    pub(in crate::cli) fn finished(&mut self, bytes: u64) {
        self.before += bytes;
    }

    pub(in crate::cli) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), b"\r\x1b[K");
        }
    }
}

/// `[##########..........]  50 %`
fn progress_bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let part = |of: u64| (u128::from(done) * u128::from(of) / u128::from(total.max(1))) as u64;
    let full = part(WIDTH);
    let bar = "#".repeat(full as usize) + &".".repeat((WIDTH - full) as usize);
    format!("[{bar}] {:>3} %", part(100))
}
