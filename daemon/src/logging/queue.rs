//! The thread of the log. Whoever writes a log waits for whoever reads it (journald, the reader of a pipe, a disk), and
//! judging must not: so lines are queued, and this thread alone writes them.
//!
//! What is lost is counted: lines that find [`MOST_BYTES`] waiting, until all that wait are written, and lines that the
//! system refuses. The log says how many once it goes on, `status` as long as it does not. Where no thread runs, in
//! commands and tests, lines are written at once.
//!
//! Lines are written in the order in which they came, those that wait in one piece with others. A thread that is started
//! while another one runs takes its place: the one of the begin has not given up the rights that the later ones have.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::clock::Stopwatch;

use super::{banlog, journal};

/// So much waits at most: some 20,000 lines, of ten thousand bans at once, which take memory only while they wait.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Lines that wait are written together up to so many bytes: in a flood a write of each took 1.6 us more a ban, of 24. No
/// more than a pipe takes as a whole, so that a piece is written or not (`PIPE_BUF`, pipe(7)).
const PIECE_BYTES: usize = 4_096;

/// What a line costs beside its bytes.
const OVERHEAD: usize = size_of::<Line>();

/// How long the last lines may take before the daemon ends without them.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A log that has not taken a line for so long hangs.
const HANGS: Duration = Duration::from_secs(2);

/// The daemon's.
static QUEUE: Queue = Queue::new();

/// A line, with its newline, and where it belongs.
#[derive(Debug)]
pub(super) enum Line {
    /// The log, on stderr.
    Log(Vec<u8>),
    /// The log, in the journal.
    Entry(Vec<u8>),
    /// This file, which tools read that count bans in fail2ban's log.
    Bans(PathBuf, String),
}

impl Line {
    fn bytes(&self) -> usize {
        OVERHEAD
            + match self {
                Line::Log(text) | Line::Entry(text) => text.len(),
                Line::Bans(path, text) => path.as_os_str().len() + text.len(),
            }
    }

    /// True if it may be written together with what goes before it.
    fn fits_behind(&self, piece: &[u8]) -> bool {
        matches!(self, Line::Log(text) if piece.len() + text.len() <= PIECE_BYTES)
    }
}

/// Queues a line, or writes it if no thread does.
pub(super) fn push(line: Line) {
    if let Some(line) = QUEUE.push(line) {
        // A log that cannot be written must not stop anything.
        let _ = write(line, &mut std::io::stderr());
    }
}

/// Starts the thread; if one runs already, the new one takes its place. `begin` is what it does first.
/// # Errors
/// The system's, if there can be no more threads.
pub(crate) fn start(begin: fn()) -> std::io::Result<()> {
    let number = QUEUE.hire();
    let work = move || {
        begin();
        QUEUE.work(number, &mut std::io::stderr(), &say_lost);
    };
    let started = std::thread::Builder::new().name("log".into()).spawn(work).map(drop);
    if started.is_err() {
        QUEUE.dismiss().into_iter().for_each(push);
    }
    started
}

/// Waits until everything is written, a second at most.
pub(crate) fn finish() {
    QUEUE.finish(LAST_LINES);
}

/// What is wrong with the log, if anything is.
pub(super) fn trouble() -> Option<String> {
    QUEUE.trouble()
}

fn say_lost(lines: u64) {
    warn!(lines, "lines of the log are lost: it could not be written, or nobody read it");
}

fn write(line: Line, log: &mut dyn Write) -> std::io::Result<()> {
    match line {
        Line::Log(text) => log.write_all(&text),
        Line::Entry(entry) => journal::send(&entry),
        Line::Bans(path, text) => {
            banlog::append(&path, &text);
            Ok(())
        }
    }
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// There is something to do for the thread.
    to_do: Condvar,
    /// Nothing waits any more.
    done: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the thread that is to write; 0 if there is none.
    writer: u64,
    /// Since when a thread is writing a line.
    writing: Option<Stopwatch>,
    /// Lines are dropped until those that wait are written.
    is_full: bool,
    /// Lines that are lost, and how many of them were not told yet.
    lost: u64,
    untold: u64,
    /// Why the last line could not be written.
    trouble: Option<String>,
}

impl State {
    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.untold += lines;
    }

    /// Takes what is to be written next, and how many lines that are.
    fn next(&mut self) -> Option<(Line, u64)> {
        let mut next = self.lines.pop_front()?;
        let mut lines = 1;
        self.bytes -= next.bytes();
        if let Line::Log(piece) = &mut next {
            while let Some(Line::Log(text)) = self.lines.pop_front_if(|line| line.fits_behind(piece)) {
                self.bytes -= OVERHEAD + text.len();
                piece.extend(text);
                lines += 1;
            }
        }
        Some((next, lines))
    }

    fn is_done(&self) -> bool {
        self.lines.is_empty() && self.writing.is_none() && (self.untold == 0 || self.trouble.is_some())
    }
}

impl Queue {
    const fn new() -> Queue {
        let state = State {
            lines: VecDeque::new(),
            bytes: 0,
            writer: 0,
            writing: None,
            is_full: false,
            lost: 0,
            untold: 0,
            trouble: None,
        };
        Queue { state: Mutex::new(state), to_do: Condvar::new(), done: Condvar::new() }
    }

    /// Nobody panics holding it, and what is in it is whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the line back if no thread writes.
    fn push(&self, line: Line) -> Option<Line> {
        let mut state = self.state();
        if state.writer == 0 {
            return Some(line);
        }
        let bytes = line.bytes();
        state.is_full |= state.bytes + bytes > MOST_BYTES;
        if state.is_full {
            state.lose(1);
        } else {
            state.bytes += bytes;
            state.lines.push_back(line);
            // Whoever writes looks for more lines before it sleeps.
            let sleeps = state.lines.len() == 1 && state.writing.is_none();
            // A thread that wakes must not find this lock taken.
            drop(state);
            if sleeps {
                self.to_do.notify_all();
            }
        }
        None
    }

    /// From now on the thread of this number writes, and no other.
    fn hire(&self) -> u64 {
        let mut state = self.state();
        state.writer += 1;
        self.to_do.notify_all();
        state.writer
    }

    /// From now on no thread writes; returns what waits.
    fn dismiss(&self) -> VecDeque<Line> {
        let mut state = self.state();
        (state.writer, state.bytes) = (0, 0);
        self.to_do.notify_all();
        std::mem::take(&mut state.lines)
    }

    /// Writes what comes until another thread is to write. `say_lost` is told how many lines were lost, once they can be
    /// written again.
    fn work(&self, number: u64, log: &mut dyn Write, say_lost: &dyn Fn(u64)) {
        let mut state = self.state();
        // A line that the system took in part only: the next one begins a new line all the same.
        let mut is_torn = false;
        while state.writer == number {
            let next = if state.writing.is_none() { state.next() } else { None };
            if let Some((line, lines)) = next {
                state.writing = Some(Stopwatch::start());
                drop(state);
                let is_text = matches!(line, Line::Log(_));
                let is_log = is_text || matches!(line, Line::Entry(_));
                let ended = if is_torn && is_text { log.write_all(b"\n") } else { Ok(()) };
                let written = ended.and_then(|()| write(line, log));
                state = self.state();
                state.writing = None;
                if is_log {
                    is_torn = is_text && written.is_err();
                    state.trouble = written.err().map(|error| error.to_string());
                    state.trouble.is_some().then(|| state.lose(lines));
                }
                self.to_do.notify_all();
            } else if state.writing.is_none() && state.untold > 0 && state.trouble.is_none() {
                state.is_full = false;
                let lost = std::mem::take(&mut state.untold);
                state.writing = Some(Stopwatch::start());
                drop(state);
                say_lost(lost);
                state = self.state();
                state.writing = None;
                self.to_do.notify_all();
            } else {
                state.is_full &= !state.lines.is_empty();
                if state.is_done() {
                    self.done.notify_all();
                }
                state = self.to_do.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Waits until all is written, for so long at most.
    fn finish(&self, limit: Duration) {
        let state = self.state();
        if state.writer > 0 {
            drop(self.done.wait_timeout_while(state, limit, |state| !state.is_done()));
        }
    }

    fn trouble(&self) -> Option<String> {
        let state = self.state();
        let hangs = state.writing.as_ref().is_some_and(|writing| writing.elapsed() >= HANGS);
        let lost = state.lost;
        if let Some(trouble) = &state.trouble {
            return Some(format!("the log cannot be written: {trouble}; {lost} lines are lost so far"));
        }
        (hangs || state.is_full).then(|| {
            let waiting = state.lines.len() + usize::from(state.writing.is_some());
            format!(
                "nobody reads the log (a journald that hangs, a pipe whose reader does not read?): {waiting} lines \
                 wait, {lost} are lost so far; bans go on"
            )
        })
    }
}

#[cfg(test)]
mod tests;
