//! When a line counts: its own date, else the last one that was seen, else now; and what is left without the date.

use std::ops::Range;
use std::sync::Arc;

use smol_str::SmolStr;

use super::Timing;
use super::buffer::Piece;
use crate::filter::Clock;
use crate::filter::dates::{DateMatch, Detector, Undated};
use crate::time::{Span, Timestamp};

/// How long the last date stands in for a missing one. Source: fail2ban 1.0.
const LAST_DATE_HOLDS: Span = Span::from_secs(60);

/// Finds dates and remembers the last.
#[derive(Debug)]
pub(super) struct Stamps {
    pub(super) detector: Detector,
    /// What the last line's text says, for whoever asks.
    pub(super) seen: Option<DateMatch>,
    last: Option<Timestamp>,
    last_text: Vec<u8>,
}

/// A line with its date cut out.
#[derive(Debug)]
pub(super) struct Cut {
    /// Where the date stands; nothing is cut if it is empty.
    range: Range<usize>,
    /// The last date's text, where it stands in for a missing one; it is shown with the line.
    lead: Option<Arc<[u8]>>,
    /// When the line counts; nothing if nobody knows.
    pub(super) time: Option<Timestamp>,
}

impl super::Fail2banFilter {
    /// Reads dates by this detector from now on: another year has begun.
    pub(in crate::filter) fn read_dates_by(&mut self, detector: Detector) {
        self.stamps.detector = detector;
    }

    /// Forgets the lines so far, with what connections said: what comes next is another log.
    pub(in crate::filter) fn begin(&mut self) {
        (self.stamps.seen, self.stamps.last) = (None, None);
        self.connections = super::Connections::default();
        self.buffer = super::Buffer::default();
    }
}

impl Stamps {
    pub(super) fn new(detector: Detector) -> Stamps {
        Stamps { detector, seen: None, last: None, last_text: Vec::new() }
    }

    /// Takes the date out of a line; nothing if what stands there is a date that makes fail2ban drop the line.
    /// `stamp`: the time that its source gave, which has none in its text.
    pub(super) fn cut(
        &mut self,
        bytes: &[u8],
        stamp: Option<Timestamp>,
        clock: &Clock,
        timing: Timing,
    ) -> Option<Cut> {
        self.seen = None;
        if let Some(stamp) = stamp {
            self.last = Some(stamp);
            self.last_text.clear();
            return Some(Cut { range: 0..0, lead: None, time: Some(stamp) });
        }
        let recent = self.last.filter(|last| *last > clock.now - LAST_DATE_HOLDS);
        let found = self.detector.find(bytes, clock);
        self.seen.clone_from(&found);
        let (range, undated) = match found {
            None => (0..0, None),
            Some(DateMatch { range, time: Ok(time), .. }) if !range.is_empty() => {
                self.last = Some(time);
                self.last_text.clear();
                self.last_text.extend_from_slice(&bytes[range.clone()]);
                return Some(Cut { range, lead: None, time: Some(time) });
            }
            Some(DateMatch { time: Err(Undated::Unreadable), .. }) => return None,
            // A pattern may say that a date is optional.
            Some(DateMatch { range, .. }) => (range.clone(), range.is_empty().then_some(clock.now)),
        };
        if let Some(last) = recent {
            return Some(Cut { range: 0..0, lead: Some(self.last_text.as_slice().into()), time: Some(last) });
        }
        let now = (timing == Timing::Operation).then_some(clock.now);
        Some(Cut { range, lead: None, time: undated.or(now) })
    }

    /// The last date was too far off: now stands for it.
    pub(super) fn simulate(&mut self, now: Timestamp) {
        self.last = Some(now);
    }
}

impl Cut {
    /// Appends what is left of the line.
    pub(super) fn write(&self, bytes: &[u8], into: &mut Vec<u8>) {
        into.extend_from_slice(&bytes[..self.range.start]);
        into.extend_from_slice(&bytes[self.range.end..]);
    }

    /// The line with its date, as it is shown.
    pub(super) fn whole(&self, bytes: &[u8]) -> SmolStr {
        match &self.lead {
            None => super::lossy(bytes),
            Some(lead) => super::lossy(&[lead, bytes].concat()),
        }
    }

    pub(super) fn piece(&self, bytes: &[u8]) -> Piece {
        let mut text = Vec::with_capacity(bytes.len());
        self.write(bytes, &mut text);
        let whole = match &self.lead {
            None => bytes.into(),
            Some(lead) => [lead, bytes].concat().into(),
        };
        Piece { whole, text: text.into() }
    }
}
