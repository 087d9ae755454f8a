//! A long text read on all processors: its pieces are dealt out in turn to threads with filters of their own, and what
//! these make of them is judged by this one, in the order of the file, while they read the next ones.
//!
//! What comes of it is the same as if one thread did all of it, for filters look at each line alone. One of an operator's
//! own may not; then one thread reads and this one judges.

use std::io;
use std::thread::{self, Builder, Scope};

use crossbeam_channel::{Receiver, Sender, unbounded};
use pillory_core::filter::Clock;

use crate::sources::past::Pieces;

use super::reading::{Read, Reading};
use super::{Progress, Scanner};

/// More threads read no faster than one judges.
const MOST_READERS: usize = 4;

/// So many pieces are under way for each reader, so that none waits for what is judged.
const AHEAD: usize = 4;

/// Lines on their way to a reader, and what it made of them on their way back.
#[derive(Default)]
struct Piece {
    lines: Vec<u8>,
    count: u64,
    found: Vec<Read>,
}

/// A thread that reads, as seen from the one that deals out.
struct Reader {
    todo: Sender<Piece>,
    done: Receiver<Piece>,
}

impl Reader {
    fn start<'s>(
        scope: &'s Scope<'s, '_>,
        reading: &'s mut Reading,
        jails: Vec<usize>,
        clock: &'s Clock,
    ) -> io::Result<Reader> {
        let (todo, pieces) = unbounded::<Piece>();
        let (read, done) = unbounded();
        let work = move || {
            let mut sieve = reading.sieve(&jails);
            for mut piece in pieces {
                let Piece { lines, count, found } = &mut piece;
                *count = reading.lines((&jails, &mut sieve), lines, clock, |event| found.push(event));
                if read.send(piece).is_err() {
                    break;
                }
            }
        };
        Builder::new().spawn_scoped(scope, work)?;
        Ok(Reader { todo, done })
    }
}

/// The filters of readers but the first, and which jails they are for: kept from file to file, for compiling takes time.
#[derive(Default)]
pub(super) struct Others {
    jails: Vec<usize>,
    readings: Vec<Reading>,
}

impl Others {
    fn prepare(&mut self, reading: &Reading, jails: &[usize]) {
        if self.jails != jails {
            let others = 1..processors().min(MOST_READERS);
            let readings: Option<Vec<Reading>> = others.map(|_| reading.again(jails)).collect();
            *self = Others { jails: jails.to_vec(), readings: readings.unwrap_or_default() };
        }
    }
}

/// True if there is more than one processor.
pub(super) fn is_of_use() -> bool {
    processors() > 1
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Reads and judges all pieces that are left; returns how many lines they have, or nothing, with no piece read, if this
/// process may have no more threads.
pub(super) fn read(
    pieces: &mut Pieces,
    scanner: &mut Scanner,
    jails: &[usize],
    clock: &Clock,
    progress: &mut Progress,
) -> Option<u64> {
    let Scanner { reading, judging, others } = scanner;
    others.prepare(reading, jails);
    thread::scope(|scope| {
        // The first one has the filters that have seen the lines so far, and goes by the numbers of all jails.
        let mut readers = vec![Reader::start(scope, reading, jails.to_vec(), clock).ok()?];
        for other in &mut others.readings {
            readers.extend(Reader::start(scope, other, (0..jails.len()).collect(), clock));
        }
        let (mut dealt, mut judged, mut lines) = (0, 0, 0);
        let mut free: Vec<Piece> = (0..readers.len() * AHEAD).map(|_| Piece::default()).collect();
        loop {
            while let Some(mut piece) = free.pop() {
                let Some(text) = pieces.lines() else { break };
                piece.lines.clear();
                piece.lines.extend_from_slice(text);
                // A reader that has ended is noticed below.
                drop(readers[dealt % readers.len()].todo.send(piece));
                dealt += 1;
            }
            if judged == dealt {
                return Some(lines);
            }
            // A reader ends early only by a panic, which the scope hands on.
            let Ok(mut piece) = readers[judged % readers.len()].done.recv() else { return Some(lines) };
            judged += 1;
            lines += piece.count;
            piece.found.drain(..).for_each(|read| judging.put_off(read));
            judging.count_pending();
            free.push(piece);
            progress.show(pieces.raw_bytes());
        }
    })
}
