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

use crate::cli::configfile::DEFAULT_CONFIG;
use crate::clock;
use crate::escape::{command_line, escape};
use crate::findings::Finding;
use crate::kernel::Job;
use crate::lookout::{Order, Seen};
use crate::sources::{Feed, FeedId, StreamStatus};

use super::rhythms::{self, Rhythm, Rhythms};
use super::{Engine, META_RHYTHMS};

/// Keys of warnings, each begins with one of these.
const HOST: &str = "host ";
const KERNEL: &str = "rival bans ";
const SILENT: &str = "silent ";
const UNMATCHED: &str = "unmatched ";
/// The same, known to whoever sends warnings.
pub(super) const NO_EFFECT: &str = "no effect ";
const STORE_FULL: &str = "state_max";

/// So often the rhythms of logs are kept, in minutes.
const KEEP_EVERY: u32 = 60;

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
    rhythms: Rhythms,
    no_effect: BTreeMap<JailName, Pierced>,
    /// How often a minute was over.
    minutes: u32,
    /// Where logs are, as the lookout was told.
    logs: Vec<PathBuf>,
    /// What stands in the file of `motd`.
    motd: Option<(PathBuf, Option<String>)>,
    shown: Timestamp,
    /// What the store knows of the rhythms.
    kept: String,
    /// From when on attempts are kept, if that is later than `retention` says.
    kept_since: Option<Timestamp>,
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
        self.lookout.rhythms.heard(feed);
    }

    /// Takes over how often logs had lines before a restart.
    pub(super) fn begin_rhythms(&mut self, kept: Option<&str>) {
        self.lookout.rhythms = Rhythms::restored(&self.readers.feeds, kept.unwrap_or_default());
        self.lookout.kept = self.rhythms_kept();
    }

    /// Feeds may be numbered anew; what else is read has its rhythm as before.
    pub(super) fn renumber_rhythms(&mut self, old: &[Feed]) {
        let kept = self.lookout.rhythms.kept(old);
        self.lookout.rhythms = Rhythms::restored(&self.readers.feeds, &kept);
    }

    pub(super) fn rhythms_kept(&self) -> String {
        self.lookout.rhythms.kept(&self.readers.feeds)
    }

    /// Has the store keep them, if they have changed.
    pub(super) fn keep_rhythms(&mut self) {
        let kept = self.rhythms_kept();
        if kept != self.lookout.kept {
            self.lookout.kept.clone_from(&kept);
            self.meta.push((META_RHYTHMS.into(), kept));
        }
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
        self.lookout.rhythms.minute();
        self.lookout.no_effect.retain(|_, pierced| now.since(pierced.last.1) < NO_EFFECT_LASTS);
        self.lookout.minutes = self.lookout.minutes.wrapping_add(1);
        if self.lookout.minutes.is_multiple_of(KERNEL_EVERY) {
            self.look_at_kernel();
        }
        if self.lookout.minutes.is_multiple_of(KEEP_EVERY) {
            self.keep_rhythms();
        }
        // After a reload the sources have yet to say what they read.
        if !self.streams.is_empty() {
            self.hold(SILENT, self.silent());
        }
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
        let feeds = self.readers.feeds.iter();
        let silent = feeds.filter_map(|feed| Some((feed, self.lookout.rhythms.silent(feed.id)?)));
        silent
            .filter_map(|(feed, rhythm)| Some((rhythms::name(feed), self.silent_words(feed.id, rhythm)?)))
            .collect()
    }

    /// What is said of a feed; nothing if something else is wrong with all that it reads.
    fn silent_words(&self, feed: FeedId, rhythm: Rhythm) -> Option<String> {
        let streams =
            self.streams.iter().flat_map(|(kind, all)| all.iter().map(move |stream| (*kind, stream)));
        let streams = streams.filter(|(_, stream)| stream.feed == feed && stream.problem.is_none());
        let paths: Vec<(&str, &str)> = streams.map(|(kind, stream)| (kind, stream.path.as_str())).collect();
        let ((kind, first), others) = paths.split_first()?;
        let cure = match *kind {
            "journal" => {
                "look whether its service runs and still logs to the journal (`systemctl status systemd-journald`, `pillory doctor`)"
            }
            "btmp" => "look whether logins are still recorded there (`lastb -n 3`, `pillory doctor`)",
            _ => {
                "look whether its service, and what writes this log for it (rsyslog?), still runs (`pillory doctor`)"
            }
        };
        let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let jails = self.readers.of(feed).iter();
        let jails = jails.filter_map(|(jail, _)| self.machine.judge.jails().get(usize::from(*jail)));
        let mut jails: Vec<&str> = jails.map(|jail| jail.name.as_str()).collect();
        jails.dedup();
        Some(format!(
            "jail {}: {}{others} has had no line for {}, and never was silent for longer than {} before; {cure}",
            jails.join(", "),
            escape(first),
            Span::from_secs(u64::from(rhythm.silence / 60) * 3_600),
            Span::from_secs(u64::from(rhythm.longest.max(1)) * 60)
        ))
    }

    fn unmatched(&self) -> Seen {
        let jails = (0..).zip(self.machine.judge.jails());
        let words = jails.filter_map(|(at, jail): (JailIndex, _)| {
            let Unmatched { looked_at, like_failures } = self.machine.unmatched(at)?;
            let text = format!(
                "jail {}: its filter has matched nothing since the start, but of {looked_at} lines looked at {like_failures} look like failures (such as failed or denied, with an address); see `{}`",
                jail.name,
                escape(&self.test_command(at, &jail.name))
            );
            Some((jail.name.to_string(), text))
        });
        words.collect()
    }

    /// The command that shows what a jail's filter makes of what it reads.
    fn test_command(&self, at: JailIndex, jail: &JailName) -> String {
        let place = &self.setup.place;
        let path =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let mut words = vec!["pillory".to_owned(), "test-filter".into(), "--jail".into(), jail.to_string()];
        let file = place.file.as_deref().filter(|file| *file != Path::new(DEFAULT_CONFIG));
        for (option, given) in [("--config", file), ("--fail2ban", place.fail2ban.as_deref())] {
            words.extend(given.into_iter().flat_map(|given| [option.to_owned(), path(given)]));
        }
        let is_its =
            |stream: &&StreamStatus| self.readers.of(stream.feed).iter().any(|(reader, _)| *reader == at);
        let mut streams = self.streams.values().flatten().filter(is_its);
        let stream = streams.find(|stream| stream.problem.is_none());
        let mut entries = Vec::new();
        match stream.map(|stream| stream.kind) {
            Some("journal") => {
                entries = self.journalctl(jail);
                words.push("-".to_owned());
            }
            _ => words.push(stream.map_or("LOG".to_owned(), |stream| stream.path.clone())),
        }
        let command = command_line(words.into_iter());
        match entries.is_empty() {
            true => command,
            false => format!("{} | {command}", command_line(entries.into_iter())),
        }
    }

    /// The command that prints the latest entries of the journal that a jail reads.
    fn journalctl(&self, jail: &JailName) -> Vec<String> {
        let config = self.setup.config.jails.iter().find(|known| known.name == *jail);
        let mut words: Vec<String> = ["journalctl", "-n", "1000"].map(str::to_owned).to_vec();
        for (at, pairs) in config.iter().flat_map(|jail| &jail.filter.journalmatch).enumerate() {
            words.extend((at > 0).then(|| "+".to_owned()));
            words.extend(pairs.iter().map(|(field, value)| format!("{field}={value}")));
        }
        words
    }

    fn hold_no_effect(&mut self) {
        let ports = |jail: &JailName| {
            let bans = self.machine.ledger.covering(self.lookout.no_effect.get(jail)?.last.0);
            bans.iter().any(|ban| ban.scope != pillory_core::event::Scope::All).then_some(())
        };
        let words = |(jail, pierced): (&JailName, &Pierced)| {
            let (count, (last, at)) = (pierced.prefixes.len(), pierced.last);
            let at = clock::told(at);
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
            let (most, since) =
                (crate::findings::disk::size(self.setup.config.state_max), clock::told(since));
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
