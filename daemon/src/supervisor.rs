//! Starts and stops the threads of the sources, one a kind. A reload stops them all and starts them anew where
//! they stood; everything that they had read has reached the engine before it hears that they stopped.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::Read;
use crate::sources::{Feed, KINDS, Position, Source};
use crate::wake::Wake;

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum SourceOrder {
    /// Read these feeds from these positions, by name of the stream.
    Start(Vec<Feed>, HashMap<String, Position>),
    /// Stop reading and say so.
    Stop,
}

/// Works until the engine hangs up.
pub(crate) fn run(orders: &Receiver<SourceOrder>, reads: &Sender<Read>) {
    std::thread::scope(|scope| {
        let mut running: Vec<(Arc<Wake>, ScopedJoinHandle<'_, ()>)> = Vec::new();
        let stop = |running: &mut Vec<(Arc<Wake>, ScopedJoinHandle<'_, ()>)>| {
            running.iter().for_each(|(wake, _)| wake.raise());
            // A source that panicked has ended, too.
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
                    for (kind, opened) in open(&feeds, &positions) {
                        match opened {
                            Ok((source, wake)) => {
                                let (theirs, reads) = (Arc::clone(&wake), reads.clone());
                                running
                                    .push((wake, scope.spawn(move || read(kind, source, &reads, &theirs))));
                            }
                            Err(reason) => drop(reads.send(Read::Failed(kind, reason))),
                        }
                    }
                }
            }
        }
        stop(&mut running);
    });
}

type Opened = Result<(Box<dyn Source>, Arc<Wake>), String>;

fn open(feeds: &[Feed], positions: &HashMap<String, Position>) -> Vec<(&'static str, Opened)> {
    let position = |stream: &str| positions.get(stream).cloned();
    let mut all = Vec::new();
    for kind in KINDS {
        let own: Vec<Feed> = feeds.iter().filter(|feed| (kind.takes)(&feed.what)).cloned().collect();
        if !own.is_empty() {
            let source = (kind.open)(&own, &position).map_err(|error| error.to_string());
            let wake = Wake::new().map_err(|error| format!("cannot make an eventfd: {error}"));
            all.push((kind.name, source.and_then(|source| Ok((source, Arc::new(wake?))))));
        }
    }
    all
}

/// How late the engine may hear that a quiet source is in trouble, or is well again, if the source does not come back
/// by itself when it has looked at everything. Each time wakes a thread of each kind, for 60 us of CPU time.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// Hands a source's batches to the engine until told to stop.
fn read(kind: &'static str, mut source: Box<dyn Source>, reads: &Sender<Read>, wake: &Wake) {
    let mut said_watching = false;
    let mut status = Vec::new();
    while !wake.is_raised() {
        // Until everything that was there has been read, the source must come back to say so; later now and then,
        // for a log that is gone has no records to come back with.
        let timeout = if said_watching { STATUS_EVERY } else { Duration::from_millis(1) };
        match source.poll(wake.as_fd(), Some(timeout)) {
            Ok(batches) => {
                for batch in batches {
                    if reads.send(Read::Batch(batch)).is_err() {
                        return;
                    }
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
