//! What a first start learns from the time before it, taken in beside everything else, and what `status` says of it.

use std::collections::BTreeSet;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{info, warn};

use pillory_core::event::{Event, JailName};
use pillory_core::jail::trust;
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::control::stamp;
use crate::learn::{Learnt, Report};

use super::Engine;

/// Name of the setting that tells what was learnt, as JSON. A start that does not find it, or finds that it was not
/// finished, or whose store lost something, is a first start.
pub(crate) const META_LEARNT: &str = "learnt";

/// So much is named of what was not read.
const MOST_LEFT_OUT: usize = 10;

/// How learning stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Learning {
    /// Only what happened before is learnt: the moment of the first start.
    pub(crate) before: Timestamp,
    /// Nothing more is to be read.
    pub(crate) is_done: bool,
    logins: u64,
    networks: u64,
    from: Vec<String>,
    left_out: Vec<String>,
    /// Attempts that failed in the week before, and from when on they were counted; an older version counted none.
    #[serde(default)]
    pub(crate) failed: Option<(u64, Timestamp)>,
    /// The jails whose attempts these are.
    #[serde(default)]
    pub(crate) of: Vec<JailName>,
    #[serde(skip)]
    seen: BTreeSet<Prefix>,
    /// Tells the learner to begin.
    #[serde(skip)]
    go: Option<Sender<()>>,
}

impl Learning {
    /// As it was kept; from the beginning if it was not, or if the store that kept it `lost` something.
    pub(crate) fn restored(kept: Option<&str>, lost: bool, now: Timestamp) -> Learning {
        let kept = Learning::of_kept(kept).filter(|_| !lost);
        match kept {
            Some(kept) if kept.is_done => kept,
            // What an earlier start saw as it came is in the store with other times than in the logs.
            Some(kept) => Learning { before: kept.before.min(now), ..Learning::default() },
            None => Learning { before: now, ..Learning::default() },
        }
    }

    /// As it was kept, if it was.
    pub(crate) fn of_kept(kept: Option<&str>) -> Option<Learning> {
        kept.and_then(|kept| serde_json::from_str::<Learning>(kept).ok())
    }

    /// The moment of the first start as it was kept; the epoch if it was not.
    pub(crate) fn first_start(kept: Option<&str>) -> Timestamp {
        Learning::of_kept(kept).map_or_else(Timestamp::default, |kept| kept.before)
    }

    /// The same for the store.
    pub(super) fn kept(&self) -> String {
        // Invariant: numbers and texts always become JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As `status --json` shows it; null once it is all forgotten.
    pub(super) fn value(&self, now: Timestamp) -> Value {
        if self.is_done && now.since(self.before) >= trust::MEMORY {
            return Value::Null;
        }
        json!({
            "before": stamp(self.before),
            "done": self.is_done,
            "logins": self.logins,
            "networks": self.networks,
            "days": trust::MEMORY.secs() / 86_400,
            "from": self.from,
            "left_out": self.left_out,
        })
    }
}

impl Engine {
    /// Takes over how learning stands. Returns where the learner hears that everything is watched, if there is something
    /// to learn.
    pub(crate) fn begin_learning(&mut self, learning: Learning) -> Receiver<()> {
        let (go_in, go) = bounded(1);
        self.learning = learning;
        if !self.learning.is_done {
            self.learning.go = Some(go_in);
            self.meta.push((META_LEARNT.into(), self.learning.kept()));
        }
        go
    }

    /// Everything is watched: now there is time for what was before.
    pub(super) fn learn(&mut self) {
        if let Some(go) = self.learning.go.take() {
            // It waits for this, and for nothing else.
            let _ = go.send(());
        }
    }

    pub(super) fn learnt(&mut self, learnt: Learnt) {
        match learnt {
            Learnt::Logins(logins) => logins.iter().for_each(|(jail, login)| self.learn_login(jail, login)),
            Learnt::Done(report) => self.has_learnt(report),
        }
    }

    fn learn_login(&mut self, jail: &JailName, login: &Event) {
        let unaware = self.learning.before;
        let learnt = self.machine.learn(jail, login, unaware, clock::now(), &mut self.effects);
        let Some(learnt) = learnt else { return };
        let network = Prefix::host(learnt.addr).widened(if learnt.addr.is_ipv4() { 24 } else { 64 });
        self.learning.seen.insert(network);
        self.learning.logins += 1;
        self.learning.networks = self.learning.seen.len() as u64;
        for ban in &learnt.lifted {
            warn!(jail = %ban.jail, ip = %ban.prefix.short(), "ban lifted: people log in from there, as was learnt only now");
        }
    }

    /// In the transaction of the last logins: what came before a crash without it is learnt again.
    fn has_learnt(&mut self, mut report: Report) {
        report.left_out.truncate(MOST_LEFT_OUT);
        let learning = &mut self.learning;
        (learning.is_done, learning.from, learning.left_out) = (true, report.from, report.left_out);
        (learning.failed, learning.of) = (report.failed, report.of);
        learning.seen = BTreeSet::new();
        let (logins, networks) = (learning.logins, learning.networks);
        info!(logins, networks, from = %learning.from.join(", "), "learnt the good logins of the last 30 days");
        if !learning.left_out.is_empty() {
            warn!(left_out = %learning.left_out.join("; "), "not all logs of the last 30 days were read");
        }
        self.meta.push((META_LEARNT.into(), self.learning.kept()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn what_was_finished_is_not_done_again_and_what_was_not_begins_with_the_same_moment() {
        let first = Learning::restored(None, false, NOW);
        assert_eq!((first.before, first.is_done), (NOW, false));
        assert_eq!(Learning::first_start(Some(&first.kept())), NOW);
        assert_eq!(Learning::first_start(None), Timestamp::default());
        let later = Timestamp::from_secs(1_000_500);
        let again = Learning::restored(Some(&first.kept()), false, later);
        assert_eq!((again.before, again.is_done), (NOW, false));
        let done = Learning { is_done: true, logins: 7, ..first };
        let known = Learning::restored(Some(&done.kept()), false, later);
        assert_eq!((known.is_done, known.logins), (true, 7));
        let lost = Learning::restored(Some(&done.kept()), true, later);
        assert_eq!((lost.before, lost.is_done, lost.logins), (later, false, 0));
        assert!(!Learning::restored(Some("garbage"), false, later).is_done);
    }

    #[test]
    fn a_status_tells_of_it_for_thirty_days() {
        let done = Learning { before: NOW, is_done: true, ..Learning::default() };
        assert_eq!(done.value(NOW)["done"], true);
        assert!(done.value(NOW + trust::MEMORY).is_null());
    }
}
