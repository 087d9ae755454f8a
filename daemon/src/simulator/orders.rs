//! What clients order, and what they may expect then.

use crossbeam_channel::unbounded;
use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, Span};

use crate::allowed::Who;
use crate::clock;
use crate::control::{BanOptions, BanOrder, Request};
use crate::engine::Input;

use super::promises::Word;
use super::scenery;
use super::world::{Broken, Waiting, World};

/// `off` or `allow` of that number, until then by the clock that never steps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting {
    Off(u64, u64),
    Allow(Prefix, u64, u64),
    /// A policy that can be used or not; and one that is confirmed or taken back, from a new connection or an old one.
    Applied(bool),
    Confirmed(usize, bool, bool),
    /// The file was reloaded with this policy in it, after that one.
    Reloaded(usize, usize),
}

impl World {
    pub(super) fn order(&mut self) -> Result<(), Broken> {
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
            95..97 => self.order_reload(),
            97..99 => self.order_trial(),
            _ => self.ask(Request::Status, Vec::new()),
        }
    }

    /// A client asks, and waits for the answer.
    fn ask(&mut self, request: Request, asked: Vec<(Prefix, u64, Word)>) -> Result<(), Broken> {
        self.ask_for(request, asked, None)
    }

    pub(super) fn ask_for(
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
            self.allowed.push((prefix, span.map(|span| clock::now() + span)));
        }
        self.leaps += 1;
        self.words.allows(prefix, None);
        let until = span.map_or(u64::MAX, |span| self.elapsed + span.millis());
        let setting = (!remove).then_some(Setting::Allow(prefix, self.leaps, until));
        self.ask_for(Request::Allow { who: vec![Who::Prefix(prefix)], span, remove }, Vec::new(), setting)
    }

    fn order_reload(&mut self) -> Result<(), Broken> {
        if self.awaits_trial() {
            // Which of two policies somebody wants is then said by who comes last, and that is not seen here.
            return self.ask(Request::Status, Vec::new());
        }
        let (sound, before) = (self.dice.percent(80), self.policy);
        // While a policy is on trial no other is taken.
        if sound && self.trial.is_none() {
            self.policy = self.dice.below(scenery::POLICY_COUNT);
        }
        self.note(format!("the file holds policy {}, sound: {sound}", self.policy));
        self.write_policy(sound)?;
        let setting = sound.then_some(Setting::Reloaded(self.policy, before));
        let asked = self.ask_for(Request::Reload, Vec::new(), setting);
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
