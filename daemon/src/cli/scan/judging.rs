//! Judges what is scanned as the daemon would have: the same machine, with each record's stamp as now.

use std::path::Path;

use pillory_core::config::{Config, Enabled};
use pillory_core::event::{Event, Line, Outcome};
use pillory_core::filter::btmp::{self, Layout};
use pillory_core::filter::{Clock, Filter, Heads, Verdict};
use pillory_core::jail::names::Names;
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::jail::{Jail, JailIndex, Judge, connections};
use pillory_core::machine::{Effect, Machine, Phase, Record};
use pillory_core::net::Prefix;
use pillory_core::rehearse::Seen;
use pillory_core::scan::Tally;
use pillory_core::time::{Span, Timestamp};

use crate::cli::{Failure, exit};
use crate::facts;
use crate::sources::past::base_name;

use super::overlap;

/// At most so many sources are counted at once; the windows of more are forgotten.
const MAX_TRACKED: usize = 1_000_000;

/// At most so many records are collected, the newest; they take some 300 MB.
const MAX_COLLECTED: usize = 2_000_000;

/// So many lines of a file are tried on every filter.
const LINES_TRIED: usize = 2_000;

/// Windows are swept once in so much time of the log.
const SWEEP_EVERY: Span = Span::from_secs(3_600);

/// Connections come and go faster: a table that fits the processor's cache is worth the work.
const SWEEP_CONNECTIONS_EVERY: Span = Span::from_secs(300);

/// So many login records are decoded at a time, and so many events counted.
const TOGETHER: usize = 64;

/// The jails and what they have judged so far.
pub(in crate::cli) struct Judging {
    machine: Machine,
    pub(super) jails: Vec<Reader>,
    pub(super) heads: Heads,
    pub(super) tally: Tally,
    effects: Vec<Effect>,
    /// Events that are still to be counted, in their order.
    pending: Vec<Pending>,
    last: Timestamp,
    /// When the machine wants to be told the time.
    deadline: Option<Timestamp>,
    swept: Timestamp,
    connections_swept: Timestamp,
    /// What was read, where nothing is to be judged yet.
    collected: Option<Collected>,
}

/// What the filters made of records, for a rehearsal.
#[derive(Debug, Default)]
pub(in crate::cli) struct Collected {
    /// In the order in which it was read.
    pub(in crate::cli) seen: Vec<Seen>,
    /// So many older ones had to make room.
    pub(in crate::cli) left_out: u64,
}

/// An event that a filter has read.
struct Pending {
    jail: JailIndex,
    event: Event,
    is_login_record: bool,
    /// Whom it is counted for, and the connection it belongs to; nothing if nobody can be blamed.
    subject: Option<Prefix>,
    connection: Option<u64>,
}

/// One jail's filter.
pub(super) struct Reader {
    name: String,
    filter_name: String,
    pub(super) filter: Filter,
    /// Last parts of the paths where the service usually writes, without globs.
    logs: Vec<String>,
    pub(super) journalmatch: Vec<Vec<(String, String)>>,
}

impl Judging {
    /// The jails of a configuration, or only one of them.
    pub(in crate::cli) fn new(config: &Config, only: Option<&str>) -> Result<Judging, Failure> {
        let wanted = |name: &str, enabled: Enabled| match only {
            Some(only) => name == only,
            None => enabled != Enabled::No,
        };
        let mut readers = Vec::new();
        let mut jails = Vec::new();
        for jail in config.jails.iter().filter(|jail| wanted(jail.name.as_str(), jail.enabled)) {
            let filter = Filter::compile(&jail.filter).map_err(|errors| {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Failure::new(exit::USAGE, lines.join("\npillory: "))
            })?;
            let paths = jail.logpath.iter().chain(&jail.filter.logpath);
            readers.push(Reader {
                name: jail.name.as_str().to_owned(),
                filter_name: jail.filter.name.clone(),
                filter,
                logs: paths
                    .map(|path| stem(&base_name(Path::new(path))))
                    .filter(|stem| stem.len() > 2)
                    .collect(),
                journalmatch: jail.filter.journalmatch.clone(),
            });
            jails.push(Jail { name: jail.name.clone(), policy: jail.policy.clone(), lines: None });
        }
        if readers.is_empty() {
            let known: Vec<&str> = config.jails.iter().map(|jail| jail.name.as_str()).collect();
            let what = only
                .map_or_else(|| "no jail is enabled".to_owned(), |name| format!("there is no jail {name:?}"));
            return Err(Failure::new(exit::USAGE, format!("{what}; the jails are {}", known.join(", "))));
        }
        let listed = config.ignoreip.iter().map(|prefix| (*prefix, Why::Ignoreip));
        let proxies = config.trusted_proxies.iter().map(|prefix| (*prefix, Why::TrustedProxy));
        let machine = machine(config, jails, &NeverBan::new(listed.chain(proxies).collect()));
        Ok(Judging {
            machine,
            jails: readers,
            heads: Heads::default(),
            tally: Tally::default(),
            effects: Vec::new(),
            pending: Vec::new(),
            last: Timestamp::default(),
            deadline: None,
            swept: Timestamp::default(),
            connections_swept: Timestamp::default(),
            collected: None,
        })
    }

    /// From now on what is read is collected and not judged.
    pub(in crate::cli) fn collect(&mut self) {
        self.collected = Some(Collected::default());
    }

    /// What was collected.
    pub(in crate::cli) fn into_collected(self) -> Collected {
        self.collected.unwrap_or_default()
    }

    /// Names of all jails, by their index.
    pub(in crate::cli) fn names(&self) -> Vec<String> {
        self.jails.iter().map(|jail| jail.name.clone()).collect()
    }

    /// Names of these jails.
    pub(in crate::cli) fn named(&self, jails: &[usize]) -> Vec<String> {
        jails.iter().filter_map(|at| self.jails.get(*at)).map(|jail| jail.name.clone()).collect()
    }

    /// Every jail.
    pub(in crate::cli) fn all(&self) -> Vec<usize> {
        (0..self.jails.len()).collect()
    }

    /// Journal matches of a jail.
    pub(super) fn journalmatch(&self, jail: usize) -> &[Vec<(String, String)>] {
        self.jails.get(jail).map_or(&[], |jail| &jail.journalmatch)
    }

    /// The jail that login records belong to.
    pub(super) fn btmp_jail(&self) -> usize {
        let sshd = self.jails.iter().position(|jail| jail.filter_name == "sshd");
        sshd.unwrap_or(0)
    }

    /// The jails whose filter matches lines at a text file's beginning or whose service writes a file of that
    /// name; every jail if there is none.
    pub(super) fn choose(&mut self, path: &Path, head: &[u8]) -> Vec<usize> {
        let own = base_name(path);
        let clock = Clock { now: self.last, zone: jiff::tz::TimeZone::UTC };
        let lines: Vec<&[u8]> = head.split(|b| *b == b'\n').take(LINES_TRIED).collect();
        let mut chosen = Vec::new();
        for (at, jail) in self.jails.iter_mut().enumerate() {
            let hit =
                |line: &&[u8]| jail.filter.judge(&Line { bytes: line, stamp: None }, &clock) != Verdict::Miss;
            if jail.logs.iter().any(|stem| own.starts_with(stem.as_str())) || lines.iter().any(hit) {
                chosen.push(at);
            }
        }
        if chosen.is_empty() { self.all() } else { chosen }
    }

    /// A file begins: filters that span lines begin anew. Those that were tried on it have not read it yet.
    pub(super) fn begin(&mut self) {
        self.jails.iter_mut().for_each(|jail| jail.filter.begin());
    }

    /// The first stamp in these lines.
    pub(super) fn first_stamp(&mut self, head: &[u8], clock: &Clock) -> Option<Timestamp> {
        let mut lines = head.split(|b| *b == b'\n').take(LINES_TRIED);
        lines.find_map(|bytes| self.stamp(bytes, clock))
    }

    /// The last stamp in these lines.
    pub(super) fn last_stamp(&mut self, lines: &[u8], clock: &Clock) -> Option<Timestamp> {
        let mut lines = lines.rsplit(|b| *b == b'\n').take(LINES_TRIED);
        lines.find_map(|bytes| self.stamp(bytes, clock))
    }

    /// What the first filter says that finds a stamp: a jail's own may know other dates than the usual ones.
    fn stamp(&mut self, bytes: &[u8], clock: &Clock) -> Option<Timestamp> {
        let line = Line { bytes, stamp: None };
        self.jails.iter_mut().find_map(|jail| jail.filter.examine(&line, clock).stamp)
    }

    /// True if a jail's filter understands a line at a text file's beginning.
    pub(super) fn holds(&mut self, jail: usize, head: &[u8]) -> bool {
        let clock = Clock { now: self.last, zone: jiff::tz::TimeZone::UTC };
        let Some(Reader { filter, .. }) = self.jails.get_mut(jail) else { return false };
        let mut lines = head.split(|b| *b == b'\n').take(LINES_TRIED);
        lines.any(|bytes| filter.judge(&Line { bytes, stamp: None }, &clock) != Verdict::Miss)
    }

    /// Judges login records for a jail, but for those of a time that is `covered` by its log; returns how many these
    /// are, and how many look like login records.
    pub(super) fn records(
        &mut self,
        jail: usize,
        layout: Layout,
        records: &[u8],
        covered: &[overlap::Span],
    ) -> (u64, u64) {
        let is_covered = |event: &Event| {
            let at =
                |(first, last): &overlap::Span| event.stamp.is_some_and(|at| (*first..=*last).contains(&at));
            covered.iter().any(at)
        };
        let (mut passed_over, mut good) = (0, 0);
        for record in records.chunks_exact(layout.record_bytes()) {
            good += u64::from(layout.is_plausible(record));
            match btmp::failed_login(layout, record) {
                Verdict::Event(event) if is_covered(&event) => passed_over += 1,
                Verdict::Event(event) => self.put_off(jail, event, true),
                _ => {}
            }
        }
        self.count_pending();
        (passed_over, good)
    }

    /// Counts an event later, with others: their sources and connections are looked up all together, so that the
    /// processor waits for memory once and not for each.
    pub(super) fn put_off(&mut self, jail: usize, event: Event, is_login_record: bool) {
        let (jail, judge) = (jail as JailIndex, &self.machine.judge);
        let client = judge.client(&event);
        let subject = client.map(|addr| judge.subject(addr));
        let connection = client.and_then(|addr| connections::tied(addr, event.connection.as_ref()));
        self.pending.push(Pending { jail, event, is_login_record, subject, connection });
        if self.pending.len() >= TOGETHER {
            self.count_pending();
        }
    }

    pub(super) fn count_pending(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for Pending { jail, subject, connection, .. } in &pending {
            subject.inspect(|subject| self.tally.look_up(*jail, *subject));
            connection.inspect(|connection| self.machine.judge.look_up(*jail, *connection));
        }
        pending.iter_mut().for_each(|one| self.event(one));
        pending.clear();
        self.pending = pending;
    }

    fn event(&mut self, one: &mut Pending) {
        if self.is_collected(one) {
            return;
        }
        let now = self.last.max(one.event.stamp.unwrap_or(self.last));
        if one.is_login_record {
            self.machine.judge.login_record(one.jail, &mut one.event, one.connection, now);
        }
        self.last = now;
        if self.deadline.is_some_and(|end| end <= now) {
            self.machine.tick(now, &mut self.effects);
            self.deadline = self.machine.next_deadline();
        }
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.machine.sweep(now, &mut self.effects);
            self.deadline = self.machine.next_deadline();
        }
        if now.since(self.connections_swept) >= SWEEP_CONNECTIONS_EVERY {
            self.connections_swept = now;
            self.machine.judge.sweep_connections(now);
        }
        if self.counted_while_banned(one, now) {
            return;
        }
        let jail = one.jail;
        self.machine.event(jail, &one.event, Phase::CatchUp, now, &mut self.effects);
        self.deadline = self.machine.next_deadline();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Record(Record::Attempt(attempt)) => {
                    let subject = self.machine.judge.subject(attempt.addr);
                    self.tally.attempt(jail, subject, &attempt);
                }
                Effect::Record(Record::Banned(ban)) => {
                    self.tally.banned(jail, ban.prefix, ban.since, ban.until)
                }
                _ => {}
            }
        }
    }
}

impl Judging {
    /// Takes up what was read, if it is collected and not judged.
    fn is_collected(&mut self, one: &Pending) -> bool {
        let Some(collected) = &mut self.collected else { return false };
        let Pending { jail, event, is_login_record, .. } = one;
        let time = event.stamp.unwrap_or(self.last);
        self.last = self.last.max(time);
        if collected.seen.len() >= MAX_COLLECTED {
            collected.seen.drain(..MAX_COLLECTED / 2);
            collected.left_out += (MAX_COLLECTED / 2) as u64;
        }
        collected.seen.push(Seen {
            time,
            jail: *jail,
            event: event.clone(),
            is_login_record: *is_login_record,
        });
        true
    }

    /// The short way for most lines of a flood: a source that would be banned already is counted and no more.
    fn counted_while_banned(&mut self, one: &Pending, now: Timestamp) -> bool {
        let (Some(subject), judge) = (one.subject, &mut self.machine.judge) else { return false };
        let is_failure = matches!(one.event.outcome, Outcome::Failure { .. });
        let when = one.event.stamp.unwrap_or(now);
        is_failure
            && self.tally.while_banned(one.jail, subject, now, || {
                let counted = judge.count_only(one.jail, &one.event, one.connection, when)?;
                Some((when, counted.new_attempts, counted.user.map(|user| user.as_str())))
            })
    }
}

/// A machine that judges by a configuration, with nothing counted.
pub(in crate::cli) fn machine(config: &Config, jails: Vec<Jail>, never: &NeverBan) -> Machine {
    let accounts = facts::accounts(Path::new("/etc/passwd"));
    let names = Names::new(accounts, config.goodusers.iter().cloned().collect(), config.goodusers_never_ban);
    let mut judge = Judge::new(jails, names, config.proxy_set(), MAX_TRACKED);
    judge.decoys = config.decoys;
    judge.past.set_memory(config.retention);
    let mut machine = Machine::new(judge, Vec::new(), config.scope);
    machine.set_never(never.clone(), &mut Vec::new());
    machine
}

/// `auth.log` of `auth.log.1.gz` and of `auth.log`; what stands before a glob.
fn stem(name: &str) -> String {
    name.split(['*', '?', '[']).next().unwrap_or_default().to_owned()
}

/// The stamp of the first login record that has one.
pub(super) fn first_record_stamp(layout: Layout, head: &[u8]) -> Option<Timestamp> {
    head.chunks_exact(layout.record_bytes()).find_map(|record| match btmp::failed_login(layout, record) {
        Verdict::Event(event) => event.stamp,
        _ => None,
    })
}
