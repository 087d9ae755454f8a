//! The engine's loop: it takes what comes, does what is due, and sends all effects out, round by round.

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, never, select};
use tracing::info;

use pillory_core::time::{Span, Timestamp};

use crate::clock;
use crate::kernel::Job;
use crate::service;

use super::{Engine, Input, Read, report};

const SWEEP_EVERY: Span = Span::from_secs(60);

pub(super) const VERIFY_EVERY: Span = Span::from_secs(30);

/// At most so many inputs are taken in one round, so that effects do not wait for ever.
const ROUND: usize = 64;

/// At most so many batches of lines, some 20,000 lines, are judged in one round.
const BATCHES: usize = 8;

/// Once so many effects wait they are sent out before more lines are judged: a flood shall neither fill memory nor hold
/// back the bans of its begin.
const MOST_EFFECTS: usize = 2_048;

/// How often it is looked whether the store has caught up, or hangs.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Engine {
    /// Works until told to stop. Returns once everything is durable.
    pub(crate) fn run(&mut self, reads: &Receiver<Read>, inputs: &Receiver<Input>) {
        self.say_ready();
        let nothing = never();
        while !self.stopping {
            let holds_back = self.backlog.holds_back();
            let reads = if holds_back { &nothing } else { reads };
            let timeout = match self.is_waited_for() {
                _ if holds_back => LOOK_AGAIN,
                true => self.timeout().min(LOOK_AGAIN),
                false => self.timeout(),
            };
            select! {
                recv(inputs) -> input => match input { Ok(input) => self.input(input), Err(_) => self.stopping = true },
                recv(reads) -> read => if let Ok(read) = read { self.read(read) },
                default(timeout) => {}
            }
            self.round(inputs.try_iter().take(ROUND), reads.try_iter().take(BATCHES));
        }
        self.settle(inputs);
    }

    /// Takes what has come, does what is due, and sends all effects out.
    pub(crate) fn round(&mut self, inputs: impl Iterator<Item = Input>, reads: impl Iterator<Item = Read>) {
        for input in inputs {
            self.input(input);
        }
        for read in reads {
            self.read(read);
            if self.effects.len() >= MOST_EFFECTS {
                self.flush();
            }
        }
        self.housekeeping();
        self.flush();
        self.verify();
        self.say_ready();
    }

    /// How long nothing is due if nothing comes.
    pub(crate) fn timeout(&self) -> Duration {
        let now = clock::now();
        let ends = self
            .machine
            .next_deadline()
            .into_iter()
            .chain(self.off_until)
            .chain(self.trial_end())
            .chain(self.next_look())
            .chain(self.allowed.next_end());
        let end = ends.min();
        let until_end = end.map_or(SWEEP_EVERY, |end| end.since(now));
        let until_verify = (self.last_verify + VERIFY_EVERY).since(now);
        let until = Duration::from_millis(until_end.min(until_verify).millis().clamp(1, 60_000));
        until.min(self.watchdog.patience())
    }

    fn housekeeping(&mut self) {
        self.answer_pending();
        self.watchdog.pat();
        let read = clock::read();
        self.heed_clock(read);
        let now = read.now;
        if self.off_until.is_some_and(|until| until <= now) {
            self.set_off(None);
            info!("on again: the time of `pillory off --for` is over");
        }
        self.end_trial(now);
        self.end_allowed(now);
        self.tick(now);
        self.publish(now);
        self.post_warnings(now);
        if now.since(self.last_sweep) >= SWEEP_EVERY {
            self.last_sweep = now;
            self.machine.sweep(now, &mut self.effects);
            self.say_limits();
            self.say_unsaid();
            self.look_out(now);
        }
        self.show_motd(now);
    }

    /// Ends what is over, a crowd step by step: what that brings waits for the store, as lines do, until the next commit.
    fn tick(&mut self, now: Timestamp) {
        while !self.backlog.holds_back() {
            self.machine.tick(now, &mut self.effects);
            if self.machine.next_deadline().is_none_or(|due| due > now) {
                break;
            }
            self.flush();
        }
    }

    /// Looks whether the kernel holds what it should, behind the changes of this round: what it has yet to be told would
    /// look like somebody else's work.
    fn verify(&mut self) {
        let now = clock::now();
        if now.since(self.last_verify) < VERIFY_EVERY && now >= self.last_verify {
            return;
        }
        self.last_verify = now;
        if self.warnings.contains_key("kernel") {
            self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
        } else if self.machine.is_enforcing() {
            self.tell_kernel(Job::Verify(self.machine.projection().points()));
        }
    }

    /// Where somebody hears that everything is watched.
    pub(crate) fn when_ready(&mut self) -> Receiver<()> {
        let (sender, ready) = bounded(1);
        self.awaited = Some(sender);
        ready
    }

    fn say_ready(&mut self) {
        let all_watch = self.readers.kinds.iter().all(|kind| self.watching.contains(kind));
        if self.ready || !all_watch || self.jobs_done < self.jobs {
            return;
        }
        self.ready = true;
        // A restart knows the same windows and has said it before.
        let jails = self.machine.judge.jails().iter().enumerate().filter(|_| self.has_read_history);
        for (at, jail) in jails {
            let would = self.machine.judge.would_ban(at as u16);
            if !would.is_empty() {
                let first: Vec<String> = would.iter().take(5).map(|prefix| prefix.short()).collect();
                info!(jail = %jail.name, count = would.len(), first = %first.join(" "), "the history would have banned; they are banned at their next failure");
            }
        }
        report::ready(self);
        // Whoever waited may be gone.
        if let Some(awaited) = self.awaited.take() {
            let _ = awaited.send(());
        }
        self.post_start();
        self.look_at_kernel();
        self.learn();
    }

    /// Finishes what is queued, within a few seconds, and stops.
    fn settle(&mut self, inputs: &Receiver<Input>) {
        service::stopping();
        self.keep_rhythms();
        self.flush();
        let limit = Duration::from_secs(5);
        let since = clock::Stopwatch::start();
        while (self.jobs_done < self.jobs || self.writes_done < self.writes) && since.elapsed() < limit {
            match inputs.recv_timeout(Duration::from_millis(200)) {
                Ok(Input::Kernel(answer)) => self.kernel(answer),
                Ok(Input::Store(written)) => self.stored(written),
                _ => {}
            }
        }
        self.stop_hooks();
        self.post_stop();
        report::stopping(self);
    }
}
