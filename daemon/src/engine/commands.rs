//! Commands that clients give, as the engine carries them out.

use std::net::IpAddr;

use crossbeam_channel::Sender;
use serde_json::json;
use tracing::{info, warn};

use pillory_core::event::{JailName, Origin};
use pillory_core::jail::never::NeverBan;
use pillory_core::ledger::Ban;
use pillory_core::machine::{Effect, Machine, Record};
use pillory_core::net::Prefix;
use pillory_core::reason::Reason;
use pillory_core::suggest::{did_you_mean, with_cure};
use pillory_core::time::{End, Timestamp};

use crate::clock;
use crate::control::{BanOptions, BanOrder, Reply, Request, stamp};

use super::audience::Audience;
use super::{Engine, report};

/// Whose bans those from a list are, unless somebody names a jail.
pub(crate) const LISTS: &str = "import";

/// Bans of so many prefixes are lifted before their effects leave: all of a million would fill memory.
const LIFTED_AT_ONCE: usize = 4_096;

impl Engine {
    pub(super) fn order(&mut self, request: Request, reply: Sender<Reply>) {
        if matches!(request, Request::Reload) {
            return self.reload(Some(reply));
        }
        let request = match request {
            Request::Apply(policy, span) => return self.apply_policy(policy, span, reply),
            other => other,
        };
        let is_change = !matches!(
            request,
            Request::Status
                | Request::Glance
                | Request::Banned(..)
                | Request::BansOf(..)
                | Request::Edition(..)
                | Request::Explain(..)
        );
        let first_job = self.jobs + 1;
        let answer = match request {
            Request::Status => Reply::data(self.status(Audience::Owner)),
            Request::Glance => Reply::data(self.status(Audience::Onlookers)),
            Request::Edition(to) => self.hand_over_edition(&to),
            Request::Banned(to) => {
                // A client that went away needs no answer.
                drop(to.send(report::banned(&self.machine)));
                Reply::say(0, self.not_enforced())
            }
            Request::BansOf(prefixes) => Reply::data(report::bans_of(&self.machine, &prefixes)),
            Request::Explain(prefix) => self.explain(prefix),
            Request::Ban(orders, options) => self.ban(orders, &options),
            Request::Unban { prefixes, jail } => self.unban(prefixes, jail.as_ref()),
            Request::Off { span } => {
                let until = span.map(|span| clock::now() + span);
                self.set_off(Some(until));
                warn!(
                    until = until.map(|until| until.to_string()),
                    "switched off by command; nothing is enforced until `pillory on`"
                );
                let end = until.map_or_else(String::new, |until| format!(" or {}", clock::told(until)));
                let said =
                    "off: every ban is lifted from the kernel and nothing is enforced until `pillory on`";
                Reply::say(0, format!("{said}{end}"))
            }
            Request::On => {
                self.set_off(None);
                info!("switched on by command");
                let bans = self.machine.ledger.len();
                Reply::say(0, format!("on: {bans} {} in force", if bans == 1 { "ban" } else { "bans" }))
            }
            Request::RescueCodes(count) => self.new_codes(count),
            Request::Allow { who, span, remove } => self.allow(who, span, remove),
            Request::Unlist { prefixes, remove } => self.unlist(&prefixes, remove),
            Request::Confirm { take_back, seat, peer } => self.confirm(take_back, seat, peer),
            Request::Reload
            | Request::Apply(..)
            | Request::List
            | Request::Attempts(..)
            | Request::History(..) => Reply::say(2, "this is answered elsewhere"),
        };
        self.flush();
        self.answer_since(first_job, (reply, answer), is_change);
    }

    fn ban(&mut self, orders: Vec<BanOrder>, options: &BanOptions) -> Reply {
        if let Some(unknown) = options.jail.as_ref().and_then(|jail| self.unknown_jail(jail)) {
            return unknown;
        }
        // Bans end by the machine's time, which is not behind what was seen.
        let now = self.machine.now(clock::now());
        let (default_jail, origin) =
            if options.import { (LISTS, Origin::Import) } else { ("manual", Origin::Manual) };
        let Some(jail) = options.jail.clone().or_else(|| JailName::new(default_jail).ok()) else {
            return Reply::say(2, "no jail");
        };
        let Sorted { bans, listed, mut refused } = sort_orders(
            orders,
            options,
            &Spare { machine: Some(&self.machine), never: &self.machine.judge.never, now },
            (&jail, origin),
        );
        let mut prefixes: Vec<Prefix> = bans.iter().map(|ban| ban.prefix).collect();
        let (asked, history_only) = (bans.len(), listed.len());
        // Whoever insists on banning who is never banned hears what that does.
        let never = &self.machine.judge.never;
        let forced = bans.iter().filter(|ban| ban.forced);
        let insisted: Vec<_> = forced.filter_map(|ban| insisted(never, ban.prefix)).collect();
        let kept = if options.import { Vec::new() } else { self.kept(&bans) };
        let mut changed = asked;
        if !options.dry_run {
            changed = self.machine.ban_all(bans, &mut self.effects);
            refused.extend(self.without_room(&mut prefixes, &jail));
            self.effects.extend(listed.into_iter().map(|ban| Effect::Record(Record::Listed(ban))));
        }
        let exit = u8::from(!refused.is_empty() && !options.import);
        let unchanged = prefixes.len().saturating_sub(changed);
        let mut value = json!({"changed": changed, "unchanged": unchanged, "history_only": history_only,
            "refused": refused, "never_banned": insisted, "enforcing": self.enforces()});
        // Who hands over a list has it, and it may be long.
        if !options.import {
            value["banned"] = prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().into();
            value["kept"] = kept.into();
        }
        Reply { exit, message: String::new(), value }
    }

    /// The bans that stay as they are, since they last longer than what is ordered.
    fn kept(&self, bans: &[Ban]) -> Vec<serde_json::Value> {
        let standing = bans.iter().filter_map(|ban| self.machine.ledger.standing(ban));
        let value =
            |ban: Ban| json!({"prefix": ban.prefix.to_string(), "until": ban.until.timestamp().map(stamp)});
        standing.map(value).collect()
    }

    /// Takes out of `prefixes` those for whose ban there was no room, and refuses them.
    fn without_room(&self, prefixes: &mut Vec<Prefix>, jail: &JailName) -> Vec<serde_json::Value> {
        let ledger = &self.machine.ledger;
        let most = ledger.most();
        let gone = prefixes.extract_if(.., |prefix| !ledger.has_room(*prefix, jail));
        gone.map(|prefix| {
            let why = format!(
                "{most} bans are in force, and there is no room for more; lift some with `pillory unban`"
            );
            json!({"prefix": prefix.to_string(), "why": why})
        })
        .collect()
    }

    /// The refusal of a name that no jail has: its bans would belong to nobody.
    fn unknown_jail(&self, name: &JailName) -> Option<Reply> {
        let jails = self.machine.judge.jails();
        let is_known =
            JailName::OF_NO_JAIL.contains(&name.as_str()) || jails.iter().any(|jail| jail.name == *name);
        let names = || jails.iter().map(|jail| jail.name.as_str());
        (!is_known).then(|| {
            let close = did_you_mean(name.as_str(), names());
            let all = names().collect::<Vec<_>>().join(", ");
            Reply::say(2, with_cure(&format!("no jail {name} runs{close}"), &format!("those that do: {all}")))
        })
    }

    fn unban(&mut self, prefixes: Option<Vec<Prefix>>, jail: Option<&JailName>) -> Reply {
        let mut lifted = Vec::new();
        let all = prefixes.clone().unwrap_or_else(|| self.machine.ledger.prefixes());
        for piece in all.chunks(LIFTED_AT_ONCE) {
            let gone = self.machine.unban(Some(piece), jail, clock::now(), &mut self.effects);
            lifted.extend(gone.iter().map(whose));
            self.flush();
        }
        let identities = match &prefixes {
            None => self.machine.unban_identities(jail, &mut self.effects),
            Some(_) => Vec::new(),
        };
        let mut still = Vec::new();
        // Whoever unbans an address means that it can come in again: networks that hold it are named.
        for prefix in prefixes.iter().flatten() {
            still.extend(self.machine.ledger.covering(*prefix).iter().map(whose));
        }
        let identities: Vec<_> = identities
            .iter()
            .map(|ban| json!({"id": crate::escape::escape(&ban.id), "jail": ban.jail.as_str()}))
            .collect();
        self.publish_soon();
        let exit = u8::from(lifted.is_empty() && identities.is_empty());
        let inside = inside(prefixes.as_deref(), jail, self.machine.ledger.iter());
        let value = json!({"unbanned": lifted, "still_banned_by": still, "still_banned_inside": inside, "identities": identities});
        Reply { exit, message: String::new(), value }
    }
}

/// The bans of addresses and networks inside those that were unbanned: they stand, each on its own.
pub(crate) fn inside(
    prefixes: Option<&[Prefix]>,
    jail: Option<&JailName>,
    ledger: impl Iterator<Item = Ban>,
) -> Vec<serde_json::Value> {
    let nets: Vec<Prefix> =
        prefixes.into_iter().flatten().copied().filter(|prefix| !prefix.is_host()).collect();
    if nets.is_empty() {
        return Vec::new();
    }
    let is_inside = |ban: &Ban| {
        nets.iter().any(|net| *net != ban.prefix && net.contains(ban.prefix))
            && jail.is_none_or(|jail| *jail == ban.jail)
    };
    let mut found: Vec<Ban> = ledger.filter(is_inside).collect();
    found.sort_by_key(|ban| ban.prefix);
    found.iter().map(whose).collect()
}

/// Prefix and jail of a ban, as JSON.
fn whose(ban: &Ban) -> serde_json::Value {
    json!({"prefix": ban.prefix.to_string(), "jail": ban.jail.as_str()})
}

/// Orders of `ban` and `import`, sorted by what becomes of them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// To be banned.
    pub(crate) bans: Vec<Ban>,
    /// For the history only.
    pub(crate) listed: Vec<Ban>,
    /// Prefix and reason of each refusal, as JSON.
    pub(crate) refused: Vec<serde_json::Value>,
}

/// Who is to be spared.
pub(crate) struct Spare<'a> {
    /// Who is never banned.
    pub(crate) never: &'a NeverBan,
    /// Knows who logged in lately; nothing where no daemon runs.
    pub(crate) machine: Option<&'a Machine>,
    /// The time of the orders.
    pub(crate) now: Timestamp,
}

impl Spare<'_> {
    /// Why a network with good logins is not banned by hand; `is_listed`: nor a single address from a list. Who names
    /// one address by hand means it.
    fn good_logins(&self, prefix: Prefix, is_listed: bool) -> Option<String> {
        if prefix.is_host() && !is_listed {
            return None;
        }
        let (count, addr, at) = self.machine?.good_logins_in(prefix, self.now)?;
        let at = clock::told(at);
        Some(match prefix.is_host() {
            true => format!("somebody logged in from there at {at}"),
            false if count == 1 => format!("it holds {addr}, from which somebody logged in at {at}"),
            false => {
                format!("it holds {count} addresses from which people logged in, {addr} at {at} the last")
            }
        })
    }
}

/// Makes bans of orders; what would lock the owner out is refused unless forced.
pub(crate) fn sort_orders(
    orders: Vec<BanOrder>,
    options: &BanOptions,
    spare: &Spare<'_>,
    (jail, origin): (&JailName, Origin),
) -> Sorted {
    let now = spare.now;
    let mut sorted = Sorted::default();
    let mut last = Reason::from("");
    for order in orders {
        let refusal = refusal(spare.never, order.prefix, options.caller)
            .or_else(|| spare.good_logins(order.prefix, order.listed.is_none() && options.import))
            .filter(|_| !options.force);
        if let Some(why) = refusal {
            sorted.refused.push(json!({"prefix": order.prefix.to_string(), "why": why}));
            continue;
        }
        let (since, until, list) = match (order.listed, order.kept) {
            (Some(at), _) => (at, End::At(at), &mut sorted.listed),
            (None, Some(kept)) => (kept.since, kept.until, &mut sorted.bans),
            (None, None) => (now, options.bantime.end(now), &mut sorted.bans),
        };
        // Nearly all of a list have the same reason: the ledger keeps the text once.
        if !matches!(&last, Reason::Text(text) if **text == *order.reason) {
            last = order.reason.into();
        }
        let told = (last.clone(), origin);
        let ban = Machine::manual_ban(order.prefix, jail.clone(), since, until, told);
        list.push(Ban { forced: options.force, ..ban });
    }
    sorted
}

/// Who of `prefix` is never banned unless somebody insists, and what insisting does, if there is anybody.
fn insisted(never: &NeverBan, prefix: Prefix) -> Option<serde_json::Value> {
    let why = refusal(never, prefix, None)?;
    let mut does: Vec<&str> = never.reasons(prefix).iter().map(|(_, why)| why.when_banned()).collect();
    if does.is_empty() {
        does.push("this host's neighbours in it are shut out");
    }
    does.sort_unstable();
    does.dedup();
    Some(json!({"prefix": prefix.to_string(), "why": why, "does": does.join("; ")}))
}

/// Why a ban of `prefix` would lock the owner out, if it would.
fn refusal(never: &NeverBan, prefix: Prefix, caller: Option<IpAddr>) -> Option<String> {
    if prefix.prefix_len() == 0 {
        return Some("this is every address there is".to_owned());
    }
    if caller.is_some_and(|caller| prefix.contains_addr(caller)) {
        return Some("you yourself come from there".to_owned());
    }
    let reasons = never.reasons(prefix);
    let held = reasons.first().map(|(entry, why)| match (*entry == prefix, entry.contains(prefix)) {
        (true, _) => format!("it is {}", why.words()),
        (_, true) => format!("it belongs to {}, {}", entry.short(), why.words()),
        _ => format!("it holds {}, {}", entry.short(), why.words()),
    });
    held.or_else(|| {
        let network = never.own_network(prefix)?;
        let relation = if network.contains(prefix) { "it is a part of" } else { "it holds" };
        Some(format!(
            "{relation} {network}, a network that this host is in, where only single addresses are banned"
        ))
    })
}
