//! Sources with faults.

use std::os::fd::BorrowedFd;

use crossbeam_channel::unbounded;

use super::*;
use crate::clock;
use crate::sources::{Batch, Phase, Record, SourceError, StreamStatus, Wanted};

/// Hands over one record a poll, and faults behind the second one, but for where it begins there.
struct Frail {
    next: u32,
    left: u32,
}

impl Source for Frail {
    fn poll(&mut self, _: BorrowedFd<'_>, _: Option<Duration>) -> Result<Vec<Batch>, SourceError> {
        assert!(self.left > 0, "a bad line");
        self.left -= 1;
        self.next += 1;
        let record = Record { range: 0..1, stamp: None, feed: 1 };
        let position = Position(self.next.to_string());
        let (stream, bytes) = ("file:/log".into(), b"x".to_vec());
        let (records, read_at) = (vec![record], clock::instant());
        Ok(vec![Batch { stream, bytes, records, position, phase: Phase::Live, read_at }])
    }

    fn is_watching(&self) -> bool {
        true
    }

    fn status(&self) -> Vec<StreamStatus> {
        Vec::new()
    }
}

const FRAIL: Kind = Kind {
    name: "frail",
    takes: |_| true,
    open: |_, position| {
        let next = position("file:/log").and_then(|at| at.0.parse().ok()).unwrap_or(0);
        Ok(Box::new(Frail { next, left: 2 }))
    },
};

#[test]
fn a_source_with_a_fault_is_told_and_begins_again_behind_what_it_handed_over() {
    let (reads_in, reads) = unbounded();
    let wake = Wake::new().unwrap();
    let feeds = [Feed { id: 1, what: Wanted::Lines("/log".to_owned()) }];
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            keep_reading(&FRAIL, &feeds, HashMap::new(), &reads_in, (&wake, Duration::from_millis(1)))
        });
        for read in reads.iter() {
            match read {
                Read::Batch(batch) => said.push(batch.position.0),
                Read::Faulted(kind, reason) => said.push(format!("{kind}: {reason}")),
                _ => {}
            }
            if said.len() == 5 {
                break;
            }
        }
        wake.raise();
    });
    assert_eq!(said, ["1", "2", "frail: a bad line", "3", "4"]);
}

#[test]
fn a_source_that_rests_after_a_fault_stops_at_once() {
    let (reads_in, reads) = unbounded();
    let wake = Wake::new().unwrap();
    let feeds = [Feed { id: 1, what: Wanted::Lines("/log".to_owned()) }];
    let began = crate::clock::Stopwatch::start();
    std::thread::scope(|scope| {
        scope.spawn(|| keep_reading(&FRAIL, &feeds, HashMap::new(), &reads_in, (&wake, REST)));
        assert!(reads.iter().any(|read| matches!(read, Read::Faulted(..))));
        wake.raise();
    });
    assert!(began.elapsed() < REST / 2, "{:?}", began.elapsed());
}
