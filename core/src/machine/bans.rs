//! Bans taken over, lifted and ended, and the kernel kept to them.

use std::collections::{BTreeSet, HashSet};

use crate::event::{JailName, Origin, Scope};
use crate::filter::fail2ban::Subject;
use crate::jail::never::NeverBan;
use crate::ledger::projection::is_point;
use crate::ledger::{Ban, Change, Element, Ended, Installed, Ledger};
use crate::net::Prefix;
use crate::reason::Reason;
use crate::time::{End, Span, Timestamp};

use super::{Effect, Machine, Notice, Record};

/// At most so many bans end in one [`Machine::tick`]: a million that end together shall not become effects, all at once.
const ENDED_AT_ONCE: usize = 4_096;

impl Machine {
    /// Takes over a ban, whoever decided it. Returns false if it changes nothing.
    pub fn ban(&mut self, ban: Ban, out: &mut Vec<Effect>) -> bool {
        self.ban_all(vec![ban], out) == 1
    }

    /// Takes over many bans at once; returns how many changed something.
    pub fn ban_all(&mut self, bans: Vec<Ban>, out: &mut Vec<Effect>) -> usize {
        let mut dirty = BTreeSet::new();
        for ban in bans {
            // For one that changes nothing there is room: it stands already.
            if self.admits(&ban, out)
                && let Some(ban) = self.ledger.ban(ban)
            {
                self.banned_by_hand(&ban);
                dirty.insert(ban.prefix);
                out.push(Effect::Record(Record::Banned(ban.clone())));
                out.push(Effect::Say(Notice::Banned(ban)));
            }
        }
        let changed = dirty.len();
        self.project(&dirty, out);
        changed
    }

    /// Makes the forced bans of exactly `prefix` ordinary ones: what is never banned is taken out of them from now on.
    pub fn unforce(&mut self, prefix: Prefix, out: &mut Vec<Effect>) {
        for ban in self.ledger.of(prefix).into_iter().filter(|ban| ban.forced) {
            self.ledger.unban(prefix, Some(&ban.jail));
            let ordinary = self.ledger.ban(Ban { forced: false, ..ban });
            out.extend(ordinary.map(|ban| Effect::Record(Record::Banned(ban))));
        }
        self.project(&BTreeSet::from([prefix]), out);
    }

    /// True if there is room for a ban. Where there is none another gives way; but to a list none does.
    pub(super) fn admits(&mut self, ban: &Ban, out: &mut Vec<Effect>) -> bool {
        if self.ledger.has_room(ban.prefix, &ban.jail) {
            return true;
        }
        if !std::mem::replace(&mut self.full_said, true) {
            out.push(Effect::Say(Notice::Full(self.ledger.most())));
        }
        let gives_way = matches!(ban.origin, Origin::Local | Origin::Manual);
        let weakest = self.ledger.weakest().filter(|_| gives_way).map(|ban| (ban.prefix, ban.jail.clone()));
        let Some((prefix, jail)) = weakest else { return false };
        let gone = self.ledger.unban(prefix, Some(&jail));
        let now = self.now;
        self.ended(&gone, Ended::Displaced, now, out);
        true
    }

    /// Lifts the bans of these prefixes, or every ban if there are none given; of one jail or of all. A network that was
    /// banned for its neighbours goes with any of its addresses.
    pub fn unban(
        &mut self,
        prefixes: Option<&[Prefix]>,
        jail: Option<&JailName>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Vec<Ban> {
        let all: Vec<Prefix>;
        let prefixes = match prefixes {
            Some(prefixes) => prefixes,
            None => {
                all = self.ledger.prefixes();
                &all
            }
        };
        let now = self.now(now);
        let mut gone = Vec::new();
        for prefix in prefixes {
            gone.extend(self.ledger.unban(*prefix, jail));
            gone.extend(self.lift_nets(*prefix, jail));
            self.judge.forget(*prefix, jail);
            self.forget_matches(*prefix, jail);
        }
        for ban in &gone {
            self.pardon(ban.prefix, &ban.jail, now);
        }
        self.ended(&gone, Ended::Lifted, now, out);
        let subject =
            |prefix: &Prefix| if prefix.is_host() { self.judge.subject(prefix.addr()) } else { *prefix };
        for ban in Machine::let_out(&self.ledger, prefixes.iter().map(subject), &gone) {
            self.pardon(ban.prefix, &ban.jail, now);
            out.push(Effect::Record(Record::Ended(ban, Ended::Lifted, now)));
        }
        gone
    }

    /// Those of `asked` who had no ban of their own any more, and whom only a network's ban that is `gone` now shut out: for
    /// each what is kept of it, or nobody would know later for whose sake that was lifted.
    pub fn let_out(ledger: &Ledger, asked: impl Iterator<Item = Prefix>, gone: &[Ban]) -> Vec<Ban> {
        let is_net = |ban: &&Ban| ban.origin == Origin::Local && !is_point(ban.prefix);
        let nets: Vec<&Ban> = gone.iter().filter(is_net).collect();
        if nets.is_empty() {
            return Vec::new();
        }
        let lifted: HashSet<Prefix> = gone.iter().map(|ban| ban.prefix).collect();
        let own = asked.filter(|one| !lifted.contains(one) && ledger.of(*one).is_empty());
        let own: BTreeSet<Prefix> = own.collect();
        let reason = || Reason::from("its network was banned");
        own.into_iter()
            .flat_map(|one| {
                let around = nets.iter().filter(move |net| net.prefix.contains(one));
                around.map(move |net| Ban { prefix: one, failures: 0, reason: reason(), ..(*net).clone() })
            })
            .collect()
    }

    /// What somebody's failures showed goes with their count.
    fn forget_matches(&mut self, prefix: Prefix, jail: Option<&JailName>) {
        if self.matches.is_empty() {
            return;
        }
        for (index, known) in (0..).zip(self.judge.jails()) {
            if jail.is_none_or(|jail| *jail == known.name) {
                self.matches.remove(&(index, Subject::Net(prefix)));
            }
        }
    }

    /// Ends bans whose time is over and forgets what is too old. Call it at [`Machine::next_deadline`], which stays where it
    /// is while a crowd has not ended yet.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let now = self.now(now);
        self.tick_fuse(now, out);
        let gone = self.ledger.expire(now, ENDED_AT_ONCE);
        self.ended(&gone, Ended::Expired, now, out);
        // Said again only after there was room for a while.
        let most = self.ledger.most();
        self.full_said &= self.ledger.len() >= most - most / 16;
        self.end_identities(now, out);
        self.widen_anew(now, out);
    }

    /// Forgets what is too old in the windows; some work, once a minute is enough.
    pub fn sweep(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let now = self.now(now);
        let over = self.judge.sweep(now).into_iter();
        out.extend(over.map(|alarm| Effect::Say(Notice::Alarm(alarm))));
        self.sweep_alerts(now);
        self.sweep_neighbours(now);
    }

    /// When [`Machine::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let end = self
            .ledger
            .next_end()
            .into_iter()
            .chain(self.identities.next_end())
            .chain(self.fuse.deadline())
            .min();
        if self.stale.is_empty() { end } else { Some(self.now) }
    }

    pub(super) fn ended(&mut self, gone: &[Ban], how: Ended, now: Timestamp, out: &mut Vec<Effect>) {
        let mut dirty = BTreeSet::new();
        for ban in gone {
            dirty.insert(ban.prefix);
            self.after_ban.remove(&ban.prefix);
            self.net_ended(ban, how);
            out.push(Effect::Record(Record::Ended(ban.clone(), how, now)));
            out.push(Effect::Say(Notice::Ended(ban.clone(), how)));
        }
        self.project(&dirty, out);
    }

    pub(super) fn project(&mut self, dirty: &BTreeSet<Prefix>, out: &mut Vec<Effect>) {
        if dirty.is_empty() {
            return;
        }
        let changes = self.projection.update(dirty, &self.ledger, &self.judge.never);
        if self.enforcing {
            out.extend(changes.into_iter().map(Effect::Kernel));
        }
    }

    /// Replaces the never-ban set; the kernel loses at once what is in it now.
    pub fn set_never(&mut self, never: NeverBan, out: &mut Vec<Effect>) {
        if never == self.judge.never {
            return;
        }
        let networks = never.networks().iter().filter(|new| !self.judge.never.networks().contains(new));
        for network in networks.copied().collect::<Vec<_>>() {
            self.spare_from_nets(network);
        }
        let old: BTreeSet<Prefix> = self.judge.never.entries().iter().map(|(prefix, _)| *prefix).collect();
        let new: BTreeSet<Prefix> = never.entries().iter().map(|(prefix, _)| *prefix).collect();
        let touches_bans =
            old.symmetric_difference(&new).any(|prefix| !self.ledger.overlapping(*prefix).is_empty());
        self.judge.never = never;
        if touches_bans {
            let changes = self.projection.rebuild(&self.ledger, &self.judge.never);
            if self.enforcing {
                out.extend(changes.into_iter().map(Effect::Kernel));
            }
        }
    }

    /// Switches enforcement on or off; off takes everything out of the kernel, the ledger stays.
    pub fn set_enforcing(&mut self, enforcing: bool, now: Timestamp, out: &mut Vec<Effect>) {
        if enforcing == self.enforcing {
            return;
        }
        let now = self.now(now);
        self.enforcing = enforcing;
        // What is over and was not lifted yet has to go as well: nobody lifts it while nothing is enforced.
        let live = self.projection.elements().filter(|(_, end)| !enforcing || !end.is_over(now));
        let mut live: Vec<(Element, End)> = live.collect();
        live.sort();
        out.extend(live.into_iter().map(|(element, end)| {
            Effect::Kernel(match enforcing {
                true => Change::Set(element, end),
                false => Change::Remove(element),
            })
        }));
    }

    /// What must change in a kernel that holds `installed`.
    pub fn reconcile(&mut self, installed: &Installed, now: Timestamp) -> Vec<Change> {
        let now = self.now(now);
        if self.enforcing {
            return self.projection.reconcile(installed, now);
        }
        installed.keys().cloned().map(Change::Remove).collect()
    }

    /// Points that must not be in the kernel, though they may have been banned before: single addresses and /64s that are
    /// never banned, and the /64s of such addresses. Nothing if there is more, for then a ban of one among them is kept
    /// from the kernel.
    pub fn spared_points(&self) -> Option<Vec<Element>> {
        let never = &self.judge.never;
        let is_spared = |ban: &Ban| is_point(ban.prefix) && !ban.forced && never.overlaps(ban.prefix);
        if self.ledger.iter().any(|ban| is_spared(&ban)) {
            return None;
        }
        let points = never.entries().iter().map(|(prefix, _)| *prefix).filter(|prefix| is_point(*prefix));
        let around = |point: Prefix| if point.is_ipv4() { point } else { point.widened(64) };
        let points: BTreeSet<Prefix> = points.flat_map(|point| [point, around(point)]).collect();
        Some(points.into_iter().flat_map(|prefix| self.projection.in_each_scope(prefix)).collect())
    }

    /// Takes over what is in the kernel where the ledger may know too little: each element that no ban covers is a ban
    /// of its own until its end, or for a day if the kernel knows none. What is never banned is left out. Returns how
    /// many; tells nobody.
    pub fn adopt_installed(&mut self, installed: &Installed, now: Timestamp) -> usize {
        let now = self.now(now);
        let Ok(jail) = JailName::new("kernel") else { return 0 };
        let before = self.ledger.len();
        for (element, end) in installed {
            // The ban that it stands for may be lost, and one that ends sooner known.
            let least = end.unwrap_or(End::At(now)).timestamp().map(|at| at - Span::from_secs(2));
            let lasts = |ban: &Ban| ban.until >= End::from_option(least) && !ban.until.is_over(now);
            let covering = self.ledger.covering(element.prefix);
            let known = covering.iter().any(|ban| ban.scope == element.scope && lasts(ban));
            // Of what holds others too, the projection takes those out.
            if known || self.judge.never.subtract(element.prefix).is_empty() {
                continue;
            }
            let until = end.unwrap_or(End::At(now + Span::from_secs(86_400)));
            // One ban stands for all elements of a prefix: for several jails' ports it is of everything.
            let other = self.ledger.of(element.prefix).into_iter().find(|ban| ban.jail == jail);
            let until = other.as_ref().map_or(until, |ban| ban.until.max(until));
            let scope = if other.is_some() { Scope::All } else { element.scope.clone() };
            let told = ("found in the kernel, not in the store", Origin::Manual);
            let ban = Machine::manual_ban(element.prefix, jail.clone(), now, until, told);
            if self.ledger.has_room(ban.prefix, &ban.jail) {
                self.ledger.ban(Ban { scope, ..ban });
            }
        }
        self.projection.rebuild(&self.ledger, &self.judge.never);
        self.ledger.len() - before
    }

    /// A ban by hand or from a list, not yet taken over.
    pub fn manual_ban(
        prefix: Prefix,
        jail: JailName,
        since: Timestamp,
        until: End,
        (reason, origin): (impl Into<Reason>, Origin),
    ) -> Ban {
        Ban {
            prefix,
            jail,
            since,
            until,
            failures: 0,
            reason: reason.into(),
            origin,
            scope: Scope::All,
            forced: false,
        }
    }
}
