//! A host to which things happen, and the kernel that is told what to do about them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use pillory_core::event::{Class, Connection, Event, JailName, Origin, Outcome};
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::names::Names;
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::jail::policy::{Ladder, Policy};
use pillory_core::jail::secret::{Percent, Secret};
use pillory_core::jail::{Jail, Judge};
use pillory_core::ledger::{Change, Element, Ended};
use pillory_core::machine::{Effect, Machine, Notice, Phase, Record, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::{BanTime, End, Span, Timestamp};

use crate::model::innocents;

const DAY: i64 = 86_400;
const EVIDENCE: Span = Span::from_secs(7 * 86_400);
const USERS: [&str; 12] =
    ["root", "alice", "bob", "oracle", "admin", "test", "pi", "git", "guest", "ftp", "ubuntu", "alicf"];

/// A place in a corner of the address space, so that many are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    ipv4: bool,
    low: u16,
    host: u16,
}

impl Place {
    fn addr(self) -> IpAddr {
        match self.ipv4 {
            true => Ipv4Addr::from_bits(0xC000_0200 + u32::from(self.low)).into(),
            false => Ipv6Addr::new(0x2001, 0xdb8, 0, self.low, 0, 0, 0, self.host).into(),
        }
    }

    fn prefix(self, len: u8) -> Prefix {
        Prefix::host(self.addr()).widened(len)
    }

    /// A prefix around it, the wider the smaller the number.
    fn around(self, number: u8) -> Prefix {
        let lens = if self.ipv4 { [24, 26, 28, 30, 31, 32] } else { [48, 56, 62, 64, 80, 128] };
        self.prefix(lens[usize::from(number) % lens.len()])
    }
}

fn any_place() -> impl Strategy<Value = Place> {
    let low = prop_oneof![0u16..12, 0u16..64, 0u16..900];
    (any::<bool>(), low, 1u16..3).prop_map(|(ipv4, low, host)| Place { ipv4, low, host })
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Step {
    Fail {
        from: Place,
        jail: u16,
        user: usize,
        tries: u16,
    },
    /// Neighbours, one after the other, each with a name that is worth a ban.
    Neighbours {
        from: Place,
        count: u16,
        apart: u16,
    },
    LogIn {
        from: Place,
        user: usize,
    },
    /// Sixty places try the same names.
    Campaign {
        from: Place,
        apart: u16,
    },
    /// A regular place fails when nobody can log in.
    Outage {
        from: Place,
        tries: u16,
    },
    Ban(Vec<(Place, u8)>, bool),
    Unban(Place, u8),
    Never(Vec<(Place, u8)>, Vec<(Place, u8)>),
    /// Whoever is banned most lately becomes an address of this host.
    BannedBecomesOwn,
    TalkTo(Vec<Place>),
    Enforce(bool),
    /// The second jail goes, or comes back.
    Reload(bool),
    Wait(i64),
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let many = |most: usize| prop::collection::vec((any_place(), any::<u8>()), 0..most);
    let user = || 0..USERS.len();
    prop_oneof![
        8 => (any_place(), 0u16..2, user(), 1u16..8)
            .prop_map(|(from, jail, user, tries)| Step::Fail { from, jail, user, tries }),
        8 => (any_place(), 2u16..12, prop_oneof![Just(1u16), Just(9), Just(70), Just(256)])
            .prop_map(|(from, count, apart)| Step::Neighbours { from, count, apart }),
        2 => (any_place(), user()).prop_map(|(from, user)| Step::LogIn { from, user }),
        1 => (any_place(), prop_oneof![Just(2u16), Just(130)])
            .prop_map(|(from, apart)| Step::Campaign { from, apart }),
        1 => (any_place(), 1u16..30).prop_map(|(from, tries)| Step::Outage { from, tries }),
        2 => (many(4), any::<bool>()).prop_map(|(places, is_list)| Step::Ban(places, is_list)),
        1 => (any_place(), any::<u8>()).prop_map(|(place, wide)| Step::Unban(place, wide)),
        2 => (many(5), many(2)).prop_map(|(entries, networks)| Step::Never(entries, networks)),
        2 => Just(Step::BannedBecomesOwn),
        1 => prop::collection::vec(any_place(), 0..3).prop_map(Step::TalkTo),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Step::Enforce),
        1 => any::<bool>().prop_map(Step::Reload),
        3 => prop_oneof![0i64..3_600, 0..9 * DAY].prop_map(Step::Wait),
    ]
}

fn jail_name(at: u16) -> JailName {
    JailName::new(["sshd", "dovecot"][usize::from(at)]).unwrap()
}

/// Two jails, one with long bans and one with short ones, decoys, and a secret that is always the same.
fn machine(jails: u16, budget: u64) -> Machine {
    let accounts = ["root", "alice", "bob"].map(str::to_owned).into();
    let names = Names::new(accounts, HashSet::from(["bob".to_owned()]), false);
    let short = Ladder::new(vec![BanTime::For(Span::from_secs(3_600))]).unwrap();
    let policies = [Policy::default(), Policy { bantime: short, jitter: Percent(20), ..Policy::default() }];
    let all = (0..jails).map(|at| {
        let policy = policies[usize::from(at)].clone();
        Jail { name: jail_name(at), policy, lines: None }
    });
    let mut judge = Judge::new(all.collect(), names, PrefixSet::default(), 10_000);
    (judge.secret, judge.decoys) = (Some(Secret::new(*b"always the same!")), Percent(25));
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    machine.set_widening((0..jails).map(|at| (jail_name(at), budget)));
    machine
}

/// The host, its kernel, and all that was said.
pub struct World {
    machine: Machine,
    budget: u64,
    now: i64,
    pid: u32,
    kernel: BTreeMap<Element, End>,
    never: NeverBan,
    /// Until when an offender is evidence of a jail.
    evidence: BTreeMap<(JailName, Prefix), End>,
    /// The last prefixes that jails banned.
    banned: Vec<Prefix>,
    /// Every effect, in order.
    pub said: Vec<Effect>,
    /// Decisions that were wrong when they were made.
    pub wrong: Vec<String>,
}

impl World {
    pub fn new(budget: u64) -> World {
        World {
            machine: machine(2, budget),
            budget,
            now: 20_000 * DAY,
            pid: 0,
            kernel: BTreeMap::new(),
            never: NeverBan::default(),
            evidence: BTreeMap::new(),
            banned: Vec::new(),
            said: Vec::new(),
            wrong: Vec::new(),
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    /// Lets one thing happen, and then what is due.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Fail { from, jail, user, tries } => self.fail(*from, *jail, USERS[*user], *tries),
            Step::Neighbours { from, count, apart } => {
                for at in 0..*count {
                    self.fail(
                        Place { low: from.low.wrapping_add(at * apart) % 900, ..*from },
                        0,
                        "oracle",
                        2,
                    );
                }
            }
            Step::LogIn { from, user } => self.log_in(*from, USERS[*user]),
            Step::Campaign { from, apart } => {
                for at in 0..62 {
                    let place = Place { low: from.low.wrapping_add(at * apart) % 7_000, ..*from };
                    self.fail(place, 0, USERS[6 + usize::from(at % 4)], 1);
                    self.now += 60;
                }
            }
            Step::Outage { from, tries } => {
                self.log_in(*from, "alice");
                self.wait(21 * 3_600);
                self.log_in(*from, "alice");
                self.wait(1_200);
                (0..*tries).for_each(|_| self.fail(*from, 0, "alice", 1));
            }
            Step::Ban(places, is_list) => self.ban_by_hand(places, *is_list),
            Step::Unban(place, wide) => {
                self.with(|machine, now, out| {
                    machine.unban(Some(&[place.around(*wide)]), None, now, out);
                });
            }
            Step::Never(entries, networks) => {
                let whys = [Why::Own, Why::Gateway, Why::Session, Why::Ignoreip];
                let entries = (0..)
                    .zip(entries)
                    .map(|(at, (place, wide))| (place.around(wide | 4), whys[at % whys.len()]));
                let networks = networks.iter().map(|(place, wide)| place.around(*wide)).collect();
                self.set_never(NeverBan::new(entries.collect()).with_networks(networks));
            }
            Step::BannedBecomesOwn => {
                let own =
                    self.banned.iter().rev().take(2).map(|prefix| (Prefix::host(prefix.addr()), Why::Own));
                let entries = self.never.entries().iter().copied().chain(own).collect();
                let networks = self.never.networks().to_vec();
                self.set_never(NeverBan::new(entries).with_networks(networks));
            }
            Step::TalkTo(places) => {
                self.machine.set_talks_to(places.iter().map(|place| place.addr()).collect());
            }
            Step::Enforce(enforcing) => {
                self.with(|machine, now, out| machine.set_enforcing(*enforcing, now, out));
            }
            Step::Reload(both) => {
                let new = machine(1 + u16::from(*both), self.budget);
                self.with(|machine, now, out| machine.adopt(new, now, out));
                let jails: Vec<JailName> =
                    self.machine.judge.jails().iter().map(|jail| jail.name.clone()).collect();
                self.evidence.retain(|(jail, _), _| jails.contains(jail));
            }
            Step::Wait(secs) => self.wait(*secs),
        }
        self.wait(0);
    }

    fn with(&mut self, act: impl FnOnce(&mut Machine, Timestamp, &mut Vec<Effect>)) {
        let mut out = Vec::new();
        let now = self.time();
        act(&mut self.machine, now, &mut out);
        self.carry_out(out);
    }

    fn event(&mut self, from: Place, jail: u16, user: &str, outcome: Outcome) {
        self.pid += 1;
        let connection = Some(Connection { host: 0, pid: Some(self.pid), port: None });
        let user = Some(user.into());
        let event =
            Event { stamp: None, addr: from.addr(), user, outcome, connection, forwarded: Vec::new() };
        self.with(|machine, now, out| machine.event(jail, &event, Phase::Live, now, out));
    }

    fn fail(&mut self, from: Place, jail: u16, user: &str, attempts: u16) {
        let class = match user {
            "root" => Class::Root,
            "alice" | "bob" => Class::KnownUser,
            _ => Class::UnknownUser,
        };
        self.event(from, jail, user, Outcome::Failure { class, kind: 0, attempts: u32::from(attempts) });
    }

    fn log_in(&mut self, from: Place, user: &str) {
        self.event(from, 0, user, Outcome::Success);
    }

    fn ban_by_hand(&mut self, places: &[(Place, u8)], is_list: bool) {
        let (origin, jail) = if is_list { (Origin::Import, "import") } else { (Origin::Manual, "manual") };
        let until = End::At(Timestamp::from_secs(self.now + 12 * DAY));
        let ban = |(place, wide): &(Place, u8)| {
            let told = ("by hand".to_owned(), origin);
            Machine::manual_ban(place.around(*wide), JailName::new(jail).unwrap(), self.time(), until, told)
        };
        let bans = places.iter().map(ban).collect();
        self.with(|machine, _, out| {
            machine.ban_all(bans, out);
        });
    }

    fn set_never(&mut self, never: NeverBan) {
        self.never = never.clone();
        self.with(|machine, _, out| machine.set_never(never, out));
    }

    /// Lets time pass, as the daemon does: a tick whenever something is due, and a sweep.
    fn wait(&mut self, secs: i64) {
        let until = Timestamp::from_secs(self.now + secs);
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due.millis().div_euclid(1_000));
            self.with(|machine, _, out| machine.tick(due, out));
        }
        self.now = until.millis() / 1_000;
        self.with(|machine, now, out| {
            machine.sweep(now, out);
            machine.tick(now, out);
        });
        let now = self.time();
        self.kernel.retain(|_, end| !end.is_over(now));
    }

    /// Does what the machine asks for, and looks at each decision while it is made.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            match effect {
                Effect::Kernel(Change::Set(element, end)) => {
                    if self.never.overlaps(element.prefix) {
                        self.wrong.push(format!("the kernel is told to shut out {}", element.prefix));
                    }
                    self.kernel.insert(element.clone(), *end);
                }
                Effect::Kernel(Change::Remove(element)) => {
                    self.kernel.remove(element);
                }
                Effect::Record(Record::Banned(ban)) if ban.origin == Origin::Local => {
                    let is_point = ban.prefix.is_host() || ban.prefix.prefix_len() == 64;
                    if is_point && self.never.overlaps(ban.prefix) {
                        self.wrong.push(format!("{} was banned by {}", ban.prefix, ban.jail));
                    }
                    if is_point {
                        let until = ban.until.max(End::At(ban.since + EVIDENCE));
                        self.evidence.insert((ban.jail.clone(), ban.prefix), until);
                        self.banned.push(ban.prefix);
                    }
                }
                Effect::Record(Record::Ended(ban, Ended::Lifted | Ended::Retired, _)) => {
                    let of_jail = (ban.jail.clone(), ban.prefix);
                    if self.evidence.remove(&of_jail).is_none() && ban.origin != Origin::Local {
                        self.evidence.retain(|(_, prefix), _| *prefix != ban.prefix);
                    }
                }
                _ => {}
            }
        }
        self.said.extend(effects);
    }

    /// What the kernel shuts out although it is never banned.
    pub fn who_is_wrongly_shut_out(&self) -> Vec<String> {
        let wrong = self.kernel.keys().filter(|element| self.never.overlaps(element.prefix));
        wrong.map(|element| element.prefix.to_string()).collect()
    }

    /// The kernel holds what the ledger's projection says, or nothing.
    pub fn kernel_is_as_projected(&self) -> bool {
        let now = self.time();
        let live = self.machine.projection().elements().filter(|(_, end)| !end.is_over(now));
        let wanted: BTreeMap<Element, End> = live.map(|(element, end)| (element.clone(), end)).collect();
        if self.machine.is_enforcing() { wanted == self.kernel } else { self.kernel.is_empty() }
    }

    fn networks(&self) -> impl Iterator<Item = (JailName, Prefix)> {
        let local = self.machine.ledger.iter().filter(|ban| ban.origin == Origin::Local);
        let nets = local.filter(|ban| !ban.prefix.is_host() && ban.prefix.prefix_len() != 64);
        nets.map(|ban| (ban.jail, ban.prefix))
    }

    /// Networks of neighbours over a network that this host is in.
    pub fn networks_over_own_ones(&self) -> Vec<Prefix> {
        let own = |net: &Prefix| self.never.networks().iter().any(|own| own.overlaps(*net));
        self.networks().map(|(_, net)| net).filter(own).collect()
    }

    /// Innocents in the networks of each jail and family.
    pub fn innocents(&self) -> Vec<(JailName, bool, u64)> {
        let mut sums: BTreeMap<(JailName, bool), u64> = BTreeMap::new();
        for (jail, net) in self.networks() {
            let now = self.time();
            let of_jail =
                self.evidence.iter().filter(|((name, _), until)| *name == jail && !until.is_over(now));
            let evidence: Vec<Prefix> = of_jail.map(|((_, prefix), _)| *prefix).collect();
            *sums.entry((jail.clone(), net.is_ipv4())).or_default() += innocents(net, &evidence);
        }
        sums.into_iter().map(|((jail, ipv4), sum)| (jail, ipv4, sum)).collect()
    }

    /// Which kinds of decisions there were.
    pub fn kinds(&self) -> BTreeSet<String> {
        let kind = |effect: &Effect| match effect {
            Effect::Record(Record::Banned(ban)) if ban.origin != Origin::Local => Some("manual".to_owned()),
            Effect::Record(Record::Banned(ban)) => {
                Some(match (ban.prefix.is_ipv4(), ban.prefix.prefix_len()) {
                    (_, len @ (32 | 64 | 128)) => format!("local /{len}"),
                    (true, _) => "network of IPv4".to_owned(),
                    (false, _) => "network of IPv6".to_owned(),
                })
            }
            Effect::Record(Record::Ended(_, Ended::Narrowed, _)) => Some("narrowed".to_owned()),
            Effect::Record(Record::Ended(_, Ended::Lifted, _)) => Some("lifted".to_owned()),
            Effect::Kernel(Change::Remove(_)) => Some("taken out of the kernel".to_owned()),
            Effect::Say(Notice::NoRoomToWiden { ipv4, .. }) => {
                Some(format!("short of {}", if *ipv4 { "IPv4" } else { "IPv6" }))
            }
            Effect::Say(Notice::Spared(_)) => Some("spared".to_owned()),
            Effect::Say(Notice::Alarm(Alarm::Campaign(_))) => Some("campaign".to_owned()),
            Effect::Say(Notice::Alarm(Alarm::Outage(_))) => Some("outage".to_owned()),
            _ => None,
        };
        self.said.iter().filter_map(kind).collect()
    }
}
