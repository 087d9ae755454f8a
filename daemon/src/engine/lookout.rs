//! What the daemon warns of by itself: what the lookout sees on the host, logs that have gone silent, filters that match
//! nothing, bans without effect, and a store at its limit. Each is said in the log when it begins and stands in `status`
//! while it lasts; `motd` shows what whoever logs in may read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pillory_core::event::JailName;
use pillory_core::jail::JailIndex;
use pillory_core::machine::Unmatched;
use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};
use tracing::{info, warn};

use crate::clock;
use crate::escape::escape;
use crate::findings::Finding;
use crate::kernel::Job;
use crate::lookout::{Order, Seen};
use crate::sources::FeedId;

use super::Engine;

/// Keys of warnings, each begins with one of these.
const HOST: &str = "host ";
const KERNEL: &str = "rival bans ";
const SILENT: &str = "silent ";
const UNMATCHED: &str = "unmatched ";
/// The same, known to whoever sends warnings.
pub(super) const NO_EFFECT: &str = "no effect ";
const STORE_FULL: &str = "state_max";

/// So often the kernel is looked through for bans of others, in minutes: it lists what others made, too.
const KERNEL_EVERY: u32 = 10;

/// Attempts that come through a ban are over after this time without any.
const NO_EFFECT_LASTS: Span = Span::from_secs(3_600);

/// How often it is looked whether these have changed.
const SHOW_EVERY: Span = Span::from_secs(2);

/// So many lines of warnings are shown to whoever logs in.
const MOST_SHOWN: usize = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    rhythms: HashMap<FeedId, Rhythm>,
    no_effect: BTreeMap<JailName, Pierced>,
    /// How often a minute was over.
    minutes: u32,
    /// Where logs are, as the lookout was told.
    logs: Vec<PathBuf>,
    /// What stands in the file of `motd`.
    motd: Option<(PathBuf, Option<String>)>,
    shown: Timestamp,
    /// From when on attempts are kept, if that is later than `retention` says.
    kept_since: Option<Timestamp>,
}

/// How often a log has lines, in minutes in which the daemon ran: a host that slept was not silent.
///
/// A log is silent if it had lines for [`Rhythm::KNOWN`] at least and has none for eight times the longest silence before,
/// and six hours at least. So an office whose host is quiet for 14 hours at night may be quiet for more than four days over
/// a holiday, and a host that is idle by nature has silences of its own to be measured by; one that is attacked each
/// minute is missed after six hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rhythm {
    /// Minutes from its first line to its last.
    known: u32,
    /// Minutes since its last line.
    silence: u32,
    /// The longest silence before this one.
    longest: u32,
}

impl Rhythm {
    /// Two days, so that two nights are in them.
    const KNOWN: u32 = 2 * 24 * 60;
    const LEAST: u32 = 6 * 60;
    const TIMES: u32 = 8;

    fn line(&mut self) {
        self.longest = self.longest.max(self.silence);
        self.known = self.known.saturating_add(self.silence);
        self.silence = 0;
    }

    fn minute(&mut self) {
        self.silence = self.silence.saturating_add(1);
    }

    fn is_silent(self) -> bool {
        let usual = self.longest.saturating_mul(Self::TIMES);
        self.known >= Self::KNOWN && self.silence >= usual.max(Self::LEAST)
    }
}

/// Attempts that come from who is banned.
#[derive(Debug)]
struct Pierced {
    prefixes: std::collections::BTreeSet<Prefix>,
    last: (Prefix, Timestamp),
}

/// So many sources that come through are counted.
const MOST_PIERCING: usize = 1_000;

impl Engine {
    /// There were lines for this feed just now.
    pub(super) fn heard(&mut self, feed: FeedId) {
        self.lookout.rhythms.entry(feed).or_default().line();
    }

    /// Sources are numbered anew.
    pub(super) fn forget_rhythms(&mut self) {
        self.lookout.rhythms.clear();
    }

    /// What the lookout sees.
    pub(super) fn seen(&mut self, seen: Seen) {
        self.hold(HOST, seen);
    }

    /// Bans of others in the kernel.
    pub(super) fn rivals(&mut self, found: &[Finding]) {
        let about = |finding: &Finding| {
            (finding.what.split(" (").next().unwrap_or_default().to_owned(), finding.words())
        };
        self.hold(KERNEL, found.iter().map(about).collect());
    }

    /// Lines come from who is banned.
    pub(super) fn pierced(&mut self, jail: &JailName, prefix: Prefix) {
        let last = (prefix, clock::now());
        let pierced = self.lookout.no_effect.entry(jail.clone());
        let pierced = pierced.or_insert_with(|| Pierced { prefixes: Default::default(), last });
        pierced.last = last;
        if pierced.prefixes.len() < MOST_PIERCING {
            pierced.prefixes.insert(prefix);
        }
        self.hold_no_effect();
    }

    /// The store is at its limit and keeps nothing of before this time.
    pub(super) fn shortened(&mut self, since: Timestamp) {
        self.lookout.kept_since = Some(since);
        self.hold_store();
    }

    /// Whether others ban in the kernel, too; a dry run has nothing to do with it.
    pub(super) fn look_at_kernel(&mut self) {
        if !self.is_dry() {
            self.tell_kernel(Job::Rivals);
        }
    }

    /// A minute is over.
    pub(super) fn look_out(&mut self, now: Timestamp) {
        self.lookout.rhythms.values_mut().for_each(Rhythm::minute);
        self.lookout.no_effect.retain(|_, pierced| now.since(pierced.last.1) < NO_EFFECT_LASTS);
        self.lookout.minutes = self.lookout.minutes.wrapping_add(1);
        if self.lookout.minutes.is_multiple_of(KERNEL_EVERY) {
            self.look_at_kernel();
        }
        self.hold(SILENT, self.silent());
        self.hold(UNMATCHED, self.unmatched());
        self.hold_no_effect();
        self.hold_store();
    }

    /// These are the warnings of a kind now: what is new is said, what is over goes.
    fn hold(&mut self, kind: &str, now: Seen) {
        let now: HashMap<String, String> =
            now.into_iter().map(|(about, text)| (format!("{kind}{about}"), text)).collect();
        let is_over = |key: &String| key.starts_with(kind) && !now.contains_key(key);
        for key in self.warnings.keys().filter(|key| is_over(key)).cloned().collect::<Vec<_>>() {
            info!(what = %escape(&key), "a warning is over");
            self.warnings.remove(&key);
        }
        for (key, text) in now {
            if !self.warnings.contains_key(&key) {
                warn!("{text}");
            }
            self.warnings.insert(key, text);
        }
    }

    /// Tells the lookout where logs are, if that has changed.
    pub(super) fn tell_logs(&mut self) {
        let paths = self.streams.values().flatten().map(|stream| Path::new(&stream.path));
        let mut logs: Vec<PathBuf> = paths.filter_map(Path::parent).map(Path::to_owned).collect();
        logs.sort();
        logs.dedup();
        if logs != self.lookout.logs {
            self.lookout.logs.clone_from(&logs);
            // Without a lookout nobody looks.
            let _ = self.outlets.lookout.send(Order::Logs(logs));
        }
    }

    fn silent(&self) -> Seen {
        let silent = self.lookout.rhythms.iter().filter(|(_, rhythm)| rhythm.is_silent());
        silent.filter_map(|(feed, rhythm)| self.silent_words(*feed, *rhythm)).collect()
    }

    /// What is said of a feed; nothing if something else is wrong with all that it reads.
    fn silent_words(&self, feed: FeedId, rhythm: Rhythm) -> Option<(String, String)> {
        let streams = self.streams.values().flatten().filter(|stream| stream.feed == feed);
        let paths: Vec<&str> =
            streams.filter(|stream| stream.problem.is_none()).map(|stream| stream.path.as_str()).collect();
        let (first, others) = paths.split_first()?;
        let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let jails = self.readers.of(feed).iter();
        let jails = jails.filter_map(|(jail, _)| self.machine.judge.jails().get(usize::from(*jail)));
        let mut jails: Vec<&str> = jails.map(|jail| jail.name.as_str()).collect();
        jails.dedup();
        let text = format!(
            "jail {}: {}{others} has had no line for {}, and never was silent for longer than {} before; look whether its \
             service still logs there (`systemctl status rsyslog`, `pillory doctor`)",
            jails.join(", "),
            escape(first),
            Span::from_secs(u64::from(rhythm.silence / 60) * 3_600),
            Span::from_secs(u64::from(rhythm.longest.max(1)) * 60)
        );
        Some((feed.to_string(), text))
    }

    fn unmatched(&self) -> Seen {
        let jails = (0..).zip(self.machine.judge.jails());
        let words = jails.filter_map(|(at, jail): (JailIndex, _)| {
            let Unmatched { looked_at, like_failures } = self.machine.unmatched(at)?;
            let reads = self.readers.reads.get(usize::from(at)).map_or("", String::as_str);
            let text = format!(
                "jail {}: its filter has matched nothing since the start, but of {looked_at} lines looked at {like_failures} look like failures (such as failed or denied, with an address); try `pillory test-filter {} LOG` on what it reads ({})",
                jail.name,
                jail.name,
                escape(reads)
            );
            Some((jail.name.to_string(), text))
        });
        words.collect()
    }

    fn hold_no_effect(&mut self) {
        let ports = |jail: &JailName| {
            let bans = self.machine.ledger.covering(self.lookout.no_effect.get(jail)?.last.0);
            bans.iter().any(|ban| ban.scope != pillory_core::event::Scope::All).then_some(())
        };
        let words = |(jail, pierced): (&JailName, &Pierced)| {
            let (count, (last, at)) = (pierced.prefixes.len(), pierced.last);
            let who = match count {
                1 => format!("the ban of {}", last.short()),
                _ => format!("bans of {count} addresses, the last {},", last.short()),
            };
            let cure = match ports(jail) {
                Some(()) => {
                    "it is limited to ports: see that `port` of the jail names those of the service, or set scope = \"all\""
                }
                None => {
                    "if it is a proxy, list it in trusted_proxies; else see whether its packets come another way (`pillory doctor`)"
                }
            };
            (
                jail.to_string(),
                format!("jail {jail}: {who} has no effect: attempts still come, the last at {at}; {cure}"),
            )
        };
        let now = self.lookout.no_effect.iter().map(words).collect();
        self.hold(NO_EFFECT, now);
    }

    fn hold_store(&mut self) {
        let retention = self.setup.config.retention;
        let now = clock::now();
        self.lookout.kept_since = self.lookout.kept_since.filter(|since| now.since(*since) < retention);
        let words = |since: Timestamp| {
            let most = crate::findings::disk::size(self.setup.config.state_max);
            let text = format!(
                "the store has reached state_max ({most}): attempts and history of before {since} are forgotten, earlier than retention ({retention}) says; bans in force stay; a larger state_max keeps more"
            );
            (String::new(), text)
        };
        let now = self.lookout.kept_since.map(words).into_iter().collect();
        self.hold(STORE_FULL, now);
    }

    /// Brings the file of `motd` up to date.
    pub(super) fn show_motd(&mut self, now: Timestamp) {
        let is_shown = self.setup.config.motd.is_some() || self.lookout.motd.is_some();
        let is_early = now.since(self.lookout.shown) < SHOW_EVERY && now >= self.lookout.shown;
        if !is_shown || is_early {
            return;
        }
        self.lookout.shown = now;
        let wanted = self.setup.config.motd.clone().filter(|_| self.ready);
        let wanted = wanted.map(|path| (path, self.motd_text()));
        if wanted == self.lookout.motd {
            return;
        }
        let order = match (&wanted, &self.lookout.motd) {
            (Some((path, text)), _) => Some(Order::Motd(path.clone(), text.clone())),
            (None, Some((path, _))) => Some(Order::Motd(path.clone(), None)),
            (None, None) => None,
        };
        // Without a lookout nobody writes it.
        order.map_or(Ok(()), |order| self.outlets.lookout.send(order)).unwrap_or_default();
        self.lookout.motd = wanted;
    }

    /// The warnings as whoever logs in may read them: no account and no address of who belongs here.
    fn motd_text(&self) -> Option<String> {
        let mut warnings = self.warnings_to_send();
        warnings.sort();
        warnings.dedup();
        let more = warnings.len().saturating_sub(MOST_SHOWN);
        let mut lines: Vec<String> = warnings
            .iter()
            .take(MOST_SHOWN)
            .map(|warning| format!("pillory: {}\n", escape(warning)))
            .collect();
        lines
            .extend((more > 0).then(|| format!("pillory: {more} more warnings; `pillory status` has all\n")));
        (!lines.is_empty()).then(|| lines.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the minutes of so many days; `line`: whether there is a line in that minute. Returns the first minute in
    /// which the log counts as silent.
    fn silent_at(days: u32, line: impl Fn(u32) -> bool) -> Option<u32> {
        let mut rhythm = Rhythm::default();
        (0..days * 24 * 60).find(|minute| {
            rhythm.minute();
            if line(*minute) {
                rhythm.line();
            }
            rhythm.is_silent()
        })
    }

    const DAY: u32 = 24 * 60;

    #[test]
    fn a_log_that_is_written_all_the_time_is_missed_after_six_hours() {
        let stops = 3 * DAY;
        let found = silent_at(10, |minute| minute < stops && minute % 5 == 0).unwrap();
        assert!((stops + 6 * 60 - 6..=stops + 6 * 60).contains(&found), "{found}");
    }

    #[test]
    fn nights_weekends_and_holidays_of_an_office_are_no_silence() {
        let works = |minute: u32| {
            let (day, hour) = (minute / DAY, minute / 60 % 24);
            // From Monday on; Easter from Friday to Monday in the first week.
            let is_off = day % 7 >= 5 || [4, 7].contains(&day);
            !is_off && (8..18).contains(&hour) && minute.is_multiple_of(20)
        };
        assert_eq!(silent_at(60, works), None);
    }

    #[test]
    fn a_host_where_hardly_anything_happens_is_not_missed() {
        for every in [DAY, 3 * DAY, 7 * DAY] {
            assert_eq!(silent_at(60, |minute| minute % every == every - 1), None, "{every}");
        }
        assert_eq!(silent_at(60, |minute| minute == 7), None, "one line only");
    }

    #[test]
    fn a_log_that_had_lines_for_a_day_only_is_not_known_well_enough() {
        assert_eq!(silent_at(30, |minute| minute < DAY), None);
    }
}
