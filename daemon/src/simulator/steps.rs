//! What can happen: one thing a step.

use std::net::IpAddr;

use pillory_core::event::Scope;
use pillory_core::ledger::Element;
use pillory_core::net::Prefix;

use crate::clock;
use crate::engine::Input;

use super::kernel::Mood;
use super::logs::Deed;
use super::scenery;
use super::world::{Broken, World};

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    Attack,
    LogIn,
    Read,
    KernelWorks,
    StoreWorks,
    EngineHears,
    Wait,
    Order,
    HostChanges,
    OthersMeddle,
    KernelMood,
    Disk,
    ClockSteps,
    Sleep,
    Crash,
    Settle,
    Damage,
    Start,
}

/// While a daemon runs.
const RUNNING: [(usize, Step); 16] = [
    (260, Step::Attack),
    (20, Step::LogIn),
    (230, Step::Read),
    (90, Step::KernelWorks),
    (70, Step::StoreWorks),
    (100, Step::EngineHears),
    (110, Step::Wait),
    (60, Step::Order),
    (14, Step::HostChanges),
    (14, Step::OthersMeddle),
    (8, Step::KernelMood),
    (8, Step::Disk),
    (2, Step::ClockSteps),
    (1, Step::Sleep),
    (3, Step::Crash),
    (6, Step::Settle),
];

/// While none does.
const DOWN: [(usize, Step); 7] = [
    (30, Step::Attack),
    (5, Step::LogIn),
    (10, Step::Wait),
    (5, Step::OthersMeddle),
    (5, Step::HostChanges),
    (2, Step::Damage),
    (45, Step::Start),
];

impl World {
    /// One thing happens.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        let steps: &[(usize, Step)] = if self.daemon.is_some() { &RUNNING } else { &DOWN };
        let step = self.dice.weighted(steps);
        match step {
            Step::Attack => self.attack(),
            Step::LogIn => self.log_in(),
            Step::Read => self.read(),
            Step::KernelWorks => {
                let most = 1 + self.dice.below(4);
                self.note(format!("the kernel takes {most} jobs"));
                self.kernel_works(most);
                Ok(())
            }
            Step::StoreWorks => {
                let most = 1 + self.dice.below(4);
                self.note(format!("the store takes {most} writes"));
                self.store_works(most);
                Ok(())
            }
            Step::EngineHears => {
                let most = 1 + self.dice.below(6);
                self.note(format!("the engine hears {most} answers"));
                self.round(most, Vec::new())
            }
            Step::Wait => self.pass_time(),
            Step::Order => self.order(),
            Step::HostChanges => self.host_changes(),
            Step::OthersMeddle => self.meddle(),
            Step::KernelMood => self.kernel_mood(),
            Step::Disk => {
                let is_full = self.dice.percent(30);
                self.note(format!("the disk is full: {is_full}"));
                self.set_disk(is_full)
            }
            Step::ClockSteps => self.clock_steps(),
            Step::Sleep => self.sleep(),
            Step::Crash => self.fall(),
            Step::Damage => self.damage(),
            Step::Settle => {
                self.note("everything settles".to_owned());
                self.settle()
            }
            Step::Start => {
                self.kernel.table().mood =
                    if self.dice.percent(90) { Mood::Willing } else { Mood::TakesSome };
                let is_full = self.dice.percent(15);
                self.set_disk(is_full)?;
                self.note(format!("a daemon starts; the disk is full: {is_full}"));
                self.start().map(drop)
            }
        }
    }

    fn attack(&mut self) -> Result<(), Broken> {
        let (addr, log) = (scenery::attacker(&mut self.dice), usize::from(self.dice.percent(30)));
        let count = 1 + self.dice.below(3);
        let deed = self.dice.weighted(&[(60, Deed::Unknown), (35, Deed::Root), (5, Deed::Noise)]);
        self.note(format!("{addr} does {count} times {deed:?} in log {log}"));
        let when = (self.wall(), !self.kept.has_begun);
        for _ in 0..count {
            self.logs.write(log, (addr, deed), when);
        }
        self.tally.lines += count as u64;
        Ok(())
    }

    fn log_in(&mut self) -> Result<(), Broken> {
        let friend = scenery::friend(&mut self.dice).0.addr();
        let addr = if self.dice.percent(70) { friend } else { scenery::attacker(&mut self.dice) };
        self.note(format!("{addr} logs in"));
        self.logs.write(0, (addr, Deed::LoggedIn), (self.wall(), !self.kept.has_begun));
        Ok(())
    }

    fn read(&mut self) -> Result<(), Broken> {
        let most = 1 + self.dice.below(8);
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let read = daemon.sources.read(most, &self.logs);
        self.note(format!("a source sends {:?}", read.as_ref().map(describe)));
        self.round(0, read.into_iter().collect())
    }

    fn pass_time(&mut self) -> Result<(), Broken> {
        let millis = match self.dice.below(100) {
            0..55 => self.dice.below(20),
            55..85 => self.dice.below(3_000),
            85..97 => self.dice.below(30_000),
            _ => self.dice.below(200_000),
        };
        self.note(format!("{millis} ms pass"));
        self.touch_at(20);
        self.wait(millis as u64)
    }

    /// The daemon may hear of what others did.
    fn touch_at(&mut self, chance: usize) {
        if self.is_touched && self.dice.percent(chance) {
            self.touch();
        }
    }

    fn host_changes(&mut self) -> Result<(), Broken> {
        let friend = scenery::friend(&mut self.dice);
        match self.friends.iter().position(|known| *known == friend) {
            Some(at) => drop(self.friends.remove(at)),
            None => self.friends.push(friend),
        }
        if self.dice.percent(30) {
            let addr = scenery::attacker(&mut self.dice);
            if !self.talks_to.remove(&addr) {
                self.talks_to.insert(addr);
            }
        }
        self.note(format!(
            "the host's friends are {:?}, it talks to {:?}",
            self.friends,
            sorted(&self.talks_to)
        ));
        self.disturb();
        let facts = self.facts();
        self.tell(Input::Facts(facts))
    }

    /// The engine takes this, before or after all that waits for it.
    pub(super) fn tell(&mut self, input: Input) -> Result<(), Broken> {
        let overtakes = self.dice.percent(50);
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if overtakes {
            daemon.inbox.push_front(input);
            return self.round(1, Vec::new());
        }
        daemon.inbox.push_back(input);
        self.round(usize::MAX, Vec::new())
    }

    fn meddle(&mut self) -> Result<(), Broken> {
        let mut table = self.kernel.table();
        let said = match self.dice.below(4) {
            0 => {
                table.elements.clear();
                table.has_frame = false;
                "everything".to_owned()
            }
            1 | 2 => {
                let at = self.dice.below(table.elements.len());
                let element = table.elements.keys().nth(at).cloned();
                element.as_ref().map(|element| table.elements.remove(element));
                format!("{element:?} away")
            }
            // An old ruleset brings somebody back.
            _ if table.has_frame => {
                let prefix = Prefix::host(scenery::attacker(&mut self.dice));
                table.plant(Element { scope: Scope::All, prefix });
                format!("{prefix} there")
            }
            _ => "nothing".to_owned(),
        };
        drop(table);
        self.is_touched = true;
        self.patient_until = self.elapsed + 70_000;
        self.disturb();
        self.note(format!("somebody else takes {said}"));
        self.touch_at(50);
        Ok(())
    }

    fn kernel_mood(&mut self) -> Result<(), Broken> {
        let mood = self.dice.weighted(&[(6, Mood::Willing), (1, Mood::Forbids), (2, Mood::TakesSome)]);
        self.note(format!("the kernel is {mood:?}"));
        self.kernel.table().mood = mood;
        self.patient_until = self.elapsed + 70_000;
        Ok(())
    }

    fn clock_steps(&mut self) -> Result<(), Broken> {
        let by = *self.dice.of(&[7_200_000, -7_200_000, 60_000, -60_000, 900, -900, 86_400_000, -86_400_000]);
        self.off_by += by;
        if by > 0 {
            self.words.leapt();
            self.leaps += 1;
            self.disturb();
        }
        self.note(format!("the wall clock is set by {by} ms"));
        // Where the kernel does not tell, the daemon sees it at its next look.
        let is_told = self.dice.percent(50);
        let patience = if is_told { 1_000 } else { 31_000 };
        self.patient_until = self.patient_until.max(self.elapsed + patience);
        self.set_clock();
        match clock::read().ahead().millis() {
            0 => self.behind_until = self.behind_until.min(self.elapsed),
            ahead => self.behind_until = self.elapsed + 16 * ahead,
        }
        if is_told { self.tell(Input::ClockSet) } else { Ok(()) }
    }

    /// The host is suspended: the wall clock goes on, and neither the kernel's time-outs nor the daemon's waits do.
    fn sleep(&mut self) -> Result<(), Broken> {
        let millis = 1 + self.dice.below(600_000) as u64;
        self.note(format!("the host sleeps for {millis} ms"));
        self.elapsed += millis;
        self.slept += millis;
        self.due += millis;
        self.patient_until = self.patient_until.max(self.elapsed + 31_000);
        self.disturb();
        self.set_clock();
        Ok(())
    }

    /// The process dies, after its threads did some of what waited.
    fn fall(&mut self) -> Result<(), Broken> {
        let (jobs, writes, is_reboot) = (self.dice.below(4), self.dice.below(4), self.dice.percent(20));
        let before = self.kernel.table().mood;
        if self.dice.percent(20) {
            // In the middle of a batch.
            self.kernel.table().mood = Mood::TakesSome;
        }
        self.note(format!(
            "it dies after {jobs} more jobs and {writes} more writes, with a reboot: {is_reboot}"
        ));
        self.kernel_works(jobs);
        if writes > 0 {
            self.store_works(writes);
        }
        self.kernel.table().mood = before;
        self.crash(is_reboot);
        Ok(())
    }
}

fn describe(read: &crate::engine::Read) -> String {
    match read {
        crate::engine::Read::Batch(batch) => {
            format!(
                "{} records of {} to {}, {:?}",
                batch.records.len(),
                batch.stream,
                batch.position.0,
                batch.phase
            )
        }
        other => format!("{other:?}"),
    }
}

fn sorted(addresses: &std::collections::HashSet<IpAddr>) -> Vec<IpAddr> {
    let mut sorted: Vec<IpAddr> = addresses.iter().copied().collect();
    sorted.sort();
    sorted
}
