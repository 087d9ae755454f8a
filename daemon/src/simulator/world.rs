//! A host in simulated time: its kernel, disk, logs and people, and a daemon that lives, is killed and starts again.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crossbeam_channel::Receiver;
use pillory_core::jail::never::Why;
use pillory_core::net::{Prefix, PrefixSet, never_an_attacker};
use pillory_core::time::{Span, Timestamp};

use crate::clock;
use crate::control::Reply;
use crate::engine::jails::Facts;
use crate::engine::{Input, Read};
use crate::kernel::Job;
use crate::store::fullness;

use super::daemon::{Daemon, Files, STREAMS, files};
use super::dice::Dice;
use super::kernel::{Mood, SimulatedKernel};
use super::logs::Logs;
use super::orders::Setting;
use super::promises::{AllowedNow, Kept, Ordered, UsedUp, Word, Words};
use super::trials::Trial;
use super::{Tally, scenery};

/// A clock begins here: 5 January 2026.
const BEGIN_S: i64 = 1_767_571_200;

/// Somebody who waits for the answer to an order.
pub(super) struct Waiting {
    pub(super) reply: Receiver<Reply>,
    /// The prefixes that it concerns, each with the number of the order, and what a clean answer means.
    pub(super) asked: Vec<(Prefix, u64, Word)>,
    /// What a clean answer means for what is not of a ban.
    pub(super) setting: Option<Setting>,
    /// Nothing came since that could take the banned out of the kernel again: nobody else touched it, it refused nothing,
    /// nobody was allowed, nothing was switched off.
    pub(super) is_undisturbed: bool,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) files: Files,
    pub(super) kernel: SimulatedKernel,
    pub(super) logs: Logs,
    /// Milliseconds since the world began, on the clock that never steps; and what the wall clock is off.
    pub(super) elapsed: u64,
    pub(super) off_by: i64,
    /// When the wall clock meets the daemon's time that is ahead of it, or has met it.
    pub(super) behind_until: u64,
    /// So much of it this host slept.
    pub(super) slept: u64,
    /// What the daemon's time should be in microseconds, and when that was.
    expected: (i64, u64),
    /// How often the wall clock was set forward, or who is allowed was changed: older answers say nothing then.
    pub(super) leaps: u64,
    /// The policy in the file that a start would take.
    pub(super) policy: usize,
    /// One that may be on trial.
    pub(super) trial: Option<Trial>,
    /// Policies that were tried in vain, each after the one it came for, as long as no answer says that this is over.
    pub(super) tried: Vec<(usize, usize)>,
    /// A policy was confirmed while the disk was full; and a reboot came after that.
    pub(super) may_forget_confirmed: bool,
    pub(super) forgot_confirmed: bool,
    pub(super) friends: Vec<(Prefix, Why)>,
    pub(super) talks_to: HashSet<IpAddr>,
    /// Who was allowed by command, as far as the daemon took it, until when.
    pub(super) allowed: AllowedNow,
    pub(super) daemon: Option<Daemon>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) kept: Kept,
    pub(super) words: Words,
    pub(super) ordered: Ordered,
    pub(super) never: PrefixSet,
    /// The text of the policy, friends and allowed by which that is so.
    never_by: Option<(String, Vec<Prefix>)>,
    pub(super) trace: VecDeque<String>,
    traced: usize,
    pub(super) tally: Tally,
    pub(super) disk_is_full: bool,
    /// The store was damaged since the last daemon.
    pub(super) is_damaged: bool,
    /// It was damaged once: what is counted of logs says nothing any more.
    pub(super) was_damaged: bool,
    /// Somebody else changed the kernel, and the daemon has not heard of it.
    pub(super) is_touched: bool,
    /// When the engine is due again if nothing comes.
    pub(super) due: u64,
    /// Until then something may be late: the wall clock was set, the kernel refused.
    pub(super) patient_until: u64,
}

/// How many lines of this stream were read.
fn new_lines(read: &Read, stream: &str) -> usize {
    match read {
        Read::Batch(batch) if *batch.stream == *stream => batch.records.len(),
        _ => 0,
    }
}

/// What must hold does not: in words.
pub(super) type Broken = String;

impl World {
    pub(super) fn new(seed: u64, traced: usize) -> Result<World, Broken> {
        let mut dice = Dice::new(seed);
        let name = format!("{seed}-{:?}", std::thread::current().id());
        let files = files(&name, dice.percent(85)).map_err(|error| error.to_string())?;
        let kernel = SimulatedKernel::new(dice.percent(60), Dice::new(seed ^ 0x5eed));
        let mut world = World {
            policy: dice.below(scenery::POLICY_COUNT),
            dice,
            files,
            kernel,
            logs: Logs::default(),
            elapsed: 0,
            off_by: 0,
            behind_until: 0,
            slept: 0,
            expected: (0, 0),
            leaps: 0,
            trial: None,
            tried: Vec::new(),
            may_forget_confirmed: false,
            forgot_confirmed: false,
            friends: vec![("203.0.113.7/32".parse().map_err(|_| "no prefix")?, Why::Own)],
            talks_to: HashSet::new(),
            allowed: Vec::new(),
            daemon: None,
            waiting: Vec::new(),
            kept: Kept::default(),
            words: Words::default(),
            ordered: Ordered::default(),
            never: PrefixSet::new([]),
            never_by: None,
            trace: VecDeque::new(),
            traced,
            tally: Tally::default(),
            disk_is_full: false,
            is_damaged: false,
            was_damaged: false,
            is_touched: false,
            due: 0,
            patient_until: 0,
        };
        world.set_clock();
        world.set_disk(false)?;
        world.write_policy(true)?;
        Ok(world)
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN_S * 1_000 + self.elapsed as i64 + self.off_by)
    }

    /// Every clock shows the time.
    pub(super) fn set_clock(&mut self) {
        let wall = self.wall();
        clock::simulated::set(wall, Span::from_millis(self.elapsed));
        let passed = (self.elapsed - self.expected.1) as i64 * 1_000;
        let goes_on = self.expected.0 + passed - passed / 16;
        self.expected = (goes_on.max(wall.millis() * 1_000), self.elapsed);
        // Some thread of the daemon reads its clock all the time.
        clock::now();
        self.kernel.table().tick(Timestamp::from_millis((self.elapsed - self.slept) as i64));
    }

    /// What the daemon's time should be.
    pub(super) fn expected_time(&self) -> Timestamp {
        Timestamp::from_millis(self.expected.0 / 1_000)
    }

    pub(super) fn note(&mut self, text: String) {
        if self.trace.len() >= self.traced {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{} {text}", self.elapsed));
    }

    pub(super) fn write_policy(&self, sound: bool) -> Result<(), Broken> {
        let text = scenery::policy(self.policy, sound);
        std::fs::write(self.files.config(), text).map_err(|error| error.to_string())
    }

    pub(super) fn facts(&self) -> Facts {
        Facts { never: self.friends.clone(), talks_to: self.talks_to.clone(), ..Facts::default() }
    }

    /// Who was allowed for a time only is so no longer.
    fn end_allowed(&mut self) {
        let now = clock::now();
        self.allowed.retain(|(_, until)| until.is_none_or(|until| until > now));
    }

    /// Who is never banned, as the daemon was told by now.
    pub(super) fn renew_never(&mut self) {
        let text = self.daemon.as_ref().and_then(|daemon| daemon.engine.policy_text()).unwrap_or_default();
        // After most rounds it is as it was.
        let all = self.friends.iter().map(|(prefix, _)| *prefix);
        let all: Vec<Prefix> = all.chain(self.allowed.iter().map(|(prefix, _)| *prefix)).collect();
        if self.never_by.as_ref().is_some_and(|(by, known)| by == text && *known == all) {
            return;
        }
        let always = never_an_attacker().into_iter().chain(scenery::ignored(text));
        self.never = PrefixSet::new(always.chain(all.iter().copied()));
        self.never_by = Some((text.to_owned(), all));
    }

    /// Starts the daemon; false if the kernel does not let it.
    pub(super) fn start(&mut self) -> Result<bool, Broken> {
        self.write_policy(true)?;
        // Programs that other tests start have the lock of the daemon before for a moment, until they are executed.
        let mut tries_left = 2_000;
        let is_locked = |started: &Result<Daemon, Broken>| {
            started.as_ref().err().is_some_and(|reason| reason.contains("another pillory uses the state"))
        };
        let before = self.is_damaged.then(|| self.shut_out());
        let mut started = Daemon::start(&self.files, &self.kernel, || self.facts());
        while is_locked(&started) && tries_left > 0 {
            tries_left -= 1;
            std::thread::sleep(Duration::from_millis(5));
            started = Daemon::start(&self.files, &self.kernel, || self.facts());
        }
        let mut daemon = match started {
            Ok(daemon) => daemon,
            Err(_) if self.kernel.table().mood != Mood::Willing => return Ok(false),
            Err(reason) => return Err(format!("it does not start: {reason}")),
        };
        // It goes on from what the store saw last.
        self.expected = (clock::now().millis() * 1_000, self.elapsed);
        self.is_touched = false;
        self.tally.starts += 1;
        if !self.disk_is_full {
            self.kept.aside_reaches_disk();
        }
        match before {
            None => self.check_restored(&daemon)?,
            Some(before) => self.begins_anew(&daemon, &before)?,
        }
        self.is_damaged = false;
        self.hear_rejection(&daemon)?;
        daemon.collect(&self.logs);
        daemon.writes.iter().for_each(|write| self.kept.sent(write, &self.allowed, UsedUp::new()));
        // What no ban says was put there by somebody else, and is found behind the start at the latest.
        let table = self.kernel.table();
        let ours = table.elements.iter().filter(|(_, held)| held.is_ours).map(|(element, _)| element.clone());
        self.ordered.0 = ours.collect();
        drop(table);
        self.daemon = Some(daemon);
        self.round(0, Vec::new()).map(|()| true)
    }

    /// The process is gone with all that it had not sent.
    pub(super) fn crash(&mut self, is_reboot: bool) {
        self.daemon = None;
        self.trial_crashed();
        self.waiting.clear();
        self.kept.crashed(is_reboot);
        self.allowed = self.kept.allowed();
        self.tally.crashes += 1;
        if is_reboot {
            self.words.rebooted();
            self.trial_rebooted();
            let mut table = self.kernel.table();
            table.elements.clear();
            table.has_frame = false;
            drop(table);
            // It lies in memory on most hosts.
            drop(std::fs::remove_file(format!("{}.unwritten", self.files.control().display())));
        }
    }

    /// Something may change who is in the kernel before those who wait are answered.
    pub(super) fn disturb(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| waiting.is_undisturbed = false);
    }

    /// The kernel's thread takes some of its jobs.
    pub(super) fn kernel_works(&mut self, most: usize) {
        let has_jobs = self.daemon.as_ref().is_some_and(|daemon| !daemon.jobs.is_empty());
        if self.kernel.table().mood != Mood::Willing && has_jobs {
            self.disturb();
            self.patient_until = self.elapsed + 70_000;
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.kernel_works(most);
        }
    }

    /// The store's thread takes some of its writes.
    pub(super) fn store_works(&mut self, most: usize) {
        let Some(daemon) = &mut self.daemon else { return };
        let last_aside = daemon.store_works(most, |written| self.kept.answered(written));
        last_aside.inspect(|number| self.kept.set_aside(*number));
    }

    /// The engine takes what waits and what was read.
    pub(super) fn round(&mut self, inputs: usize, reads: Vec<Read>) -> Result<(), Broken> {
        self.set_clock();
        if self.daemon.is_some() {
            self.end_allowed();
        }
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let new = STREAMS.map(|(_, stream)| reads.iter().map(|read| new_lines(read, stream)).sum());
        let sent = daemon.round(inputs, reads, &self.logs);
        for job in daemon.jobs.iter().skip(sent.first_job) {
            if let Job::Apply(_, changes) = job {
                self.tally.changes += changes.len() as u64;
                self.ordered.apply(changes);
            }
        }
        for write in daemon.writes.iter().skip(sent.first_write) {
            let used_up = match self.was_damaged {
                false => super::checks::used_up(write, (daemon, new), &self.logs, &self.kept)?,
                true => UsedUp::new(),
            };
            self.kept.sent(write, &self.allowed, used_up);
        }
        self.due = self.elapsed + daemon.engine.timeout().as_millis() as u64;
        self.hear_answers()?;
        self.check_round()
    }

    /// Time passes; threads work meanwhile if it is long enough.
    pub(super) fn wait(&mut self, millis: u64) -> Result<(), Broken> {
        let end = self.elapsed + millis;
        let mut rounds = 0;
        while self.daemon.is_some() && self.due <= end {
            self.elapsed = self.elapsed.max(self.due);
            self.set_clock();
            self.round(0, Vec::new())?;
            if millis > 100 {
                self.work()?;
            }
            rounds += 1;
            if rounds > 60 + millis / 1_000 {
                return Err(format!("the engine was due {rounds} times within {millis} ms"));
            }
        }
        self.elapsed = self.elapsed.max(end);
        self.set_clock();
        self.check_lifted()
    }

    /// Every thread does all that waits.
    pub(super) fn work(&mut self) -> Result<(), Broken> {
        // What failed is tried again once, as it is every second.
        self.store_works(usize::MAX);
        for _ in 0..200 {
            self.kernel_works(usize::MAX);
            if self.daemon.as_ref().is_some_and(|daemon| !daemon.writes.is_empty()) {
                self.store_works(usize::MAX);
            }
            let Some(daemon) = &self.daemon else { return Ok(()) };
            if daemon.inbox.is_empty() {
                return Ok(());
            }
            self.round(usize::MAX, Vec::new())?;
        }
        Err("the threads answer each other without end".to_owned())
    }

    /// Everything heals, and then the kernel is what the ledger says, and the store was told the same.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.kernel.table().mood = Mood::Willing;
        if self.daemon.is_none() {
            self.start()?;
        }
        self.set_disk(false)?;
        self.touch();
        self.read_all()?;
        self.work()?;
        if self.daemon.as_ref().is_some_and(|daemon| !daemon.machine().is_enforcing()) {
            // `off` may end by itself, and what was planted meanwhile is found at the next look.
            self.wait(61_000)?;
        }
        self.wait(61_000)?;
        self.read_all()?;
        self.work()?;
        self.check_settled()
    }

    fn read_all(&mut self) -> Result<(), Broken> {
        for _ in 0..1_000 {
            let Some(daemon) = &mut self.daemon else { return Ok(()) };
            if daemon.sources.is_idle(&self.logs) {
                return Ok(());
            }
            let read = daemon.sources.read(64, &self.logs);
            self.round(usize::MAX, read.into_iter().collect())?;
        }
        Err("the sources never come to an end".to_owned())
    }

    /// The daemon hears that somebody else changed the kernel, if somebody did.
    pub(super) fn touch(&mut self) {
        if let Some(daemon) = self.daemon.as_mut().filter(|_| self.is_touched) {
            daemon.inbox.push_back(Input::KernelTouched);
            self.is_touched = false;
        }
    }

    pub(super) fn set_disk(&mut self, is_full: bool) -> Result<(), Broken> {
        self.disk_is_full = is_full;
        let db = self.daemon.as_ref().and_then(Daemon::db);
        fullness::set(is_full, db).map_err(|error| error.to_string())
    }
}
