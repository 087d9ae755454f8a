//! The key tables: for every key its parser and its one-line documentation. `pillory.toml`, its man page and the
//! error messages all come from here. To add a key of a jail, add a row.

mod restrict;

use crate::event::{Class, Points};
use crate::filter::spec;
use crate::jail::policy::{Ladder, PointTable};
use crate::jail::secret::Percent;
use crate::jail::widen;
use crate::machine::ScopeRule;
use crate::net::Prefix;
use crate::time::{BanTime, Span};

use super::growth::GrowthDraft;
use super::raw::Value;
use super::{Backend, Enabled, MAX_MAXRETRY, OnStop, Restriction};

/// What a section of the file says so far; unset keys fall back to wider sections and to defaults.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub(super) enabled: Option<Enabled>,
    pub(super) backend: Option<Backend>,
    pub(super) logpath: Option<Vec<String>>,
    pub(super) journalmatch: Option<Vec<Vec<(String, String)>>>,
    pub(super) filter: Option<String>,
    pub(super) prefregex: Option<String>,
    pub(super) failregex: Option<Vec<String>>,
    pub(super) ignoreregex: Option<Vec<String>>,
    pub(super) datepattern: Option<String>,
    pub(super) maxlines: Option<usize>,
    pub(super) port: Option<Vec<String>>,
    pub(super) maxretry: Option<Points>,
    pub(super) findtime: Option<Span>,
    pub(super) bantime: Option<Ladder>,
    pub(super) growth: Option<GrowthDraft>,
    pub(super) points: Option<Vec<(Class, Points)>>,
    pub(super) widen: Option<u64>,
    pub(super) jitter: Option<Percent>,
}

/// What the top of the file says so far.
#[derive(Debug, Clone, Default)]
pub struct TopDraft {
    pub(super) defaults: Draft,
    pub(super) ignoreip: Vec<Prefix>,
    pub(super) ignoreip_names: Vec<String>,
    pub(super) goodusers: Vec<String>,
    pub(super) goodusers_never_ban: bool,
    pub(super) trusted_proxies: Vec<Prefix>,
    pub(super) decoys: Option<Percent>,
    pub(super) scope: Option<ScopeRule>,
    pub(super) banaction: Option<String>,
    pub(super) on_stop: Option<OnStop>,
    pub(super) retention: Option<Span>,
    pub(super) fail2ban: Option<std::path::PathBuf>,
    pub(super) fuse: u32,
    pub(super) restrict: Vec<Restriction>,
    pub(super) rescue: Option<u16>,
    pub(super) sandbox: Option<bool>,
}

/// Why a value does not fit its key, and the cure.
pub struct Misfit(pub String, pub &'static str);

/// Everything that does not fit.
pub struct Misfits(pub Vec<Misfit>);

impl From<Misfit> for Misfits {
    fn from(misfit: Misfit) -> Misfits {
        Misfits(vec![misfit])
    }
}

impl Misfits {
    /// Every problem of a list or table, or nothing.
    fn none(found: Vec<Misfit>) -> Result<(), Misfits> {
        if found.is_empty() { Ok(()) } else { Err(Misfits(found)) }
    }
}

/// A row of a key table.
pub struct Key<T> {
    /// The key as written.
    pub name: &'static str,
    /// One line for the manual.
    pub doc: &'static str,
    /// Takes the value over into the draft.
    pub set: fn(&mut T, &Value) -> Result<(), Misfits>,
}

/// Keys that may stand at the top, for all jails, and in a jail.
pub const POLICY_KEYS: &[Key<Draft>] = &[
    Key {
        name: "maxretry",
        doc: "points within findtime that ban",
        set: |draft, value| {
            let points = decimal(value)?;
            if points < Points(1) || points > MAX_MAXRETRY {
                return Err(
                    Misfit(format!("{points} is out of range"), "use a number from 0.01 to 1000").into()
                );
            }
            draft.maxretry = Some(points);
            Ok(())
        },
    },
    Key {
        name: "findtime",
        doc: "length of the window in which failures count",
        set: |draft, value| {
            draft.findtime = Some(positive_span(value)?);
            Ok(())
        },
    },
    Key {
        name: "bantime",
        doc: "length of a ban, or of the first, second and later bans",
        set: |draft, value| {
            let steps = list(value)?.iter().map(|step| bantime(step)).collect::<Result<Vec<_>, _>>()?;
            draft.bantime = Some(
                Ladder::new(steps)
                    .ok_or(Misfit("is an empty list".into(), "write for example [\"1d\", \"7d\"]"))?,
            );
            Ok(())
        },
    },
    Key {
        name: "growth",
        doc: "{ increment, factor, multipliers, formula, rndtime, maxtime, overalljails }: bans grow as fail2ban's do",
        set: |draft, value| {
            draft.growth = Some(GrowthDraft::read(value)?);
            Ok(())
        },
    },
    Key {
        name: "points",
        doc: "points of each class of failure; all 1 is plain counting",
        set: |draft, value| {
            let Value::Table(rows) = value else {
                return Err(
                    Misfit("is no table".into(), "write for example { unknown_user = 3, root = 2 }").into()
                );
            };
            let mut points = draft.points.take().unwrap_or_default();
            let mut misfits = Vec::new();
            for (name, value) in rows {
                let class = Class::from_name(name);
                match (class, decimal(value)) {
                    (Some(class), Ok(value)) => points.push((class, value)),
                    (None, _) => misfits.push(Misfit(format!("there is no class {name:?}"), CLASSES)),
                    (_, Err(Misfit(what, cure))) => misfits.push(Misfit(format!("{name} {what}"), cure)),
                }
            }
            draft.points = Some(points);
            Misfits::none(misfits)
        },
    },
    Key {
        name: "jitter",
        doc: "by what share of maxretry a source's threshold differs from it, so that it cannot be learnt",
        set: |draft, value| {
            draft.jitter = Some(share(value)?);
            Ok(())
        },
    },
    Key {
        name: "widen",
        doc: "whether neighbours are banned as a network, or how many innocent addresses that may hit at once",
        set: |draft, value| {
            draft.widen = Some(match (boolean(value), value) {
                (Ok(true), _) => widen::BUDGET,
                (Ok(false), _) => 0,
                (_, Value::Text(number)) => {
                    number.parse().ok().filter(|budget| *budget <= 1 << 24).ok_or(Misfit(
                        format!("{number:?} is no number of addresses"),
                        "use true, false or a number up to 16777216",
                    ))?
                }
                (Err(misfit), _) => return Err(misfit.into()),
            });
            Ok(())
        },
    },
];

const CLASSES: &str = "use bad_user, unknown_user, root, known_user, good_user, probe, scan, penalty or web";

/// Keys that only a jail has.
pub const JAIL_KEYS: &[Key<Draft>] = &[
    Key {
        name: "enabled",
        doc: "whether the jail runs; unset: if its service is found",
        set: |draft, value| {
            draft.enabled = Some(if boolean(value)? { Enabled::Yes } else { Enabled::No });
            Ok(())
        },
    },
    Key {
        name: "backend",
        doc: "auto, journal, file or btmp",
        set: |draft, value| {
            draft.backend = Some(match text(value)? {
                "auto" => Backend::Auto,
                "journal" | "systemd" => Backend::Journal,
                "file" | "pyinotify" | "polling" => Backend::File,
                "btmp" => Backend::Btmp,
                other => {
                    return Err(
                        Misfit(format!("{other:?} is not known"), "use auto, journal, file or btmp").into()
                    );
                }
            });
            Ok(())
        },
    },
    Key {
        name: "logpath",
        doc: "log files, globs allowed; with backend btmp the btmp file",
        set: |draft, value| {
            let paths = texts(value)?;
            let relative = paths.iter().filter(|path| !path.starts_with('/'));
            let misfit = |path| Misfit(format!("{path:?} is no absolute path"), "begin it with /");
            let misfits = relative.map(misfit).collect();
            draft.logpath = Some(paths);
            Misfits::none(misfits)
        },
    },
    Key {
        name: "journalmatch",
        doc: "journal fields, as in fail2ban: pairs, alternatives joined by +",
        set: |draft, value| {
            draft.journalmatch = Some(journalmatch(text(value)?)?);
            Ok(())
        },
    },
    Key {
        name: "filter",
        doc: "name of a built-in filter; default: the jail's name",
        set: |draft, value| {
            draft.filter = Some(text(value)?.to_owned());
            Ok(())
        },
    },
    Key {
        name: "prefregex",
        doc: "an expression that comes first; its F-CONTENT group is what the others see",
        set: |draft, value| {
            draft.prefregex = Some(text(value)?.trim().to_owned());
            Ok(())
        },
    },
    Key {
        name: "failregex",
        doc: "expressions in fail2ban's language that show a failure",
        set: |draft, value| {
            draft.failregex = Some(regexes(value)?);
            Ok(())
        },
    },
    Key {
        name: "ignoreregex",
        doc: "expressions for lines to be passed over",
        set: |draft, value| {
            draft.ignoreregex = Some(regexes(value)?);
            Ok(())
        },
    },
    Key {
        name: "datepattern",
        doc: "how a line's date is written, in fail2ban's language; unset: found by itself",
        set: |draft, value| {
            draft.datepattern = Some(text(value)?.to_owned());
            Ok(())
        },
    },
    Key {
        name: "maxlines",
        doc: "how many lines a failregex may span; unset: 1",
        set: |draft, value| {
            let lines = text(value)?.parse::<usize>().ok().filter(|lines| (1..=MAX_MAXLINES).contains(lines));
            draft.maxlines =
                Some(lines.ok_or(Misfit("is out of range".into(), "use a number from 1 to 1000"))?);
            Ok(())
        },
    },
    Key {
        name: "port",
        doc: "ports of the service; unset: found from its listening sockets",
        set: |draft, value| {
            let ports = texts(value)?;
            let wrong = |port: &&String| !is_port(port);
            let misfit = |port| Misfit(format!("{port:?} is no port"), PORTS);
            let misfits = ports.iter().filter(wrong).map(misfit).collect();
            draft.port = Some(ports);
            Misfits::none(misfits)
        },
    },
];

/// Keys that only the top has.
pub const TOP_KEYS: &[Key<TopDraft>] = &[
    Key {
        name: "ignoreip",
        doc: "addresses, networks and names that are never banned",
        set: |draft, value| {
            let mut misfits = Vec::new();
            for item in texts(value)? {
                match item.parse::<Prefix>() {
                    Ok(prefix) if prefix.prefix_len() == 0 => misfits.push(Misfit(
                        format!("{item:?} is every address there is: nobody would be banned"),
                        "name who is never to be banned; to enforce nothing, use banaction = \"dryrun\"",
                    )),
                    Ok(prefix) => draft.ignoreip.push(prefix),
                    Err(_) if is_host_name(&item) => draft.ignoreip_names.push(item),
                    Err(error) => misfits.push(Misfit(error.to_string(), "or a DNS name")),
                }
            }
            Misfits::none(misfits)
        },
    },
    Key {
        name: "goodusers",
        doc: "accounts whose owners mistype: half a point a failure",
        set: |draft, value| {
            draft.goodusers = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "goodusers_never_ban",
        doc: "failures for goodusers never count",
        set: |draft, value| {
            draft.goodusers_never_ban = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "trusted_proxies",
        doc: "proxies in front of this host; the client is read from their header",
        set: |draft, value| {
            let mut misfits = Vec::new();
            for item in texts(value)? {
                match item.parse::<Prefix>() {
                    Ok(prefix) => draft.trusted_proxies.push(prefix),
                    Err(error) => misfits.push(Misfit(error.to_string(), "")),
                }
            }
            Misfits::none(misfits)
        },
    },
    Key {
        name: "decoys",
        doc: "share of names without an account that are judged as if they had one, so that bans do not tell",
        set: |draft, value| {
            draft.decoys = Some(share(value)?);
            Ok(())
        },
    },
    Key {
        name: "scope",
        doc: "all ports, the jail's ports, or auto: all but for an address this host talks to",
        set: |draft, value| {
            draft.scope = Some(match text(value)? {
                "all" => ScopeRule::All,
                "ports" => ScopeRule::Ports,
                "auto" => ScopeRule::Auto,
                other => {
                    return Err(Misfit(format!("{other:?} is not known"), "use all, ports or auto").into());
                }
            });
            Ok(())
        },
    },
    Key {
        name: "banaction",
        doc: "auto, nftables, nullroute or dryrun",
        set: |draft, value| {
            draft.banaction = Some(text(value)?.to_owned());
            Ok(())
        },
    },
    Key {
        name: "on_stop",
        doc: "keep the bans in the kernel when the daemon stops, or lift them",
        set: |draft, value| {
            draft.on_stop = Some(match text(value)? {
                "keep" => OnStop::Keep,
                "lift" => OnStop::Lift,
                other => {
                    return Err(Misfit(format!("{other:?} is not known"), "use keep or lift").into());
                }
            });
            Ok(())
        },
    },
    Key {
        name: "sandbox",
        doc: "whether the daemon gives up, once it has started, every right that it does not need",
        set: |draft, value| {
            draft.sandbox = Some(boolean(value)?);
            Ok(())
        },
    },
    Key {
        name: "fuse",
        doc: "{ bans_per_minute = N }: beyond that rate no network is banned, beyond twice that nobody; 0 is off",
        set: |draft, value| {
            let Value::Table(rows) = value else {
                return Err(Misfit("is no table".into(), "write { bans_per_minute = 60 }").into());
            };
            for (name, value) in rows {
                if name != "bans_per_minute" {
                    return Err(Misfit(format!("there is no key {name:?}"), "use bans_per_minute").into());
                }
                draft.fuse = text(value)?.parse().ok().filter(|rate| *rate <= MAX_FUSE).ok_or_else(|| {
                    Misfit(format!("{name} is no whole number up to {MAX_FUSE}"), "0 switches the fuse off")
                })?;
            }
            Ok(())
        },
    },
    Key {
        name: "fail2ban",
        doc: "a fail2ban directory whose jails run in the place of all others, such as \"/etc/fail2ban\"",
        set: |draft, value| {
            draft.fail2ban = Some(text(value)?.into());
            Ok(())
        },
    },
    Key {
        name: "rescue",
        doc: "[rescue] with port: a TCP port exempt from bans where a code frees an address; unset: none",
        set: |draft, value| {
            let Value::Table(rows) = value else {
                return Err(Misfit("is no table".into(), "write [rescue] and port = 2200 below it").into());
            };
            for (name, value) in rows {
                if name != "port" {
                    return Err(Misfit(format!("there is no key {name:?}"), "use port").into());
                }
                draft.rescue = Some(text(value)?.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                    Misfit("port is no number from 1 to 65535".into(), "write for example port = 2200")
                })?);
            }
            Ok(())
        },
    },
    Key {
        name: "restrict",
        doc: "[restrict.ssh] with port and allow: who may connect to a port at all",
        set: |draft, value| {
            draft.restrict = restrict::read(value)?;
            Ok(())
        },
    },
    Key {
        name: "retention",
        doc: "how long attempts and history are kept",
        set: |draft, value| {
            draft.retention = Some(positive_span(value)?);
            Ok(())
        },
    },
];

/// The highest `bans_per_minute`: twice as many prefixes are remembered.
const MAX_FUSE: u32 = 100_000;

pub(super) fn text(value: &Value) -> Result<&str, Misfit> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(Misfit("is no text".into(), "put it in quotes")),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, Misfit> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        _ => Err(Misfit("is neither true nor false".into(), "write true or false")),
    }
}

fn list(value: &Value) -> Result<Vec<&Value>, Misfit> {
    match value {
        Value::List(values) => Ok(values.iter().collect()),
        Value::Table(_) => Err(Misfit("is a table".into(), "write a value or a list")),
        single => Ok(vec![single]),
    }
}

/// A list of texts, or one blank- or comma-separated text.
/// # Errors
/// [`Misfit`] for anything else.
pub fn texts(value: &Value) -> Result<Vec<String>, Misfit> {
    let mut all = Vec::new();
    for item in list(value)? {
        let words = text(item)?.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
        all.extend(words.map(str::to_owned));
    }
    Ok(all)
}

/// Together they are bounded in bytes anyway.
pub(super) const MAX_MAXLINES: usize = 1_000;

const PORTS: &str = "write a number from 1 to 65535, a range like 8000:8010, or a name of /etc/services";

/// True for what can be a port: a number, a range of two, or a name, with `/tcp` or `/udp` behind or not. Whether a name
/// has a number is for the host to say.
fn is_port(text: &str) -> bool {
    let (text, is_known) = match text.split_once('/') {
        Some((text, protocol)) => (text, matches!(protocol, "tcp" | "udp")),
        None => (text, true),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'-'));
    let range = || {
        let (first, last) = text.split_once([':', '-'])?;
        Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
    };
    is_known && !text.is_empty() && (!is_numeric || number(text).is_some() || range().is_some())
}

/// A list of texts, or one text with an expression a line.
fn regexes(value: &Value) -> Result<Vec<String>, Misfit> {
    let mut all = Vec::new();
    for item in list(value)? {
        all.extend(text(item)?.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(all)
}

fn decimal(value: &Value) -> Result<Points, Misfit> {
    let number: f64 =
        text(value)?.parse().map_err(|_| Misfit("is no number".into(), "write for example 5 or 0.5"))?;
    Points::from_decimal(number)
        .ok_or(Misfit(format!("{number} is out of range"), "use a number from 0 to 1000000"))
}

/// At most a half: with more of either a jail would not do what its other keys say.
fn share(value: &Value) -> Result<Percent, Misfit> {
    let misfit = |points| Misfit(format!("{points} is out of range"), "use a number from 0 to 0.5");
    let points = decimal(value)?;
    u8::try_from(points.0).ok().filter(|share| *share <= 50).map(Percent).ok_or_else(|| misfit(points))
}

pub(super) fn positive_span(value: &Value) -> Result<Span, Misfit> {
    let span = Span::parse(text(value)?).map_err(|error| Misfit(error.to_string(), ""))?;
    if span.secs() == 0 {
        Err(Misfit("is no time at all".into(), "write for example \"1d\""))
    } else {
        Ok(span)
    }
}

fn bantime(value: &Value) -> Result<BanTime, Misfit> {
    match BanTime::parse(text(value)?).map_err(|error| Misfit(error.to_string(), ""))? {
        BanTime::For(span) if span.secs() == 0 => {
            Err(Misfit("is no time at all".into(), "write for example \"1d\" or \"forever\""))
        }
        bantime => Ok(bantime),
    }
}

fn journalmatch(text: &str) -> Result<Vec<Vec<(String, String)>>, Misfit> {
    spec::journal_match(text).map_err(|problem| Misfit(problem.to_string(), ""))
}

/// True for what can be a DNS name.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.trim_end_matches('.').split('.').all(label)
}

/// The points of a section: the default table with the section's own rows over it.
pub(super) fn point_table(layers: &[&Option<Vec<(Class, Points)>>]) -> PointTable {
    let mut table = PointTable::long_memory();
    for (class, points) in layers.iter().filter_map(|layer| layer.as_ref()).flatten() {
        table.set(*class, *points);
    }
    table
}
