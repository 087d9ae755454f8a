//! The log: structured lines on stderr, or entries of the journal if that is what stderr is, and as text for each ban and
//! unban one more in fail2ban's form, for tools that read that. As JSON every line is an object but the one that starts with `ready`, which scripts wait for.
//! Text that came from logs is escaped before it is logged. In the daemon a thread of its own writes ([`queue`]).

mod banlog;
mod form;
mod journal;
mod looked;
mod queue;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use pillory_core::event::JailName;
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::campaign::{self, Campaign, Group, Spray, System};
use pillory_core::jail::proxies::Standing;
use pillory_core::jail::{Soon, outage, stealth};
use pillory_core::ledger::{Ban, Ended};
use pillory_core::machine::{Alert, Level, Notice, Reason};
use tracing::{error, info, warn};

use crate::escape::escape;
use crate::{clock, stamps};

pub(crate) use banlog::set as ban_log;
pub(crate) use form::{failure, restored, wants_failures};
pub(crate) use looked::{go_on, hold};
pub(crate) use queue::{finish, start as start_thread};

use queue::Line;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether lines are objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Hands each line over, and has no errors: a logger that fails must not fail whoever logs.
struct Writer;

impl Write for Writer {
    /// The logger writes a line at a time.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        queue::push(if journal::is_on() { Line::Entry(line.to_vec()) } else { Line::Log(line.to_vec()) });
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts logging to stderr; text that would end in the journal goes there as entries with fields.
pub(crate) fn start(format: Format) {
    IS_JSON.store(format == Format::Json, Ordering::Relaxed);
    let level = tracing::Level::INFO;
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Writer)
        // It would say them by `eprintln!`, which panics where stderr cannot be written.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(false);
    // A second call in one process (tests) keeps the first logger.
    let _ = match format {
        Format::Text if journal::begin() => {
            tracing::subscriber::set_global_default(builder.event_format(journal::Entries).finish())
        }
        Format::Text if looked::is_on() => {
            tracing::subscriber::set_global_default(builder.event_format(looked::Lines).finish())
        }
        Format::Text => tracing::subscriber::set_global_default(builder.finish()),
        Format::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
}

/// The daemon's last line.
pub(crate) fn last(line: &str) {
    if IS_JSON.load(Ordering::Relaxed) {
        info!(what = line.trim_end(), "stopped");
    } else {
        plain(line);
    }
}

/// Writes a line as it is, for scripts and tools that wait for it. A log that cannot be written must not stop anything.
pub(crate) fn plain(line: &str) {
    self::line(tracing::Level::INFO, line, &[]);
}

/// The same with what an entry of the journal has beside it.
fn line(level: tracing::Level, line: &str, fields: &[(&str, &str)]) {
    #[cfg(test)]
    if clock::simulated::is_on() {
        return;
    }
    queue::push(match journal::is_on() {
        true => Line::Entry(journal::entry(level, line.trim_end(), fields)),
        false => Line::Log(line.as_bytes().to_vec()),
    });
}

/// What is wrong with the log itself, for `status`.
pub(crate) fn troubles() -> impl Iterator<Item = String> {
    [queue::trouble(), banlog::trouble()].into_iter().flatten()
}

/// Why the daemon cannot run, if the log is JSON; false if it is not, and somebody else must say it.
pub(crate) fn fatal(reason: &str) -> bool {
    let is_json = IS_JSON.load(Ordering::Relaxed);
    if is_json {
        error!(reason, "cannot run");
    }
    is_json
}

/// Logs many bans of one jail that came from a list, or ended; nothing if there are none.
pub(crate) fn crowd(bans: &[&Ban], ended: Option<Ended>, action: &str) {
    let [first, .., last] = bans else { return };
    let (jail, first_ip, last_ip) = (&first.jail, first.prefix.short(), last.prefix.short());
    let (count, until) = (bans.len(), end_of(first));
    match ended.map(how_ended) {
        None => info!(%jail, bans = count, %first_ip, %last_ip, %until, action, "bans from a list"),
        Some(reason) => info!(%jail, bans = count, %first_ip, %last_ip, reason, action, "unban of many"),
    }
}

/// Each of them has a line in fail2ban's own log: there they are counted.
pub(crate) fn one_of_a_crowd(ban: &Ban, ended: Option<Ended>) {
    form::to_file(&ban.jail, &ban.prefix.short(), if ended.is_some() { "Unban" } else { "Ban" });
}

/// Logs a notice of the machine.
pub(crate) fn notice(notice: &Notice, action: &str) {
    match notice {
        Notice::Banned(ban) => {
            let until = end_of(ban);
            let bantime_s = ban.until.remaining(ban.since).map_or(-1, |span| span.secs() as i64);
            info!(jail = %ban.jail, ip = %ban.prefix.short(), bantime_s, %until, failures = ban.failures, reason = %escape(&ban.reason.to_string()), action, "ban");
            form::told(&ban.jail, &ban.prefix.short(), "Ban");
        }
        Notice::Ended(ban, how) => {
            info!(jail = %ban.jail, ip = %ban.prefix.short(), reason = how_ended(*how), action, "unban");
            form::told(&ban.jail, &ban.prefix.short(), "Unban");
        }
        Notice::IdentityBanned(ban) => {
            let bantime_s = ban.until.remaining(ban.since).map_or(-1, |span| span.secs() as i64);
            let id = escape(&ban.id);
            info!(jail = %ban.jail, id, bantime_s, failures = ban.failures, "ban by commands only");
            form::told(&ban.jail, &id, "Ban");
        }
        Notice::IdentityEnded(ban, how) => {
            let id = escape(&ban.id);
            info!(jail = %ban.jail, id, reason = how_ended(*how), "unban by commands only");
            form::told(&ban.jail, &id, "Unban");
        }
        Notice::StampOff(jail, seconds) => {
            warn!(jail = %jail, off_s = seconds, "{}", stamps::words(*seconds));
        }
        // Said as a warning of the engine, for all of a jail together.
        Notice::NoEffect(..) => {}
        Notice::NoAddress(jail, text) => {
            warn!(jail = %jail, who = %escape(text), "a failure is of somebody who is no address, and nothing of this jail can shut that out; such failures are not counted");
        }
        Notice::Spared(alert) => {
            let (jail, ip, why) = (&alert.jail, alert.prefix.short(), spared_words(alert));
            warn!(%jail, %ip, evidence = %alert.evidence, why, "a ban was earned and not made");
        }
        Notice::Soon(soon) => {
            let (jail, ip) = (&soon.jail, soon.prefix.short());
            warn!(%jail, %ip, failures_left = soon.left, "{}", soon_words(soon));
        }
        Notice::Fuse(Level::Closed) => info!("the fuse is closed again: new bans are made"),
        Notice::Fuse(level) => warn!("{}", fuse_words(*level)),
        Notice::Full(most) => warn!("{}", full_words(*most)),
        Notice::Alarm(alarm) if is_over(alarm) => info!("{}", alarm_words(alarm)),
        Notice::Alarm(alarm) => warn!("{}", alarm_words(alarm)),
        Notice::NoRoomToWiden { jail, ipv4, budget } => warn!("{}", no_room_words(jail, *ipv4, *budget)),
        Notice::Proxy((jail, addr, standing, share_percent)) => match standing {
            Standing::Visitor => {
                info!(jail = %jail, ip = %addr, share_percent, "no longer taken for a proxy")
            }
            _ => warn!(jail = %jail, ip = %addr, share_percent, "{}", proxy_words(*standing)),
        },
    }
}

/// The budget for networks of neighbours is used up, and what to do.
pub(crate) fn no_room_words(jail: &JailName, ipv4: bool, budget: u64) -> String {
    let (family, innocents) = if ipv4 { ("IPv4", "addresses") } else { ("IPv6", "networks") };
    format!(
        "jail {jail}: more networks of neighbours ({family}) attack than may be banned with {budget} innocent \
         {innocents} in them: the best proven are, of the others only who attacks; a larger `widen` bans more of them"
    )
}

/// A ban in words that may leave the host: a reason names no user.
pub(crate) fn ban_words(ban: &Ban) -> String {
    let (who, until, reason) = (ban.prefix.short(), end_of(ban), escape(&ban.reason.to_string()));
    let until = if until == "forever" { until } else { format!("until {until}") };
    format!("jail {}: {who} is banned {until} ({reason})", ban.jail)
}

/// The end of one.
pub(crate) fn unban_words(ban: &Ban, how: Ended) -> String {
    format!("jail {}: {} is no longer banned: {}", ban.jail, ban.prefix.short(), how_ended(how))
}

/// When a ban ends, by the wall clock.
fn end_of(ban: &Ban) -> String {
    let end = ban.until.timestamp();
    end.map_or_else(|| "forever".to_owned(), clock::told)
}

/// Why a ban was not made, and what to do.
pub(crate) fn spared_words(alert: &Alert) -> String {
    match alert.reason {
        Reason::Never(entry, why) => {
            let is = match entry == alert.prefix {
                true => format!("it is {}", why.words()),
                false => format!("it belongs to {}, {}", entry.short(), why.words()),
            };
            format!(
                "{is}; if that is not you, shut it out with `pillory ban --force {}`",
                alert.prefix.short()
            )
        }
        Reason::GoodLogins(count, addr, at) => format!(
            "good logins came from {count} of its addresses lately, the last from {addr} at {}; if they were an \
             attacker's, `pillory ban --force {}`",
            clock::told(at),
            alert.prefix.short()
        ),
    }
}

/// Who is soon banned: somebody who belongs here, it seems.
pub(crate) fn soon_words(soon: &Soon) -> String {
    let who = soon.user.as_deref().map_or_else(|| "somebody".to_owned(), escape);
    let failures = match soon.left {
        1 => "one failure".to_owned(),
        2 => "two failures".to_owned(),
        left => format!("{left} failures"),
    };
    let from = soon.prefix.short();
    format!(
        "{who} from {from} is {failures} from a ban; if that is you or a friend, `pillory allow {from} --for 1h` spares it"
    )
}

/// Somebody has earned a ban that is held back.
pub(crate) fn held_back_words(soon: &Soon) -> String {
    let who = soon.user.as_deref().map_or_else(|| "somebody".to_owned(), escape);
    let from = soon.prefix.short();
    format!("{who} from {from} has earned a ban and is not banned yet; `pillory explain {from}` tells why")
}

/// What the fuse does at this level, and what to do.
pub(crate) fn fuse_words(level: Level) -> &'static str {
    match level {
        Level::Closed => "the fuse is closed",
        Level::Networks => {
            "the fuse has blown: more bans within a minute than fuse.bans_per_minute; no network is banned until a minute \
             passes without so many; see `pillory attempts` for whether what the jails read is right"
        }
        Level::All => {
            "the fuse has blown: more than twice as many bans within a minute as fuse.bans_per_minute; nobody new is banned \
             until a minute passes without so many; see `pillory attempts` for whether what the jails read is right"
        }
    }
}

/// What becomes of new bans where there are too many.
pub(crate) fn full_words(most: usize) -> String {
    format!(
        "{most} bans are in force, and there is no room for more: a new one takes the place of the jails' ban that ends \
         first, then of one from a list; `pillory list` shows them, `widen` bans networks in the place of many, and a \
         shorter bantime makes room"
    )
}

/// How a ban ended, in words.
pub(crate) fn how_ended(how: Ended) -> &'static str {
    match how {
        Ended::Expired => "bantime is over",
        Ended::Lifted => "by hand",
        Ended::Narrowed => "what is known now asks for another network, or for none",
        Ended::Mistaken => "people log in from there, as was learnt only later",
        Ended::Displaced => "there was no room for it beside bans that end later",
        Ended::Retired => "its jail is no longer configured",
    }
}

/// True if it is good news.
fn is_over(alarm: &Alarm) -> bool {
    matches!(alarm, Alarm::Outage(outage::Change::Ended(_)) | Alarm::Stealth(stealth::Change::Ended(_)))
        || matches!(alarm, Alarm::Campaign(change) if change.is_end())
}

/// What is said of what no single source shows. Names are of accounts that exist or that several places tried, so no
/// mistyped password is among them.
pub(crate) fn alarm_words(alarm: &Alarm) -> String {
    let listed = |names: &[pillory_core::event::UserName]| -> String {
        let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
        names.join(", ")
    };
    match alarm {
        Alarm::Outage(outage::Change::Began(jail, addr, sign)) => {
            let sign = match sign {
                outage::Sign::Silence => "nobody has logged in for a quarter of an hour".to_owned(),
                outage::Sign::Owners(places) => {
                    format!("so do users from {places} places in all, where fewer than that get in")
                }
            };
            format!(
                "jail {jail}: {addr} fails again and again though logins from there used to succeed, and {sign}: is the service's password database down, or a disk full? It is not banned until it has four times the points; strangers are"
            )
        }
        Alarm::Outage(outage::Change::Ended(jail)) => format!("jail {jail}: the outage is over"),
        Alarm::Stealth(stealth::Change::Began(jail, attack)) => format!(
            "jail {jail}: accounts in use are guessed at since {}, from {} places within a day, each too rarely to be banned for it: {}; see `pillory attempts`, and have their owners use keys",
            clock::told(attack.since),
            attack.places,
            listed(&attack.users)
        ),
        Alarm::Stealth(stealth::Change::Grew(jail, attack)) => format!(
            "jail {jail}: accounts in use are still guessed at, by now from {} places within a day: {}",
            attack.places,
            listed(&attack.users)
        ),
        Alarm::Stealth(stealth::Change::GotIn { jail, place, user }) => format!(
            "jail {jail}: {} logged in from {}, where nobody did before, while that account is guessed at: if it was not its owner, the password is known",
            escape(user),
            place.short()
        ),
        Alarm::Stealth(stealth::Change::Ended(jail)) => {
            format!("jail {jail}: accounts in use are no longer guessed at")
        }
        Alarm::Campaign(campaign::Change::Began { jail, campaign }) => campaign_words(jail, campaign),
        Alarm::Campaign(campaign::Change::Ended(jail)) => format!("jail {jail}: the campaign is over"),
        Alarm::Campaign(campaign::Change::ListsBegan { jail, group }) => group_words(jail, group),
        Alarm::Campaign(campaign::Change::ListsEnded(jail)) => {
            format!("jail {jail}: no places share lists of names any more")
        }
        Alarm::Campaign(campaign::Change::SprayBegan { jail, spray }) => spray_words(jail, spray),
        Alarm::Campaign(campaign::Change::SprayEnded(jail)) => {
            format!("jail {jail}: strangers no longer try accounts more than usual")
        }
        Alarm::Campaign(campaign::Change::SystemBegan { jail, system }) => system_words(jail, system),
        Alarm::Campaign(campaign::Change::SystemEnded(jail, number)) => {
            format!("jail {jail}: the networks of AS{number} no longer attack together")
        }
    }
}

/// What is said of a campaign that is on; its names were each tried by several.
pub(crate) fn campaign_words(jail: &JailName, campaign: &Campaign) -> String {
    let Campaign { since, members, names } = campaign;
    let since = clock::told(*since);
    let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
    format!(
        "jail {jail}: a campaign is on since {since}: {members} addresses within a day try the same names ({}), a few times each; while it lasts such a name bans at the first try if it does not exist here, and nothing need be done",
        names.join(", ")
    )
}

/// What is said of places that share lists of names, each of which several tried.
pub(crate) fn group_words(jail: &JailName, group: &Group) -> String {
    let Group { since, places, names } = group;
    let since = clock::told(*since);
    let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
    let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!(
        "jail {jail}: {places} places share lists of names that hardly anybody else tries{named}, since {since}; for two weeks a name that does not exist here bans at the first try from there, and nothing need be done"
    )
}

/// What is said of many strangers at accounts.
pub(crate) fn spray_words(jail: &JailName, spray: &Spray) -> String {
    let Spray { since, places } = spray;
    let since = clock::told(*since);
    format!(
        "jail {jail}: strangers try accounts far more than usual since {since}, from {places} places within a day; while they do, a second account bans at once, and nothing need be done"
    )
}

/// What is said of an operator whose networks attack together.
pub(crate) fn system_words(jail: &JailName, system: &System) -> String {
    let System { number, since, networks } = system;
    let since = clock::told(*since);
    format!(
        "jail {jail}: {networks} networks of AS{number} attack together since {since}; while they do, a name that does not exist here bans at the first try from there, and nothing need be done"
    )
}

/// What is said of an address that carries most of a web log's good traffic.
pub(crate) fn proxy_words(standing: Standing) -> &'static str {
    match standing {
        Standing::Visitor => "a visitor like others",
        Standing::Suspected => {
            "may be a proxy: most good requests come from it; if it is one, list it in trusted_proxies, or it is banned for those behind it"
        }
        Standing::Presumed => {
            "presumed to be a proxy and not banned by this jail: most good requests come from it; if it is one, list it in trusted_proxies, so that those behind it are judged"
        }
    }
}
