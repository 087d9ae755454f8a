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
    /// Notes for which feeds there was something, and when that was written.
    pub(super) fn note_lines(&mut self, batch: &Batch, now: Timestamp) {
        let is_live = batch.phase == sources::Phase::Live;
        let path = batch.stream.split_once(':').map_or("", |(_, path)| path);
        let of_file = if is_live { now } else { written(path).map_or(now, |written| written.min(now)) };
        let mut noted = None;
        for record in &batch.records {
            let feed = record.feed;
            let at = record.stamp.filter(|_| !is_live).map_or(of_file, |stamp| stamp.min(now));
            let last = self.last_lines.entry(feed).or_insert(at);
            *last = at.max(*last);
            if noted.replace(feed) != Some(feed) && batch.phase != sources::Phase::History {
                self.heard(feed);
            }
        }
    }

    /// Notes when those files were written that have had no line yet: a restart goes on behind the last one.
    pub(super) fn note_files(&mut self, streams: &[StreamStatus], now: Timestamp) {
        for stream in streams.iter().filter(|stream| stream.problem.is_none() && stream.kind != "journal") {
            if !self.last_lines.contains_key(&stream.feed)
                && let Some(written) = written(&stream.path)
            {
                self.last_lines.insert(stream.feed, written.min(now));
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

/// When a file was last written to; nothing if nothing ever was.
fn written(path: &str) -> Option<Timestamp> {
    let found = std::fs::metadata(path).ok().filter(|found| found.is_file() && found.len() > 0)?;
    let since = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}

/// True if nothing is there yet; asked anew, as a file may have come since the source told of it.
fn is_awaited(stream: &StreamStatus) -> bool {
    stream.kind == "file" && stream.problem.is_some() && !Path::new(&stream.path).exists()
}
