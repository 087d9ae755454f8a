//! A filter of an operator's own: its lines are matched by fail2ban's rules in all things (dates, `maxlines`,
//! `<F-MLFID>`, `<F-NOFAIL>` ..), and what fails is an event like that of a built-in filter.
//!
//! Names are no addresses here, and nothing but an address can fail.

use std::net::IpAddr;

use smol_str::SmolStr;

use super::dated::{FIRST_YEAR, Years, detector};
use super::dates::Undated;
use super::fail2ban::{Encoding, Fail2banFilter, Hit, Options, Ruling, Subject, Timing};
use super::header::Headers;
use super::judge::{trim_line_end, unfold, user, without_date};
use super::regex::HostNames;
use super::{Clock, FilterError, FilterSpec, Finding, Verdict, addr, header};
use crate::event::{Class, Connection, Event, Line, Outcome};
use crate::net::canonical;
use crate::time::Timestamp;

/// A filter of an operator's own that is ready to judge lines.
#[derive(Debug)]
pub struct Own {
    filter: Fail2banFilter,
    spans_lines: bool,
    datepattern: Option<String>,
    years: Years,
}

impl Own {
    /// Compiles a filter.
    /// # Errors
    /// Every expression that cannot be used.
    pub fn compile(spec: &FilterSpec) -> Result<Own, Vec<FilterError>> {
        let options = Options {
            maxlines: spec.maxlines.max(1),
            names: HostNames::Refuse,
            raw: false,
            zone: None,
            year: FIRST_YEAR,
            encoding: Encoding::Utf8,
            keep_matches: false,
        };
        let spans_lines = options.maxlines > 1;
        let filter = Fail2banFilter::compile(spec, options)?;
        Ok(Own { filter, spans_lines, datepattern: spec.datepattern.clone(), years: Years::default() })
    }

    /// How often an expression took too many steps to tell whether it matches, since the last call.
    pub fn take_limits(&mut self) -> u64 {
        self.filter.take_limits()
    }

    /// Forgets the lines so far: what comes next is another log.
    pub fn begin(&mut self) {
        self.filter.begin();
    }

    /// Judges one line; one that rsyslog folded as each line that it stands for.
    pub fn judge(&mut self, line: &Line<'_>, clock: &Clock) -> Verdict {
        let ruling = self.rule(line, clock);
        if ruling != Ruling::Miss || self.spans_lines {
            return self.verdict(ruling, line.bytes, 1);
        }
        let Some((times, plain, stamp)) = self.unfolded(line) else { return Verdict::Miss };
        let ruling = self.rule(&Line { bytes: &plain, stamp }, clock);
        self.verdict(ruling, &plain, times)
    }

    fn verdict(&self, ruling: Ruling, bytes: &[u8], times: u32) -> Verdict {
        match ruling {
            Ruling::Miss | Ruling::NoFail(_) => Verdict::Miss,
            Ruling::Ignored => Verdict::Ignored,
            Ruling::Failure(subject, hit) => {
                self.event(&subject, hit, bytes, times).map_or(Verdict::Miss, Verdict::Event)
            }
        }
    }

    /// How often the last line was, itself without its date, and when; nothing if it is not folded.
    fn unfolded(&self, line: &Line<'_>) -> Option<(u32, Vec<u8>, Option<Timestamp>)> {
        let bytes = trim_line_end(line.bytes);
        let mut plain = Vec::new();
        let times = unfold(self.without_date(bytes, &mut Vec::new()), &mut Headers::default(), &mut plain)?;
        let said = self.filter.date().and_then(|date| date.time.ok());
        Some((times, plain, line.stamp.or(said)))
    }

    /// What the last line holds besides its date.
    fn without_date<'a>(&self, bytes: &'a [u8], cut: &'a mut Vec<u8>) -> &'a [u8] {
        let date = self.filter.date().map(|date| date.range.clone());
        without_date(bytes, date.filter(|range| range.end <= bytes.len()), cut)
    }

    /// Judges one line and tells what led to the verdict.
    pub fn examine(&mut self, line: &Line<'_>, clock: &Clock) -> Finding {
        let verdict = self.judge(line, clock);
        let date = self.filter.date();
        let is_match = matches!(verdict, Verdict::Event(_));
        let captures = self.filter.captures().filter(|_| is_match);
        Finding {
            failregex: match &verdict {
                Verdict::Event(Event { outcome: Outcome::Failure { kind, .. }, .. }) => {
                    Some(usize::from(*kind))
                }
                _ => None,
            },
            successregex: None,
            captures: captures.map(|(name, value)| (name.to_owned(), value.text().into())).collect(),
            date: date.map(|date| date.range.clone()).filter(|range| !range.is_empty()),
            stamp: match &verdict {
                Verdict::Event(event) => event.stamp,
                _ => line.stamp.or_else(|| date?.time.ok()),
            },
            verdict,
        }
    }

    fn rule(&mut self, line: &Line<'_>, clock: &Clock) -> Ruling {
        if let Some(year) = self.years.turned(clock.now)
            // Invariant: patterns that could be used in one year can be used in every year.
            && let Ok(detector) = detector(self.datepattern.as_deref(), year)
        {
            self.filter.read_dates_by(detector);
        }
        self.filter.judge(line, clock, Timing::Any, clock.now)
    }

    /// What the filter captured under that name.
    fn captured(&self, name: &str) -> Option<SmolStr> {
        self.filter.captures().find(|(known, _)| *known == name).map(|(_, value)| value.text())
    }

    fn event(&self, subject: &Subject, hit: Hit, line: &[u8], times: u32) -> Option<Event> {
        let number = |name: &str| header::number(self.captured(name)?.as_bytes());
        let user = hit.user.and_then(|name| user(name.as_bytes(), &(0..name.len())));
        let class = if user.as_deref() == Some("root") { Class::Root } else { Class::KnownUser };
        let port = number("fport").and_then(|port| u16::try_from(port).ok());
        let has_no_date = self.filter.date().is_some_and(|date| date.time == Err(Undated::Empty));
        Some(Event {
            stamp: hit.time.filter(|_| !has_no_date),
            addr: self.address(subject, hit.ip.as_ref())?,
            user,
            outcome: Outcome::Failure {
                class,
                kind: u16::try_from(hit.failregex).unwrap_or(u16::MAX),
                attempts: number("attempts").unwrap_or(1).max(1).saturating_mul(times),
            },
            connection: port.map(|port| Connection { host: self.host(line), pid: None, port: Some(port) }),
            forwarded: self
                .captured("realip")
                .map(|text| addr::forwarded(text.as_bytes()))
                .unwrap_or_default(),
        })
    }

    /// The address of a failure, also where it is counted for a network or for somebody with an address.
    fn address(&self, subject: &Subject, behind: Option<&Subject>) -> Option<IpAddr> {
        let net = [Some(subject), behind].into_iter().flatten().find_map(|subject| match subject {
            Subject::Net(prefix) => Some(*prefix),
            Subject::Id(_) | Subject::Name(_) => None,
        })?;
        if net.is_host() {
            return Some(net.addr());
        }
        let shown = self.captured("ip4").or_else(|| self.captured("ip6"))?;
        shown.parse().ok().map(canonical)
    }

    /// Which host wrote the line: the same port of another host is another connection.
    fn host(&self, line: &[u8]) -> u64 {
        let mut cut = Vec::new();
        let text = self.without_date(trim_line_end(line), &mut cut);
        header::parse(text).map_or(0, |header| header.host_hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    const NOW: i64 = 1_795_348_800;

    fn own(failregex: &[&str]) -> FilterSpec {
        let failregex = failregex.iter().map(|text| (*text).to_owned()).collect();
        FilterSpec { name: "mine".into(), failregex, own: true, ..FilterSpec::default() }
    }

    fn events(spec: &FilterSpec, lines: &[&str]) -> Vec<Option<Event>> {
        let mut filter = Filter::compile(spec).unwrap();
        let clock = Clock { now: Timestamp::from_secs(NOW), zone: jiff::tz::TimeZone::UTC };
        let judge = |text: &&str| match filter.judge(&Line { bytes: text.as_bytes(), stamp: None }, &clock) {
            Verdict::Event(event) => Some(event),
            _ => None,
        };
        lines.iter().map(judge).collect()
    }

    /// Whom each line blames, and when.
    fn blamed(spec: &FilterSpec, lines: &[&str]) -> Vec<Option<(String, Option<i64>)>> {
        let told = |event: Event| (event.addr.to_string(), event.stamp.map(Timestamp::secs));
        events(spec, lines).into_iter().map(|event| event.map(told)).collect()
    }

    fn whom(addr: &str, stamp: Option<i64>) -> Option<(String, Option<i64>)> {
        Some((addr.to_owned(), stamp))
    }

    #[test]
    fn dates_are_found_by_fail2bans_patterns() {
        let line =
            ["1795348000 - <192.0.2.7> no", "22/11/2026 11:46:40 - <192.0.2.7> no", "- <192.0.2.7> no"];
        let at = |datepattern: Option<&str>| {
            let spec =
                FilterSpec { datepattern: datepattern.map(str::to_owned), ..own(&[r"^\s*- <<HOST>> no$"]) };
            blamed(&spec, &line)
        };
        let undated = whom("192.0.2.7", None);
        let dated = whom("192.0.2.7", Some(1_795_348_000));
        assert_eq!(at(None), [dated.clone(), dated.clone(), undated.clone()]);
        assert_eq!(at(Some("{^LN-BEG}EPOCH")), [dated.clone(), None, undated.clone()]);
        assert_eq!(at(Some("{NONE}")), [None, None, undated.clone()]);
        assert_eq!(at(Some("^%d/%m/%ExY %H:%M:%S")), [None, dated, undated]);
    }

    #[test]
    fn a_folded_line_counts_as_often_as_it_was_written() {
        let spec = own(&[r"^\s*\S+ app\[\d+\]: no <HOST>$"]);
        let lines = [
            "Nov 22 07:57:11 vm app[7]: message repeated 3 times: [ no 192.0.2.7]",
            "Nov 22 07:57:11 vm app[7]: said message repeated 3 times: [ no 192.0.2.7]",
        ];
        let [Some(event), None] = &events(&spec, &lines)[..] else { panic!("one of two") };
        assert_eq!(event.outcome, Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 3 });
        assert_eq!(event.stamp, Some(Timestamp::from_secs(1_795_334_231)));
    }

    #[test]
    fn an_expression_may_span_lines() {
        let spec = FilterSpec {
            maxlines: 3,
            datepattern: Some("{NONE}".to_owned()),
            ..own(&["^login of <F-USER>\\S+</F-USER><SKIPLINES>^refused <HOST>$"])
        };
        let lines = ["login of root", "noise", "refused 192.0.2.7", "refused 192.0.2.8"];
        assert_eq!(blamed(&spec, &lines), [None, None, whom("192.0.2.7", None), None]);
        let event = events(&spec, &lines).remove(2).unwrap();
        assert_eq!(event.outcome, Outcome::Failure { class: Class::Root, kind: 0, attempts: 1 });
        let one = FilterSpec { maxlines: 1, ..spec };
        assert_eq!(blamed(&one, &lines), [None, None, None, None]);
    }

    #[test]
    fn a_connection_may_name_its_address_later() {
        let spec = FilterSpec {
            prefregex: Some(r"^<F-MLFID>\[\d+\]</F-MLFID> <F-CONTENT>.+</F-CONTENT>$".to_owned()),
            ..own(&["^no such user$", "^<F-NOFAIL>from</F-NOFAIL> <HOST>$"])
        };
        let lines = ["[1] no such user", "[2] from 192.0.2.8", "[1] from 192.0.2.7", "[2] no such user"];
        let found: Vec<_> = blamed(&spec, &lines).into_iter().map(|one| one.map(|(addr, _)| addr)).collect();
        let addr = |text: &str| Some(text.to_owned());
        assert_eq!(found, [None, None, addr("192.0.2.7"), addr("192.0.2.8")]);
    }

    #[test]
    fn what_it_captures_is_what_a_built_in_filter_would() {
        let spec = own(&[
            "^\\s*<F-ATTEMPTS>\\d+</F-ATTEMPTS> times <F-USER>\\S+</F-USER> at <SUBNET> port <F-PORT>\\d+</F-PORT>$",
            "^session <F-ID>\\S+</F-ID> of <ADDR>$",
            "^session <F-ID>\\S+</F-ID>$",
            "^host <HOST>$",
        ]);
        let lines = [
            "Nov 22 07:57:11 3 times bob at 192.0.2.77/24 port 4711",
            "session 9 of 2001:db8::1",
            "session 9",
            "session 192.0.2.5",
            "host example.net",
            "host 192.030.0.6",
        ];
        let found = events(&spec, &lines);
        let first = found[0].clone().unwrap();
        assert_eq!((first.addr.to_string(), first.user.as_deref()), ("192.0.2.77".to_owned(), Some("bob")));
        assert_eq!(first.outcome, Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 3 });
        assert_eq!(first.connection.and_then(|connection| connection.port), Some(4711));
        let addrs: Vec<_> =
            found[1..].iter().map(|event| event.as_ref().map(|event| event.addr.to_string())).collect();
        assert_eq!(addrs, [Some("2001:db8::1".to_owned()), None, Some("192.0.2.5".to_owned()), None, None]);
    }
}
