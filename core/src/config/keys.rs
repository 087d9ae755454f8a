//! The key tables: for every key its parser and its one-line documentation. `pillory.toml`, its man page and the
//! error messages all come from here. To add a key of a jail, add a row.

mod geo;
mod jail;
mod outgoing;
mod restrict;
mod section;
mod values;
mod wall;
mod web;
mod within;

use crate::event::{Class, Points};
use crate::jail::policy::{Ladder, PointTable};
use crate::jail::secret::Percent;
use crate::jail::widen;
use crate::machine::ScopeRule;
use crate::net::Prefix;
use crate::suggest::did_you_mean;
use crate::time::Span;

use super::growth::GrowthDraft;
use super::raw::Value;
use super::{Backend, Enabled, MAX_MAXRETRY, OnStop, Restriction};
use section::Section;
use values::{bantime, decimal, list, path, share, size};

pub use jail::JAIL_KEYS;
pub use outgoing::is_address as is_mail_address;
pub(super) use values::{MAX_MAXLINES, boolean, positive_span, text};
pub use values::{is_host_name, texts};
pub use wall::line;
pub use within::{Row, WITHIN};

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
    pub(super) state_max: Option<u64>,
    pub(super) motd: Option<std::path::PathBuf>,
    pub(super) ban_log: Option<std::path::PathBuf>,
    pub(super) fail2ban: Option<std::path::PathBuf>,
    pub(super) fuse: u32,
    pub(super) restrict: Vec<Restriction>,
    pub(super) rescue: Option<u16>,
    pub(super) geo: super::Geo,
    pub(super) sandbox: Option<bool>,
    pub(super) wall: super::Wall,
    pub(super) outgoing: super::Outgoing,
    pub(super) web: Option<super::Web>,
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
                    (None, _) => {
                        let close = did_you_mean(name, Class::ALL.map(|(_, known)| known));
                        misfits.push(Misfit(format!("there is no class {name:?}{close}"), CLASSES));
                    }
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
        doc: "whether neighbours are banned as a network, or how many innocent addresses (IPv6: /64s) that may hit at once",
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
            let mut fuse = Section::new(value, "write { bans_per_minute = 60 }", within::FUSE)?;
            let rate = fuse.take("bans_per_minute", fuse_rate);
            draft.fuse = fuse.finish(Some(rate.unwrap_or_default()))?;
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
        name: "geo",
        doc: "[geo] with asn and country: databases (.mmdb) of whose an address is and where; unset: none",
        set: |draft, value| {
            draft.geo = geo::read(value)?;
            Ok(())
        },
    },
    Key {
        name: "rescue",
        doc: "[rescue] with port: a TCP port exempt from bans where a code frees an address; unset: none",
        set: |draft, value| {
            let cure = "write [rescue] and port = 2200 below it";
            let mut rescue = Section::new(value, cure, within::RESCUE)?;
            let port = rescue.take("port", rescue_port);
            draft.rescue = rescue.finish(Some(port))?;
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
        name: "wall",
        doc: "[wall] with out, contact, title, mask, delay, keep, min_attempts, unlisted: what of the offenders is shown in public",
        set: |draft, value| {
            draft.wall = wall::read(value)?;
            Ok(())
        },
    },
    Key {
        name: "notify",
        doc: "[notify.NAME] with kind (mail, webhook, syslog, command) and what it needs: who is told what happens here",
        set: |draft, value| {
            draft.outgoing.notify = outgoing::notify(value)?;
            Ok(())
        },
    },
    Key {
        name: "report",
        doc: "[report.abuseipdb], [report.blocklist-de], [report.xarf]: who is told of attackers",
        set: |draft, value| {
            draft.outgoing.reports = outgoing::report(value)?;
            Ok(())
        },
    },
    Key {
        name: "rdap",
        doc: "[rdap] with url: who is asked whose network an address is in",
        set: |draft, value| {
            draft.outgoing.rdap = outgoing::rdap(value)?;
            Ok(())
        },
    },
    Key {
        name: "web",
        doc: "[web] with listen, token_file, host: where the daemon serves its dashboard; unset: nowhere",
        set: |draft, value| {
            draft.web = Some(web::read(value)?);
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
    Key {
        name: "state_max",
        doc: "how large the store may be: the oldest attempts and history go first, never a ban in force",
        set: |draft, value| {
            draft.state_max = Some(size(value)?);
            Ok(())
        },
    },
    Key {
        name: "motd",
        doc: "a file that holds the warnings in force for who logs in, such as \"/run/pillory/motd\"; unset: none",
        set: |draft, value| {
            draft.motd = Some(path(value)?);
            Ok(())
        },
    },
    Key {
        name: "fail2ban_log",
        doc: "a log of failures, bans and unbans as fail2ban writes it, for tools that read that; unset: none",
        set: |draft, value| {
            draft.ban_log = Some(path(value)?);
            Ok(())
        },
    },
];

/// The highest `bans_per_minute`: twice as many prefixes are remembered.
const MAX_FUSE: u32 = 100_000;

fn fuse_rate(value: &Value) -> Result<u32, Misfit> {
    let rate = text(value)?.parse().ok().filter(|rate| *rate <= MAX_FUSE);
    rate.ok_or_else(|| Misfit(format!("is no whole number up to {MAX_FUSE}"), "0 switches the fuse off"))
}

fn rescue_port(value: &Value) -> Result<u16, Misfit> {
    let port = text(value)?.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Misfit("is no number from 1 to 65535".into(), "write for example port = 2200"))
}

/// The points of a section: the default table with the section's own rows over it.
pub(super) fn point_table(layers: &[&Option<Vec<(Class, Points)>>]) -> PointTable {
    let mut table = PointTable::long_memory();
    for (class, points) in layers.iter().filter_map(|layer| layer.as_ref()).flatten() {
        table.set(*class, *points);
    }
    table
}
