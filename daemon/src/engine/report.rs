//! What the engine says of itself: the JSON of `status`, `list` and `explain`, and the lines of start and stop.

use serde_json::{Value, json};

use pillory_core::config::OnStop;
use pillory_core::event::JailName;
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::never::NeverBan;
use pillory_core::jail::{Soon, stealth};
use pillory_core::ledger::Ban;
use pillory_core::machine::{IdentityBan, Level, Machine};
use pillory_core::net::Prefix;
use pillory_core::time::{End, Timestamp};

use crate::actions::{self, dryrun};
use crate::cli::count;
use crate::clock;
use crate::control::stamp;
use crate::logging;
use crate::service;
use crate::sources::StreamStatus;
use crate::stamps;

use super::Engine;
use super::audience::Audience;

/// The line that scripts wait for.
pub(super) fn ready(engine: &Engine) {
    let (banned, action) = (engine.machine.ledger.len(), engine.action);
    let state = match engine.machine.is_enforcing() {
        _ if engine.is_dry() => format!("dry run, nothing is enforced, {banned} would be banned"),
        true => format!("enforcing by {action}, {banned} banned"),
        false => format!("switched off until `pillory on`, nothing is enforced, {banned} banned"),
    };
    logging::plain(&format!("ready: {state}\n"));
    service::ready();
}

/// The last line.
pub(super) fn stopping(engine: &Engine) {
    logging::last(&format!("stopped: {}\n", what_stays(engine)));
}

/// What becomes of the bans when the daemon ends.
fn what_stays(engine: &Engine) -> String {
    let (machine, action, off) = (&engine.machine, engine.action, &engine.setup.off);
    let banned = machine.ledger.len();
    let forever = machine.ledger.iter().filter(|ban| ban.until == End::Never).count();
    let bans = count(banned as u64, "ban");
    let kept = match banned {
        1 => "the ledger keeps it for the next start",
        _ => "the ledger keeps them for the next start",
    };
    if banned == 0 {
        return "nobody is banned".to_owned();
    }
    if engine.is_dry() {
        return format!("{banned} would be banned; it was a dry run, nothing was enforced");
    }
    if !machine.is_enforcing() {
        return format!("{bans}, not in force: switched off until `pillory on`; {kept}");
    }
    if engine.setup.on_stop == OnStop::Lift {
        return format!("{bans} lifted from the kernel; {kept}");
    }
    let end = match engine.ends_by_itself() {
        true if banned == 1 && forever == 0 => "and ends by itself".to_owned(),
        true if banned == 1 => "for ever".to_owned(),
        false => "without an end, until a daemon runs again".to_owned(),
        true if forever > 0 => format!("and end by themselves, but for {forever} that last forever"),
        true => "and end by themselves".to_owned(),
    };
    let (stay, them) = if banned == 1 { ("stays", "it") } else { ("stay", "them") };
    format!("{bans} {stay} in force by {action} {end}; `{off}` lifts {them}")
}

/// A ban as `list --json` shows it.
pub(crate) fn ban_value(ban: &Ban) -> Value {
    json!({
        "prefix": ban.prefix.to_string(),
        "jail": ban.jail.as_str(),
        "since": stamp(ban.since),
        "until": ban.until.timestamp().map(stamp),
        "failures": ban.failures,
        "reason": ban.reason.to_string(),
        "origin": ban.origin.name(),
        "forced": ban.forced,
    })
}

/// Every prefix that a ban in force is of, in order.
pub(super) fn banned(machine: &Machine) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = machine.ledger.iter().map(|ban| ban.prefix).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// The bans in force of these prefixes, in their order.
pub(super) fn bans_of(machine: &Machine, prefixes: &[Prefix]) -> Value {
    let of_one = |prefix: &Prefix| {
        let mut bans = machine.ledger.of(*prefix);
        bans.sort_by(|a, b| a.jail.cmp(&b.jail));
        bans
    };
    let never = &machine.judge.never;
    let bans = prefixes.iter().flat_map(of_one);
    Value::Array(bans.map(|ban| told_of(&ban, ban.prefix, never)).collect())
}

/// A ban, and whether it shuts out any of `asked`: what is never banned is taken out of it, as long as it is that.
pub(super) fn told_of(ban: &Ban, asked: Prefix, never: &NeverBan) -> Value {
    let mut value = ban_value(ban);
    value["spared"] = json!(is_spared((ban.prefix, ban.forced), asked, never));
    value
}

/// True if a ban, which may be forced, shuts out nobody of `asked`.
pub(super) fn is_spared((banned, is_forced): (Prefix, bool), asked: Prefix, never: &NeverBan) -> bool {
    let both = if asked.contains(banned) { banned } else { asked };
    !is_forced && never.subtract(both).is_empty()
}

impl Engine {
    /// True if nothing is ever enforced.
    pub(super) fn is_dry(&self) -> bool {
        self.action == dryrun::NAME
    }

    /// True if bans shut anybody out.
    pub(super) fn enforces(&self) -> bool {
        self.machine.is_enforcing() && !self.is_dry()
    }

    /// What who lists bans must know; empty if they are enforced.
    pub(super) fn not_enforced(&self) -> String {
        match self.enforces() || self.machine.ledger.is_empty() {
            true => String::new(),
            false if self.is_dry() => "a dry run: none of these bans is enforced".to_owned(),
            false => "switched off: none of these bans is enforced until `pillory on`".to_owned(),
        }
    }

    /// True if the kernel ends bans without us.
    fn ends_by_itself(&self) -> bool {
        actions::kind(self.action).is_none_or(|kind| kind.ends_bans)
    }

    pub(super) fn status(&self, to: Audience) -> Value {
        let jails = self.machine.judge.jails().iter().enumerate().map(|(at, jail)| {
            let index = at as u16;
            let counters = self.machine.counters(index);
            let banned = self.machine.ledger.count_of(&jail.name);
            json!({
                "name": jail.name.as_str(),
                "sources": self.sources_of(at),
                "lines": counters.lines,
                "failures": counters.failures,
                "successes": counters.successes,
                "tracked": self.machine.judge.tracked(index),
                "banned": banned,
                "bans_total": counters.bans,
                "stamps_off_s": self.machine.stamps_off(index),
                "identities": self.identities_of(&jail.name, to),
                "widened": self.machine.widened(&jail.name),
                "campaign": self.campaign_of(&jail.name, to),
                "stealth": self.machine.judge.alarms.stealth.on(&jail.name).map(|attack| {
                    let users = self.names_for(to, &attack.users);
                    let users: Vec<String> = users.iter().map(|user| crate::escape::escape(user)).collect();
                    json!({"since": stamp(attack.since), "places": attack.places, "users": users})
                }),
            })
        });
        let mut warnings = self.standing_warnings(to);
        warnings.extend(self.readers.warnings.iter().cloned());
        warnings.extend(self.command_troubles(to));
        warnings.extend(self.no_delivery());
        warnings.extend(self.facts.troubles.iter().cloned());
        warnings.extend(self.stream_troubles());
        warnings.extend(self.stamps_off());
        warnings.extend(self.withheld(|soon| self.soon_for(to, soon)));
        warnings.extend(self.stealth_warnings(to));
        warnings.extend(self.trial_warning());
        warnings.extend(logging::troubles());
        warnings.extend(self.short_of_budget());
        warnings.extend(self.campaigns(to));
        if !self.machine.is_enforcing() {
            warnings.push("switched off: nothing is enforced; `pillory on` switches on".to_owned());
        }
        warnings.sort();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "banaction": self.action,
            "enforcing": self.enforces(),
            "off_until": self.off_until.map(stamp),
            "trial_until": self.trial_end().map(stamp),
            "banned": self.machine.ledger.len(),
            "learnt": self.learning.value(clock::now()),
            "allowed": self.allowed.listed(&self.facts.named),
            "restricted": self.restrictions(),
            "latency": (!self.is_dry()).then(|| self.latency.value()),
            "drift": (!self.is_dry()).then(|| self.drift()),
            "sandbox": self.sandbox.value(),
            "warnings": warnings,
            "jails": jails.collect::<Vec<_>>(),
        })
    }

    /// That nothing is sent, though something should be.
    fn no_delivery(&self) -> Option<String> {
        self.setup.delivery.trouble().map(str::to_owned)
    }

    pub(super) fn short_of_budget(&self) -> Vec<String> {
        let short = self.machine.short_of_budget(clock::now());
        let words = |(jail, ipv4, last, budget): &(&JailName, bool, Timestamp, u64)| {
            format!("{}; last at {}", logging::no_room_words(jail, *ipv4, *budget), clock::told(*last))
        };
        short.iter().map(words).collect()
    }

    /// Whether the kernel has what the ledger says: when it was looked at, what is on its way, what somebody else changed.
    fn drift(&self) -> Value {
        let mut value = self.healed.value();
        value["checked"] = stamp(self.last_verify);
        value["under_way"] = json!(self.jobs - self.jobs_done);
        value
    }

    /// The jails whose logs have another clock or zone.
    pub(super) fn stamps_off(&self) -> impl Iterator<Item = String> {
        (0..).zip(self.machine.judge.jails()).filter_map(|(index, jail)| {
            let off_s = self.machine.stamps_off(index)?;
            Some(format!("jail {}: {}", jail.name, stamps::words(off_s)))
        })
    }

    /// The attacks on accounts in use, also those that were on before a restart.
    fn stealth_warnings(&self, to: Audience) -> impl Iterator<Item = String> {
        let stealth = &self.machine.judge.alarms.stealth;
        let jails = self.machine.judge.jails().iter().map(|jail| &jail.name);
        jails.filter_map(move |jail| {
            let mut attack = stealth.on(jail)?;
            attack.users = self.names_for(to, &attack.users);
            let change = stealth::Change::Began(jail.clone(), attack);
            Some(logging::alarm_words(&Alarm::Stealth(change)))
        })
    }

    /// Who works together against a jail, as `status --json` shows it; nothing if nobody does.
    fn campaign_of(&self, jail: &JailName, to: Audience) -> Option<Value> {
        let campaigns = &self.machine.judge.alarms.campaigns;
        let now = clock::now();
        let (campaign, systems) = (campaigns.on(jail, now), campaigns.systems(jail));
        let (lists, spray) = (campaigns.lists(jail, now), campaigns.spray(jail, now));
        let first = campaign
            .iter()
            .map(|campaign| campaign.since)
            .chain(systems.iter().map(|system| system.since))
            .chain(lists.iter().map(|group| group.since))
            .chain(spray.iter().map(|spray| spray.since))
            .min()?;
        let networks = systems.iter().map(
            |system| json!({"asn": system.number, "since": stamp(system.since), "networks": system.networks}),
        );
        let lists = lists.map(|group| {
            let names = self.names_for(to, &group.names);
            json!({"since": stamp(group.since), "places": group.places, "names": names})
        });
        let spray = spray.map(|spray| json!({"since": stamp(spray.since), "places": spray.places}));
        let names = campaign.map(|campaign| self.names_for(to, &campaign.names));
        Some(json!({
            "since": stamp(first),
            "members": campaigns.members(jail),
            "names": names.unwrap_or_default(),
            "systems": networks.collect::<Vec<_>>(),
            "lists": lists,
            "spray": spray,
        }))
    }

    /// The same as warnings, with what is known now.
    fn campaigns(&self, to: Audience) -> Vec<String> {
        let judge = &self.machine.judge;
        let (campaigns, now) = (&judge.alarms.campaigns, clock::now());
        let mut said = Vec::new();
        for jail in judge.jails() {
            let on = campaigns.on(&jail.name, now);
            said.extend(on.map(|mut campaign| {
                campaign.names = self.names_for(to, &campaign.names);
                logging::campaign_words(&jail.name, &campaign)
            }));
            let lists = campaigns.lists(&jail.name, now);
            said.extend(lists.map(|mut group| {
                group.names = self.names_for(to, &group.names);
                logging::group_words(&jail.name, &group)
            }));
            let spray = campaigns.spray(&jail.name, now);
            said.extend(spray.map(|spray| logging::spray_words(&jail.name, &spray)));
            let systems = campaigns.systems(&jail.name);
            said.extend(systems.iter().map(|system| logging::system_words(&jail.name, system)));
        }
        said
    }

    /// What was not banned and why, who is soon banned, and what the fuse does.
    fn withheld(&self, named: impl Fn(&Soon) -> Soon) -> Vec<String> {
        let alerts = self.machine.alerts(clock::now()).map(|alert| {
            let times = if alert.times > 1 { format!(" {} times", alert.times) } else { String::new() };
            format!(
                "jail {}: {} earned a ban{times} ({}; last at {}) and is not banned: {}",
                alert.jail,
                alert.prefix.short(),
                alert.evidence,
                clock::told(alert.last),
                logging::spared_words(alert)
            )
        });
        let soon = self.machine.soon_banned(clock::now());
        let soon = soon.map(|soon| format!("jail {}: {}", soon.jail, self.soon_words(&named(soon))));
        alerts.chain(soon).chain(self.limits()).collect()
    }

    /// That there are too many bans, or come too fast.
    pub(super) fn limits(&self) -> Vec<String> {
        let ledger = &self.machine.ledger;
        let full = (ledger.len() >= ledger.most()).then(|| logging::full_words(ledger.most()));
        let fuse = self.machine.fuse();
        let blown = (fuse.level() > Level::Closed)
            .then(|| format!("{}; {} withheld so far", logging::fuse_words(fuse.level()), fuse.withheld()));
        blown.into_iter().chain(full).collect()
    }

    /// Who is near a ban, or has earned one that the outage holds back.
    fn soon_words(&self, soon: &Soon) -> String {
        match self.has_earned(soon) {
            true => logging::held_back_words(soon),
            false => logging::soon_words(soon),
        }
    }

    /// True if the outage holds it back.
    pub(super) fn has_earned(&self, soon: &Soon) -> bool {
        let judge = &self.machine.judge;
        let jail = judge.jails().iter().find(|jail| jail.name == soon.jail);
        jail.is_some_and(|jail| {
            let threshold = judge.threshold(jail, soon.prefix);
            let counted = judge.counted(soon.prefix, clock::now());
            counted.iter().any(|(name, points, _)| *name == soon.jail && *points >= threshold)
        })
    }

    /// Whom the jail's commands have banned who is no address.
    fn identities_of(&self, jail: &JailName, to: Audience) -> Vec<Value> {
        let of_jail = self.machine.identities.iter().filter(|ban| ban.jail == *jail);
        let until = |ban: &IdentityBan| ban.until.timestamp().map(stamp);
        let id = |ban: &IdentityBan| self.names_for(to, &[ban.id.as_str().into()]).concat();
        of_jail.map(|ban| json!({"id": crate::escape::escape(&id(ban)), "until": until(ban)})).collect()
    }

    fn sources_of(&self, jail: usize) -> Vec<Value> {
        let feeds = self
            .readers
            .feeds
            .iter()
            .filter(|feed| self.readers.of(feed.id).iter().any(|(index, _)| usize::from(*index) == jail));
        let ids: Vec<_> = feeds.map(|feed| feed.id).collect();
        let streams = self.streams.values().flatten().filter(|stream| ids.contains(&stream.feed));
        let value = |StreamStatus { kind, path, problem, feed }: &StreamStatus| {
            let last = self.last_lines.get(feed).copied().map(stamp);
            json!({"kind": kind, "path": path, "problem": problem, "last_line": last})
        };
        streams.map(value).collect()
    }
}
