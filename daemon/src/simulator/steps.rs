//! What can happen: one thing a step.

use std::net::IpAddr;

use crossbeam_channel::unbounded;
use pillory_core::event::JailName;
use pillory_core::event::Scope;
use pillory_core::ledger::Element;
use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, Span};

use crate::allowed::Who;
use crate::control::{BanOptions, BanOrder, Request};
use crate::engine::Input;

use super::kernel::Mood;
use super::logs::Deed;
use super::promises::Word;
use super::scenery;
use super::world::{Broken, Setting, Waiting, World};

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
    Crash,
    Settle,
    Start,
}

/// While a daemon runs.
const RUNNING: [(usize, Step); 15] = [
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
    (3, Step::Crash),
    (6, Step::Settle),
];

/// While none does.
const DOWN: [(usize, Step); 6] = [
    (30, Step::Attack),
    (5, Step::LogIn),
    (10, Step::Wait),
    (5, Step::OthersMeddle),
    (5, Step::HostChanges),
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
            Step::Crash => self.fall(),
            Step::Settle => {
                self.note("everything settles".to_owned());
                self.settle()
            }
            Step::Start => {
                self.kernel.table().mood =
                    if self.dice.percent(90) { Mood::Willing } else { Mood::TakesSome };
                self.note("a daemon starts".to_owned());
                self.start().map(drop)
            }
        }
    }

    fn attack(&mut self) -> Result<(), Broken> {
        let (addr, log) = (scenery::attacker(&mut self.dice), usize::from(self.dice.percent(30)));
        let count = 1 + self.dice.below(3);
        let deed = self.dice.weighted(&[(60, Deed::Unknown), (35, Deed::Root), (5, Deed::Noise)]);
        self.note(format!("{addr} does {count} times {deed:?} in log {log}"));
        for _ in 0..count {
            self.logs.write(log, (addr, deed), self.wall());
        }
        self.tally.lines += count as u64;
        Ok(())
    }

    fn log_in(&mut self) -> Result<(), Broken> {
        let friend = scenery::friend(&mut self.dice).0.addr();
        let addr = if self.dice.percent(70) { friend } else { scenery::attacker(&mut self.dice) };
        self.note(format!("{addr} logs in"));
        self.logs.write(0, (addr, Deed::LoggedIn), self.wall());
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
    fn tell(&mut self, input: Input) -> Result<(), Broken> {
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
        let by = *self.dice.of(&[7_200_000, -7_200_000, 60_000, -60_000, 900, -900]);
        self.off_by += by;
        if by > 0 {
            self.words.leapt();
            self.leaps += 1;
        }
        self.note(format!("the wall clock is set by {by} ms"));
        self.patient_until = self.elapsed + 70_000;
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

    fn order(&mut self) -> Result<(), Broken> {
        match self.dice.below(100) {
            0..45 => self.order_ban(),
            45..75 => self.order_unban(),
            75..82 => self.order_allow(),
            82..88 => {
                let span = self.dice.percent(70).then(|| Span::from_secs(1 + self.dice.below(60) as u64));
                let until = span.map_or(u64::MAX, |span| self.elapsed + span.millis());
                let setting = Setting::Off(self.words.switched(), until);
                self.ask_for(Request::Off { span }, Vec::new(), Some(setting))
            }
            88..95 => {
                self.words.switched();
                self.ask(Request::On, Vec::new())
            }
            95..98 => self.order_reload(),
            _ => self.ask(Request::Status, Vec::new()),
        }
    }

    /// A client asks, and waits for the answer.
    fn ask(&mut self, request: Request, asked: Vec<(Prefix, u64, Word)>) -> Result<(), Broken> {
        self.ask_for(request, asked, None)
    }

    fn ask_for(
        &mut self,
        request: Request,
        asked: Vec<(Prefix, u64, Word)>,
        setting: Option<Setting>,
    ) -> Result<(), Broken> {
        self.note(format!("a client asks {}", in_words(&request)));
        if !matches!(request, Request::Ban(..) | Request::Status) {
            self.disturb();
        }
        let (reply, answered) = unbounded();
        let is_enforcing = self.daemon.as_ref().is_some_and(|daemon| daemon.machine().is_enforcing());
        let lasts = self.allowed.iter().all(|(_, until)| until.is_none());
        let is_undisturbed = self.elapsed > self.patient_until && is_enforcing && lasts;
        self.waiting.push(Waiting { reply: answered, asked, setting, is_undisturbed });
        self.tally.orders += 1;
        self.tell(Input::Order((request, reply)))
    }

    fn order_ban(&mut self) -> Result<(), Broken> {
        let count = 1 + self.dice.below(3);
        let prefixes: Vec<Prefix> = (0..count).map(|_| scenery::by_hand(&mut self.dice)).collect();
        let seconds = *self.dice.of(&[Some(2), Some(20), Some(90), Some(900), None]);
        let (force, import) = (self.dice.percent(12), self.dice.percent(15));
        let jail = self.dice.percent(15).then(|| JailName::new("sshd").ok()).flatten();
        let until = seconds.map_or(u64::MAX, |seconds| self.elapsed + seconds * 1_000);
        let asked = match (&jail, import) {
            (None, false) => {
                prefixes.iter().map(|prefix| (*prefix, self.words.ordered(*prefix), Word::Banned(until)))
            }
            _ => return self.ask_ban(prefixes, (jail, seconds, force, import), Vec::new()),
        };
        let asked = asked.collect();
        self.ask_ban(prefixes, (None, seconds, force, false), asked)
    }

    pub(super) fn ask_ban(
        &mut self,
        prefixes: Vec<Prefix>,
        (jail, seconds, force, import): (Option<JailName>, Option<u64>, bool, bool),
        asked: Vec<(Prefix, u64, Word)>,
    ) -> Result<(), Broken> {
        if force {
            self.words.forced.extend(prefixes.iter().copied());
        }
        let order = |prefix| BanOrder { prefix, reason: "by hand".into(), listed: None, kept: None };
        let bantime = seconds.map_or(BanTime::Forever, |seconds| BanTime::For(Span::from_secs(seconds)));
        let options = BanOptions { jail, bantime, force, import, dry_run: false, caller: None };
        self.ask(Request::Ban(prefixes.into_iter().map(order).collect(), options), asked)
    }

    fn order_unban(&mut self) -> Result<(), Broken> {
        if self.dice.percent(8) {
            self.words.ordered_all();
            return self.ask(Request::Unban { prefixes: None, jail: None }, Vec::new());
        }
        let prefix = scenery::by_hand(&mut self.dice);
        let jail = self.dice.percent(15).then(|| JailName::new("sshd").ok()).flatten();
        let word = Word::Unbanned;
        let asked = match jail {
            None => vec![(prefix, self.words.ordered(prefix), word)],
            Some(_) => Vec::new(),
        };
        self.ask(Request::Unban { prefixes: Some(vec![prefix]), jail }, asked)
    }

    fn order_allow(&mut self) -> Result<(), Broken> {
        let prefix = scenery::by_hand(&mut self.dice);
        let span = self.dice.percent(50).then(|| Span::from_secs(1 + self.dice.below(120) as u64));
        let remove = self.dice.percent(40);
        self.allowed.retain(|(known, _)| *known != prefix);
        if !remove {
            self.allowed.push((prefix, span.map(|span| self.wall() + span)));
        }
        self.leaps += 1;
        self.words.allows(prefix, None);
        let until = span.map_or(u64::MAX, |span| self.elapsed + span.millis());
        let setting = (!remove).then_some(Setting::Allow(prefix, self.leaps, until));
        self.ask_for(Request::Allow { who: vec![Who::Prefix(prefix)], span, remove }, Vec::new(), setting)
    }

    fn order_reload(&mut self) -> Result<(), Broken> {
        let sound = self.dice.percent(80);
        if sound {
            self.policy = self.dice.below(scenery::POLICY_COUNT);
        }
        self.write_policy(sound)?;
        let asked = self.ask(Request::Reload, Vec::new());
        self.write_policy(true)?;
        asked
    }
}

fn in_words(request: &Request) -> String {
    match request {
        Request::Ban(orders, options) => {
            let prefixes: Vec<String> = orders.iter().map(|order| order.prefix.short()).collect();
            let BanOptions { jail, bantime, force, import, .. } = options;
            format!("ban {} for {bantime}, jail {jail:?}, force {force}, import {import}", prefixes.join(" "))
        }
        other => format!("{other:?}"),
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
