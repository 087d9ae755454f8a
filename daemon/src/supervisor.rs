//! Starts and stops the threads of the sources, one a kind. A reload stops them all and starts them anew where
//! they stood; everything that they had read has reached the engine before it hears that they stopped.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::crash::{self, Point};
use crate::engine::Read;
use crate::fault;
use crate::sources::{Feed, KINDS, Kind, Position, Source};
use crate::wake::Wake;

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum SourceOrder {
    /// Read these feeds from these positions, by name of the stream.
    Start(Vec<Feed>, HashMap<String, Position>),
    /// Stop reading and say so.
    Stop,
}

/// After a fault a source begins again so much later: if it is one line that does it, this is how often it is tried.
const REST: Duration = Duration::from_secs(10);

/// Works until the engine hangs up.
pub(crate) fn run(orders: &Receiver<SourceOrder>, reads: &Sender<Read>) {
    std::thread::scope(|scope| {
        let mut running: Vec<(Arc<Wake>, ScopedJoinHandle<'_, ()>)> = Vec::new();
        let stop = |running: &mut Vec<(Arc<Wake>, ScopedJoinHandle<'_, ()>)>| {
            running.iter().for_each(|(wake, _)| wake.raise());
            // None can have panicked: that was outlived, or has ended the process.
            running.drain(..).for_each(|(_, thread)| drop(thread.join()));
        };
        for order in orders {
            stop(&mut running);
            match order {
                SourceOrder::Stop => {
                    if reads.send(Read::Stopped).is_err() {
                        return;
                    }
                }
                SourceOrder::Start(feeds, positions) => {
                    for (kind, own) in by_kind(&feeds) {
                        let Some(wake) = waking(kind, reads) else { continue };
                        let (theirs, reads, positions) =
                            (Arc::clone(&wake), reads.clone(), positions.clone());
                        let work = move || keep_reading(kind, &own, positions, &reads, (&theirs, REST));
                        running.push((wake, scope.spawn(work)));
                    }
                }
            }
        }
        stop(&mut running);
    });
}

/// The feeds of each kind that takes some.
fn by_kind(feeds: &[Feed]) -> impl Iterator<Item = (&'static Kind, Vec<Feed>)> {
    let own = |kind: &Kind| feeds.iter().filter(|feed| (kind.takes)(&feed.what)).cloned().collect();
    KINDS.iter().map(move |kind| (kind, own(kind))).filter(|(_, own): &(_, Vec<Feed>)| !own.is_empty())
}

/// What will stop a source; if there can be none the engine is told.
fn waking(kind: &Kind, reads: &Sender<Read>) -> Option<Arc<Wake>> {
    let wake = Wake::new().map(Arc::new);
    wake.inspect_err(|error| {
        let reason = format!("cannot make an eventfd: {error}");
        drop(reads.send(Read::Failed(kind.name, reason)));
    })
    .ok()
}

/// Opens a source and hands over what it reads until told to stop. After a fault in it the engine is told, and it is opened
/// anew behind what it had handed over, a `rest` later.
fn keep_reading(
    kind: &Kind,
    feeds: &[Feed],
    mut positions: HashMap<String, Position>,
    reads: &Sender<Read>,
    (wake, rest): (&Wake, Duration),
) {
    loop {
        let done = fault::outlive(|| {
            let opened = (kind.open)(feeds, &|stream: &str| positions.get(stream).cloned());
            match opened {
                Ok(source) => read(kind.name, source, &mut positions, reads, wake),
                Err(error) => drop(reads.send(Read::Failed(kind.name, error.to_string()))),
            }
        });
        let Err(reason) = done else { return };
        if reads.send(Read::Faulted(kind.name, reason)).is_err() || wake.is_raised_within(rest) {
            return;
        }
    }
}

/// How late the engine may hear that a quiet source is in trouble, or is well again, if the source does not come back
/// by itself when it has looked at everything. Each time wakes a thread of each kind, for 60 us of CPU time.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// Hands a source's batches to the engine until told to stop.
fn read(
    kind: &'static str,
    mut source: Box<dyn Source>,
    positions: &mut HashMap<String, Position>,
    reads: &Sender<Read>,
    wake: &Wake,
) {
    let mut said_watching = false;
    let mut status = Vec::new();
    while !wake.is_raised() {
        // Until everything that was there has been read, the source must come back to say so; later now and then,
        // for a log that is gone has no records to come back with.
        let timeout = if said_watching { STATUS_EVERY } else { Duration::from_millis(1) };
        match source.poll(wake.as_fd(), Some(timeout)) {
            Ok(batches) => {
                for batch in batches {
                    crash::point(Point::Read, || !batch.records.is_empty());
                    let (stream, position) = (batch.stream.to_string(), batch.position.clone());
                    if reads.send(Read::Batch(batch)).is_err() {
                        return;
                    }
                    positions.insert(stream, position);
                }
            }
            Err(error) => {
                drop(reads.send(Read::Failed(kind, error.to_string())));
                return;
            }
        }
        let now = source.status();
        if now != status {
            status.clone_from(&now);
            drop(reads.send(Read::Status(kind, now)));
        }
        if !said_watching && source.is_watching() {
            said_watching = true;
            drop(reads.send(Read::Watching(kind)));
        }
    }
}

#[cfg(test)]
mod tests;
