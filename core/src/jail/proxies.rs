//! Proxies that nobody listed: an address that carries most of a web log's good traffic is warned about, and the
//! jail that reads the log does not ban it, for everybody behind it would be shut out with one guesser.
//!
//! Such a presumption is immunity, so it must not be for sale. What an attacker can do: request the front page as
//! often as wanted from an own address, for days, and write anything into X-Forwarded-For and User-Agent. So
//! neither the number of good requests nor the clients that a header names prove a proxy. What they cannot do:
//! come from a private address, log in, or keep other visitors away. The rule, for an address with more than half
//! of at least 500 good requests (no failure, answered 2xx or 3xx) within the last day or so:
//!
//! 1. it is private (RFC 1918, shared, unique local): presumed;
//! 2. somebody logged in through it within 30 days: presumed;
//! 3. any other, only if it did so in two whole halves of a day, at most 200 others came directly meanwhile,
//!    and failures are below a fifth of its own requests: presumed, until one of these no longer holds;
//! 4. else it is said that it may be a proxy, and it is judged like everybody.
//!
//! What remains for sale under 3, on a site that hardly anybody visits: a day of requests under a standing
//! warning that names the address, and then at most one guess in five requests, at this jail alone.
//! The jails of other services never look here.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;

use crate::event::{JailName, Outcome};
use crate::filter::Verdict;
use crate::hash::FastMap;
use crate::jail::never::NeverBan;
use crate::jail::trust::Trust;
use crate::time::{Span, Timestamp};

/// Half a day: traffic is counted in halves, and three of them are kept.
const HALF: Span = Span::from_secs(12 * 3600);

/// Fewer good requests than this say nothing.
const MIN_GOOD: u64 = 500;

/// Fewer good requests than this in half a day do not count as a half of rule 3; nights are quiet.
const MIN_GOOD_HALF: u64 = 100;

/// With so many others that come directly, an address that is loud is no proxy.
const MAX_OTHERS: u32 = 200;

/// A failure in so many own requests ends rule 3.
const MIN_REQUESTS_PER_FAILURE: u64 = 5;

/// Addresses counted a half. An address with more than half of the requests cannot be missed from 2 on; the rest
/// makes the counts sharp. Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent elements", 2005.
const COUNTERS: usize = 32;

/// A standing is looked at again after so many good requests.
const REVIEW_EVERY: u64 = 64;

/// After a restart counts begin anew; a presumption of before holds so long without them.
const GRACE: Span = Span::from_secs(36 * 3600);

/// At most so many addresses of a log have a standing. Two can have more than half of successive halves.
const MAX_NOTED: usize = 8;

/// What an address is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One visitor among many.
    Visitor,
    /// Most good traffic comes from it, but that may be bought: judged like everybody.
    Suspected,
    /// A proxy: not banned by the jail.
    Presumed,
}

/// What is known otherwise about addresses.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Who is never banned needs no presumption, and its traffic (health checks) says nothing.
    pub never: &'a NeverBan,
    /// From where somebody logged in.
    pub trust: &'a Trust,
}

/// The web logs of all jails.
#[derive(Debug, Default)]
pub struct Proxies {
    logs: FastMap<JailName, Log>,
}

/// A standing that changed: which jail's, whose, what it is now, and its share of the good requests in percent.
pub type Change = (JailName, IpAddr, Standing, u8);

impl Proxies {
    /// Counts a line that a jail's filter judged. `is_live`: it was written now; otherwise its own stamp holds.
    ///
    /// Lines that no web server writes cost a look at their first two words.
    pub fn line(
        &mut self,
        jail: &JailName,
        (bytes, verdict): (&[u8], &Verdict),
        (now, is_live): (Timestamp, bool),
        known: Known<'_>,
        changes: &mut Vec<Change>,
    ) {
        let Some(request) = Request::parse(bytes) else { return };
        let failed = match verdict {
            Verdict::Event(event) => matches!(event.outcome, Outcome::Failure { .. }),
            Verdict::Miss | Verdict::Ignored => false,
        };
        if !(failed || request.is_good) || known.never.contains_addr(request.addr) {
            return;
        }
        let stamp = if is_live { Some(now) } else { request.stamp() };
        let Some(when) = stamp.map(|stamp| stamp.min(now)) else { return };
        let log = self.logs.entry(jail.clone()).or_default();
        log.turn(when);
        if failed {
            log.halves[0].failed(request.addr);
            return;
        }
        log.halves[0].good(request.addr);
        if log.halves[0].total.is_multiple_of(REVIEW_EVERY) {
            log.review(request.addr, when, known, |addr, standing, share| {
                changes.push((jail.clone(), addr, standing, share));
            });
        }
    }

    /// True if `jail` is not to ban `addr`.
    pub fn spares(&self, jail: &JailName, addr: IpAddr, now: Timestamp, known: Known<'_>) -> bool {
        self.logs.get(jail).is_some_and(|log| log.standing(addr, now, known).0 == Standing::Presumed)
    }

    /// Every address that a jail presumes to be a proxy.
    pub fn presumed(&self, now: Timestamp, known: Known<'_>) -> Vec<IpAddr> {
        let of_log = |log: &Log| {
            let noted = log.noted.iter().map(|(addr, _)| addr).chain(log.grace.iter().map(|(addr, _)| addr));
            let presumed = noted.filter(|addr| log.standing(**addr, now, known).0 == Standing::Presumed);
            presumed.copied().collect::<Vec<_>>()
        };
        self.logs.values().flat_map(of_log).collect()
    }

    /// The presumptions, a line each, for [`Proxies::restore`].
    pub fn kept(&self) -> String {
        let of_log = |(jail, log): (&JailName, &Log)| {
            let noted = log.noted.iter().filter(|(_, standing)| *standing == Standing::Presumed);
            let addrs = noted.map(|(addr, _)| addr).chain(log.grace.iter().map(|(addr, _)| addr));
            addrs.map(|addr| format!("{jail} {addr}\n")).collect::<Vec<_>>()
        };
        let mut lines: Vec<String> = self.logs.iter().flat_map(of_log).collect();
        lines.sort();
        lines.dedup();
        lines.concat()
    }

    /// Takes over what [`Proxies::kept`] gave before a restart at `now`; what cannot be read is passed over.
    pub fn restore(&mut self, kept: &str, now: Timestamp) {
        for (jail, addr) in kept.lines().filter_map(|line| line.split_once(' ')) {
            let (Ok(jail), Ok(addr)) = (JailName::new(jail), addr.parse()) else { continue };
            let log = self.logs.entry(jail).or_default();
            if log.grace.len() < MAX_NOTED {
                log.grace.push((addr, now + GRACE));
            }
        }
    }
}

/// The traffic of one jail's log: the half day that goes on, the one before it, and the one before that.
#[derive(Debug, Default)]
struct Log {
    halves: [Half; 3],
    since: Timestamp,
    noted: Vec<(IpAddr, Standing)>,
    grace: Vec<(IpAddr, Timestamp)>,
}

impl Log {
    /// Begins new halves until `when` lies in the first; a clock or a stamp that steps back changes nothing.
    fn turn(&mut self, when: Timestamp) {
        if self.halves.iter().all(|half| half.total == 0) {
            self.since = when;
        }
        for _ in 0..self.halves.len() {
            if when.since(self.since) < HALF {
                return;
            }
            self.halves.rotate_right(1);
            self.halves[0] = Half::default();
            self.since = self.since + HALF;
        }
        // Nothing came for longer than is kept.
        self.since = self.since.max(when);
    }

    /// What `addr` is, and its share of the good requests that are kept, in percent.
    fn standing(&self, addr: IpAddr, now: Timestamp, known: Known<'_>) -> (Standing, u8) {
        let [current, last, before] = &self.halves;
        let own: Vec<(u64, u64)> = self.halves.iter().map(|half| half.of(addr)).collect();
        let good: u64 = own.iter().map(|(good, _)| good).sum();
        let failures: u64 = own.iter().map(|(_, failures)| failures).sum();
        let all: u64 = self.halves.iter().map(|half| half.total).sum();
        let share = u8::try_from(good * 100 / all.max(1)).unwrap_or(100);
        let leads = all >= MIN_GOOD && good * 2 > all;
        let is_vouched_for = is_private(addr) || known.trust.is_known_place(addr, now);
        let is_patient = failures * MIN_REQUESTS_PER_FAILURE <= good + failures;
        let in_grace = self.grace.iter().any(|(known, until)| *known == addr && *until > now);
        let standing = match (leads, is_vouched_for) {
            (true, true) => Standing::Presumed,
            _ if in_grace && (is_vouched_for || is_patient) => Standing::Presumed,
            (true, false) => {
                let is_steady = [last, before].iter().all(|half| half.is_led_by(addr))
                    && last.total + before.total >= MIN_GOOD;
                let others = (current.seen | last.seen | before.seen).count();
                let is_proxy = is_steady && is_patient && others <= MAX_OTHERS;
                if is_proxy { Standing::Presumed } else { Standing::Suspected }
            }
            (false, _) => Standing::Visitor,
        };
        (standing, share)
    }

    /// Looks again at `addr` and at everybody who has a standing, and tells what changed.
    fn review(
        &mut self,
        addr: IpAddr,
        now: Timestamp,
        known: Known<'_>,
        mut tell: impl FnMut(IpAddr, Standing, u8),
    ) {
        self.grace.retain(|(_, until)| *until > now);
        let promised = self.grace.iter().map(|(addr, _)| *addr);
        for addr in promised.chain([addr]) {
            if self.noted.len() < MAX_NOTED && self.noted.iter().all(|(noted, _)| *noted != addr) {
                self.noted.push((addr, Standing::Visitor));
            }
        }
        let mut noted = std::mem::take(&mut self.noted);
        for (addr, standing) in &mut noted {
            let (new, share) = self.standing(*addr, now, known);
            if std::mem::replace(standing, new) != new {
                tell(*addr, new, share);
            }
        }
        noted.retain(|(_, standing)| *standing != Standing::Visitor);
        self.noted = noted;
    }
}

fn is_private(addr: IpAddr) -> bool {
    match addr {
        // 100.64.0.0/10 is shared address space, RFC 6598.
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Good requests of half a day by address, with a bounded number of counters, and how many addresses there were.
#[derive(Debug, Clone, Default)]
struct Half {
    counters: Vec<Counter>,
    total: u64,
    seen: Seen,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    addr: IpAddr,
    /// At most so many good requests.
    good: u64,
    /// So many of them may have been somebody else's, whose counter this was.
    inherited: u64,
    failures: u64,
}

impl Half {
    fn good(&mut self, addr: IpAddr) {
        self.total += 1;
        self.seen.add(addr);
        if let Some(at) = self.counters.iter().position(|counter| counter.addr == addr) {
            self.counters[at].good += 1;
            // Who comes often is found at once next time.
            if at > 0 {
                self.counters.swap(at, at / 2);
            }
            return;
        }
        self.begin(Counter { addr, good: 1, inherited: 0, failures: 0 });
    }

    fn failed(&mut self, addr: IpAddr) {
        match self.counters.iter_mut().find(|counter| counter.addr == addr) {
            Some(counter) => counter.failures += 1,
            None => self.begin(Counter { addr, good: 0, inherited: 0, failures: 1 }),
        }
    }

    /// Gives `new` a counter, the one of the least if there is no free one.
    fn begin(&mut self, new: Counter) {
        if self.counters.len() < COUNTERS {
            self.counters.push(new);
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.good) {
            *least = Counter { good: least.good + new.good, inherited: least.good, ..new };
        }
    }

    /// At least so many good requests of `addr`, and its failures.
    fn of(&self, addr: IpAddr) -> (u64, u64) {
        let counter = self.counters.iter().find(|counter| counter.addr == addr);
        counter.map_or((0, 0), |counter| (counter.good - counter.inherited, counter.failures))
    }

    fn is_led_by(&self, addr: IpAddr) -> bool {
        self.total >= MIN_GOOD_HALF && self.of(addr).0 * 2 > self.total
    }
}

/// Roughly how many addresses were seen: each sets one of 1,024 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Seen([u64; 16]);

impl Seen {
    fn add(&mut self, addr: IpAddr) {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(addr);
        self.0[(hash >> 6) as usize % 16] |= 1 << (hash & 63);
    }

    /// A little less than the number of addresses: up to 200 at most a tenth.
    fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl std::ops::BitOr for Seen {
    type Output = Seen;

    fn bitor(self, other: Seen) -> Seen {
        Seen(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }
}

/// A line of a web server's access log, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request<'a> {
    addr: IpAddr,
    date: &'a [u8],
    is_good: bool,
}

impl<'a> Request<'a> {
    /// Reads the common, combined and vhost_combined formats of Apache and nginx; nothing if it is none of them.
    /// Source: Apache's mod_log_config, "Access Log".
    fn parse(line: &'a [u8]) -> Option<Request<'a>> {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (first, second) = (words.next()?, words.next()?);
        let addr = address(first).or_else(|| first.contains(&b':').then(|| address(second)).flatten())?;
        let open = memchr::memchr(b'[', line)?;
        let close = open + memchr::memchr(b']', line.get(open..)?)?;
        let request = close + memchr::memchr(b'"', line.get(close..)?)? + 1;
        let mut at = request;
        // A quote that the client sent is written as \" or \x22.
        loop {
            at += memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
            if line.get(at) == Some(&b'"') {
                break;
            }
            at += 2;
        }
        let status = line.get(at + 1..at + 5)?;
        let is_status = status[0] == b' ' && status[1..].iter().all(u8::is_ascii_digit);
        let is_good = matches!(status[1], b'2' | b'3');
        is_status.then_some(Request { addr, date: line.get(open + 1..close)?, is_good })
    }

    fn stamp(&self) -> Option<Timestamp> {
        let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", self.date).ok()?;
        Some(Timestamp::from_millis(time.to_timestamp().ok()?.as_millisecond()))
    }
}

fn address(word: &[u8]) -> Option<IpAddr> {
    // The longest address has 45 bytes.
    let word = word.get(..46).map_or(Some(word), |_| None)?;
    std::str::from_utf8(word).ok()?.parse().ok().map(crate::net::canonical)
}

#[cfg(test)]
mod tests;
