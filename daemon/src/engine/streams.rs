//! What is wrong with what the jails read, one warning a jail where it is one thing.
//!
//! A built-in filter names the places where its service logs on one distribution or another. Only one of them will be
//! there: the others are watched for, and no reason to warn as long as the jail reads something.

use std::path::Path;

use pillory_core::jail::JailIndex;
use pillory_core::time::Timestamp;

use crate::sources::{self, Batch, StreamStatus};

use super::Engine;

impl Engine {
    /// Notes for which feeds there was something now.
    pub(super) fn note_lines(&mut self, batch: &Batch, now: Timestamp) {
        let mut noted = None;
        for feed in batch.records.iter().map(|record| record.feed) {
            if noted.replace(feed) != Some(feed) {
                self.last_lines.insert(feed, now);
                if batch.phase != sources::Phase::History {
                    self.heard(feed);
                }
            }
        }
    }

    /// Every trouble of the streams in words, with the cure.
    pub(super) fn stream_troubles(&self) -> Vec<String> {
        let usual: Vec<JailIndex> =
            (0..).take(self.machine.judge.jails().len()).filter(|at| self.is_usual(*at)).collect();
        let is_alternative = |stream: &StreamStatus| {
            is_awaited(stream) && self.readers.of(stream.feed).iter().all(|(jail, _)| usual.contains(jail))
        };
        let streams = || self.streams.values().flatten();
        let single = streams().filter(|stream| !is_alternative(stream));
        let mut troubles: Vec<String> = single.filter_map(|stream| stream.problem.clone()).collect();
        for jail in usual {
            let own = || {
                streams().filter(move |stream| self.readers.of(stream.feed).iter().any(|(at, _)| *at == jail))
            };
            if own().next().is_none() || !own().all(is_awaited) {
                continue;
            }
            let Some(name) = self.machine.judge.jails().get(usize::from(jail)).map(|jail| &jail.name) else {
                continue;
            };
            let places: Vec<&str> = own().map(|stream| stream.path.as_str()).collect();
            troubles.push(format!(
                "jail {name}: no log of it is there yet ({}); the first that comes is read; if its service logs elsewhere \
                 set logpath, if it has none set enabled = false",
                places.join(", ")
            ));
        }
        troubles
    }

    /// True if a jail reads what its filter names, and nobody chose.
    fn is_usual(&self, jail: JailIndex) -> bool {
        let Some(jail) = self.machine.judge.jails().get(usize::from(jail)) else { return false };
        let configured = self.setup.config.jails.iter().find(|known| known.name == jail.name);
        configured.is_some_and(|jail| jail.logpath.is_empty())
    }
}

/// True if nothing is there yet; asked anew, as a file may have come since the source told of it.
fn is_awaited(stream: &StreamStatus) -> bool {
    stream.kind == "file" && stream.problem.is_some() && !Path::new(&stream.path).exists()
}
