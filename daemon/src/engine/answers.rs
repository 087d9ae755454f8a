//! What the kernel and the store answer, and the clients that wait for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use pillory_core::ledger::Change;
use pillory_core::time::{Span, Timestamp};

use crate::clock::{self, Stopwatch};
use crate::control::{Reply, stamp};
use crate::crash::{self, Point};
use crate::kernel::{Answer, Job};
use crate::store::StoreError;
use crate::store::writer::Written;

use super::Engine;
use super::rounds::VERIFY_EVERY;

/// A command whose answer waits until its effects are durable and in the kernel.
#[derive(Debug)]
pub(super) struct Pending {
    /// The jobs that are its own, or the last one before.
    jobs: RangeInclusive<u64>,
    write: u64,
    /// It asked for a change; one that only asks a question is not told what became of others' changes.
    is_change: bool,
    reply: Sender<Reply>,
    answer: Reply,
    /// Why the kernel refused it, and why it is not on disk.
    kernel: Option<String>,
    disk: Option<String>,
    since: Stopwatch,
}

/// A disk that hangs keeps nobody from asking for longer than this ..
const QUESTION_WAITS: Duration = Duration::from_secs(1);

/// .. and nobody from ordering for longer than this.
const ORDER_WAITS: Duration = Duration::from_secs(5);

impl Pending {
    /// True if it has waited for the disk for long enough.
    fn is_late(&self) -> bool {
        self.since.elapsed() > if self.is_change { ORDER_WAITS } else { QUESTION_WAITS }
    }

    /// True unless it only asks, or was refused as a whole: its answer says why already, and nothing that happens to
    /// others' changes concerns it.
    fn is_done(&self) -> bool {
        self.is_change && (self.answer.exit == 0 || self.answer.message.is_empty())
    }

    /// Answers, and says what became of it.
    fn send(self) {
        let mut answer = self.answer;
        let mut said = match (self.kernel, self.disk) {
            (Some(kernel), disk) => {
                answer = Reply::say(1, format!("kept, but the kernel refused: {kernel}"));
                disk.unwrap_or_default()
            }
            (None, disk) => disk.map(|disk| format!("in the kernel, but {disk}")).unwrap_or_default(),
        };
        if !said.is_empty() && !answer.message.is_empty() {
            said.insert_str(0, "; ");
        }
        answer.message.push_str(&said);
        // The client may have gone; its command is done all the same.
        drop(self.reply.send(answer));
    }
}

/// The first look finds what was refused and orders it again, the second one that it is there now.
const READ_BACKS: u8 = 2;

/// How often it is said within [`A_MINUTE`] that the firewall was healed; a rival that changes it all the time must not
/// fill the log.
const SAID_A_MINUTE: u32 = 3;

const A_MINUTE: Span = Span::from_secs(60);

/// Counts how often that was said lately, and how often it was not.
#[derive(Debug, Default)]
pub(super) struct Healed {
    since: Timestamp,
    said: u32,
    unsaid: u32,
    /// How often since the start; when last, with how many elements that lacked or were too many then.
    times: u64,
    last: Option<(Timestamp, usize, usize)>,
}

impl Healed {
    /// As `status --json` shows it, without what is yet to be done.
    pub(super) fn value(&self) -> Value {
        let last = self.last.map(
            |(time, missing, surplus)| json!({"time": stamp(time), "missing": missing, "surplus": surplus}),
        );
        json!({"healed": self.times, "last": last})
    }

    /// Another time. If it is to be said, how often it was not since the last time.
    fn count(&mut self, now: Timestamp) -> Option<u32> {
        if self.is_over(now) {
            (self.since, self.said) = (now, 0);
        }
        if self.said == SAID_A_MINUTE {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }

    /// How often it was not said, once the minute is over.
    fn take_unsaid(&mut self, now: Timestamp) -> Option<u32> {
        (self.unsaid > 0 && self.is_over(now)).then(|| std::mem::take(&mut self.unsaid))
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.since) >= A_MINUTE || now < self.since
    }
}

/// How soon the first change that the kernel refuses is made up for.
const REFUSED_AGAIN: Span = Span::from_secs(1);

impl Engine {
    /// Answers a client once everything that was done so far is in the kernel and its fate on disk is known; at once
    /// if nothing is under way.
    ///
    /// `is_change`: whether what the client asked for changes something, so that a refusal concerns it.
    pub(super) fn answer(&mut self, reply: Sender<Reply>, answer: Reply, is_change: bool) {
        self.answer_since(self.jobs, (reply, answer), is_change);
    }

    /// The same for a command of which the first job has this number; what the kernel refuses of any of them concerns it.
    pub(super) fn answer_since(
        &mut self,
        first_job: u64,
        (reply, answer): (Sender<Reply>, Reply),
        is_change: bool,
    ) {
        self.pending.push(Pending {
            jobs: first_job.min(self.jobs)..=self.jobs,
            write: self.writes,
            is_change,
            reply,
            answer,
            kernel: None,
            disk: None,
            since: Stopwatch::start(),
        });
        self.answer_pending();
    }

    pub(super) fn kernel(&mut self, answer: Answer) {
        match answer {
            Answer::Applied(number, at, cut) => {
                self.jobs_done = number;
                self.latency.kernel.arrived(number, at);
                if self.read_backs > 0 {
                    self.read_backs -= 1;
                    self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
                }
                if cut > 0 {
                    info!(sockets = cut, "connections of banned sources cut");
                }
                self.answer_pending();
            }
            Answer::Failed(number, reason) => {
                let before = std::mem::replace(&mut self.jobs_done, number);
                self.latency.kernel.failed(number);
                error!(error = %reason, action = self.action, "the kernel refused a change");
                // What passes by itself, such as a full buffer, is over soon; what does not is tried at each check.
                if self.warnings.insert("kernel".into(), reason.to_string()).is_none() {
                    self.last_verify = clock::now() + REFUSED_AGAIN - VERIFY_EVERY;
                }
                self.read_backs = READ_BACKS;
                for pending in self.pending.iter_mut().filter(|pending| pending.is_done()) {
                    if *pending.jobs.start() <= number && *pending.jobs.end() > before {
                        pending.kernel = Some(reason.to_string());
                    }
                }
                self.answer_pending();
            }
            Answer::Rivals(found) => self.rivals(&found),
            Answer::Installed(installed, mended) => {
                let changes = self.machine.reconcile(&installed, clock::now());
                if mended || !changes.is_empty() {
                    self.say_healed(&changes, mended);
                }
                if changes.is_empty() {
                    // Only what was read back shows that nothing lacks: one change that the kernel takes says
                    // nothing of one that it refused before.
                    self.warnings.remove("kernel");
                    self.read_backs = 0;
                    self.healing = self.healing.min(self.jobs);
                } else {
                    self.apply(changes);
                    self.healing = self.jobs;
                }
            }
            Answer::Found(points, found) => self.found(&points, found.as_ref()),
            Answer::Unreadable(reason) => {
                self.unseen = None;
                error!(error = %reason, action = self.action, "cannot read the kernel");
                self.warnings.insert("kernel".into(), reason.to_string());
            }
        }
    }

    /// Says that somebody else changed what is ours; not of what the kernel refused, nor twice of what is being healed.
    fn say_healed(&mut self, changes: &[Change], mended: bool) {
        let is_known = self.warnings.contains_key("kernel") || self.jobs_done < self.healing;
        if !self.ready || !self.machine.is_enforcing() || (is_known && !mended) {
            return;
        }
        let missing = changes.iter().filter(|change| matches!(change, Change::Set(..))).count();
        let (surplus, now) = (changes.len() - missing, clock::now());
        self.healed.times += 1;
        self.healed.last = Some((now, missing, surplus));
        let Some(unsaid) = self.healed.count(now) else { return };
        warn!(
            missing,
            surplus,
            rules_restored = mended,
            unsaid,
            "the firewall was changed by somebody else and has been healed; to switch Pillory off run `{}`",
            self.setup.off
        );
    }

    /// Says how often it was healed without a word, once the minute is over.
    pub(super) fn say_unsaid(&mut self) {
        if let Some(unsaid) = self.healed.take_unsaid(clock::now()) {
            warn!(
                unsaid,
                "somebody else changes the firewall again and again, and it was healed each time; to switch Pillory off run `{}`",
                self.setup.off
            );
        }
    }

    pub(super) fn stored(&mut self, written: Written) {
        if let Written::UpTo(number, _) | Written::Aside(number, ..) | Written::Failed(number, _) = &written {
            self.backlog.done(*number);
            if !self.backlog.is_full() && self.warnings.remove("backlog").is_some() {
                info!("the disk writes again, and attempts are recorded again");
            }
        }
        match written {
            Written::UpTo(number, at) => {
                self.writes_done = number;
                self.latency.durable.arrived(number, at);
                if self.warnings.remove("store").is_some() {
                    info!("the store can be written again");
                }
            }
            Written::Aside(number, path, trouble) => {
                let aside = format!("kept in {} until the disk takes it", path.display());
                self.unwritten(&trouble, &format!("{aside}; a reboot before that loses it"));
                self.tell_pending(number, &format!("not on disk; {aside}: {trouble}"));
            }
            Written::Failed(number, trouble) => {
                self.unwritten(&trouble, "nothing is remembered over a restart until the disk takes it");
                self.tell_pending(number, &format!("not on disk, so a crash would lose it: {trouble}"));
            }
            Written::Shortened(since) => self.shortened(since),
            Written::Lacks(damaged) => {
                self.warnings.extend(damaged.map(|said| ("lost".to_owned(), said)));
                self.write_snapshot();
            }
        }
        self.answer_pending();
    }

    /// The store cannot be written: bans go on, and `status` says so.
    pub(crate) fn unwritten(&mut self, trouble: &StoreError, means: &str) {
        let text = format!("{trouble}; bans go on in the kernel, and {means}");
        if self.warnings.insert("store".into(), text).is_none() {
            error!(error = %trouble, means, "the store cannot be written; bans go on in the kernel");
        }
    }

    /// The fate of the writes up to `number` is known: whoever waits for one of them is told this.
    fn tell_pending(&mut self, number: u64, said: &str) {
        let before = std::mem::replace(&mut self.writes_done, number);
        self.latency.durable.failed(number);
        for pending in self.pending.iter_mut().filter(|pending| pending.is_done()) {
            if (before + 1..=number).contains(&pending.write) {
                pending.disk = Some(said.to_owned());
            }
        }
    }

    /// True if a client waits, so that soon it must be looked whether it has waited long enough.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Answers whoever can be answered, and whoever has waited for a disk that hangs.
    pub(super) fn answer_pending(&mut self) {
        let (jobs, writes) = (self.jobs_done, self.writes_done);
        for pending in self.pending.iter_mut().filter(|pending| pending.write > writes && pending.is_late()) {
            pending.write = writes;
            if pending.is_done() && pending.disk.is_none() {
                pending.disk = Some(
                    "not on disk yet, so a crash would lose it: the disk hangs or is very slow".to_owned(),
                );
            }
        }
        let (done, waiting): (Vec<Pending>, Vec<Pending>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| *pending.jobs.end() <= jobs && pending.write <= writes);
        self.pending = waiting;
        for pending in done {
            crash::point(Point::BothDone, || pending.is_change);
            pending.send();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_what_the_kernel_and_what_the_disk_refused() {
        let told = |answer: Reply, kernel: Option<&str>, disk: Option<&str>| {
            let (reply, answered) = crossbeam_channel::unbounded();
            let (kernel, disk) = (kernel.map(str::to_owned), disk.map(str::to_owned));
            let since = Stopwatch::start();
            Pending { jobs: 1..=1, write: 1, is_change: true, reply, answer, kernel, disk, since }.send();
            let Reply { exit, message, .. } = answered.recv().unwrap();
            (exit, message)
        };
        let fine = || Reply::say(0, "");
        assert_eq!(told(fine(), None, None), (0, String::new()));
        assert_eq!(told(fine(), None, Some("not on disk")), (0, "in the kernel, but not on disk".into()));
        assert_eq!(told(fine(), Some("full"), None), (1, "kept, but the kernel refused: full".into()));
        let both = "kept, but the kernel refused: full; not on disk";
        assert_eq!(told(fine(), Some("full"), Some("not on disk")), (1, both.into()));
        let known = told(Reply::say(0, "one was known"), None, Some("not on disk"));
        assert_eq!(known.1, "one was known; in the kernel, but not on disk");
    }

    #[test]
    fn a_rival_that_changes_the_firewall_all_the_time_is_told_of_three_times_a_minute_with_a_count() {
        let at = Timestamp::from_secs;
        let mut healed = Healed::default();
        let said: Vec<Option<u32>> = (0..10).map(|second| healed.count(at(1000 + second))).collect();
        assert_eq!(said, [[Some(0); 3].as_slice(), &[None; 7]].concat());
        assert_eq!(healed.take_unsaid(at(1059)), None);
        assert_eq!(healed.take_unsaid(at(1060)), Some(7));
        assert_eq!(healed.take_unsaid(at(1061)), None);
        assert_eq!((0..4).filter_map(|_| healed.count(at(1070))).count(), 3);
        assert_eq!(healed.count(at(1130)), Some(1));
    }
}
