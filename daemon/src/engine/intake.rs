//! What comes in: lines of the sources, and what everybody else tells.

use std::sync::Arc;

use tracing::error;

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::machine::Phase;

use crate::allowed;
use crate::clock;
use crate::kernel::Job;
use crate::sources::{self, Batch};

use super::{Engine, Facts, Input, Read};

impl Engine {
    pub(super) fn read(&mut self, read: Read) {
        match read {
            Read::Batch(batch) => self.batch(&batch),
            Read::Watching(kind) => self.watching.push(kind),
            Read::Stopped => self.switch_over(),
            Read::Status(kind, streams) => {
                self.note_files(&streams, clock::now());
                self.streams.insert(kind, streams);
                self.tell_logs();
            }
            Read::Failed(kind, reason) => {
                error!(source = kind, reason, "source failed");
                self.warnings.insert(
                    format!("source {kind}"),
                    format!("source {kind} failed: {reason}; restart the daemon"),
                );
                self.watching.push(kind);
            }
            Read::Faulted(kind, reason) => {
                self.warnings.insert(
                    format!("source {kind}"),
                    format!(
                        "source {kind}: a fault in Pillory ended it ({}); it begins again every 10 s; please report it",
                        crate::escape::escape(&reason)
                    ),
                );
                self.watching.push(kind);
            }
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let read = clock::read();
        self.machine.set_ahead(read.ahead());
        let clock = Clock { now: read.now, zone: self.setup.zone.clone() };
        let phase = match batch.phase {
            sources::Phase::History => Phase::History,
            sources::Phase::CatchUp => Phase::CatchUp,
            sources::Phase::Live => Phase::Live,
        };
        self.has_read_history |= phase == Phase::History && !batch.records.is_empty();
        let before = self.effects.len();
        for record in &batch.records {
            let Some(bytes) = batch.bytes.get(record.range.clone()) else { continue };
            let line = Line { bytes, stamp: record.stamp };
            for reader in self.readers.of(record.feed) {
                self.machine.line(*reader, &line, phase, &clock, &mut self.effects);
            }
        }
        self.latency.judged(batch, self.effects.get(before..).unwrap_or_default());
        self.note_lines(batch, read.now);
        self.positions.insert(Arc::clone(&batch.stream), batch.position.clone());
        self.known_positions.insert(batch.stream.to_string(), batch.position.clone());
    }

    pub(super) fn input(&mut self, input: Input) {
        match input {
            Input::Kernel(answer) => self.kernel(answer),
            Input::Store(written) => self.stored(written),
            Input::Order((request, reply)) => self.order(request, reply),
            Input::KernelTouched => {
                if self.machine.is_enforcing() {
                    self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
                }
            }
            // Every round looks at the clock.
            Input::ClockSet => {}
            Input::Facts(facts) => self.facts(facts),
            Input::Rescue(call) => self.rescue(call),
            Input::Answered(answered) => self.answered(answered),
            Input::Learnt(learnt) => self.learnt(learnt),
            Input::Seen(seen) => self.seen(seen),
            Input::Published(outcome) => self.published(outcome),
            Input::Stop => self.stopping = true,
            Input::Reload => self.reload(None),
        }
    }

    fn facts(&mut self, facts: Facts) {
        self.take_facts(facts);
        self.spare();
    }

    /// Takes over what the host knows, but for who is never banned.
    pub(super) fn take_facts(&mut self, mut facts: Facts) {
        self.machine.set_talks_to(std::mem::take(&mut facts.talks_to));
        if let Some(accounts) = facts.accounts.take() {
            self.machine.judge.names.set_accounts(accounts);
        }
        self.facts = facts;
    }

    /// Brings who is never banned up to date.
    pub(super) fn spare(&mut self) {
        let never = allowed::never(&self.setup.config, &self.allowed, &self.facts);
        self.machine.set_never(never, &mut self.effects);
        self.restrict();
    }
}
