//! What the engine knows of an address or a network: the JSON of `explain`.

use serde_json::{Value, json};

use pillory_core::event::{Origin, Points};
use pillory_core::jail::never::Why;
use pillory_core::jail::outage::ROPE;
use pillory_core::jail::widen::{self, EVIDENCE};
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Machine, Widening};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::Timestamp;

use crate::clock;
use crate::control::{Reply, stamp};

use super::Engine;
use super::report::{is_spared, told_of};

/// Of the bans of a network and inside it so many are told, and all that hold it; `pillory list` has the rest.
const MOST_TOLD: usize = 50;

impl Engine {
    pub(super) fn explain(&self, prefix: Prefix) -> Reply {
        let now = clock::now();
        let judge = &self.machine.judge;
        let subject = if prefix.is_host() { judge.subject(prefix.addr()) } else { prefix };
        let (overlapping, all) = self.machine.ledger.outline(prefix, MOST_TOLD);
        let bans: Vec<Value> = overlapping.iter().map(|ban| told_of(ban, prefix, &judge.never)).collect();
        let in_effect = match all > bans.len() {
            true => {
                let shuts_out = |banned, is_forced| !is_spared((banned, is_forced), prefix, &judge.never);
                self.machine.ledger.count_overlapping(prefix, shuts_out)
            }
            false => bans.iter().filter(|ban| ban["spared"] != true).count(),
        };
        let mut never = judge.never.reasons(prefix);
        if judge.presumes_proxy(prefix.addr(), now) {
            never.push((Prefix::host(prefix.addr()), Why::PresumedProxy));
        }
        let never: Vec<Value> = never
            .iter()
            .map(|(entry, why)| json!({"prefix": entry.to_string(), "why": why.words()}))
            .collect();
        let network = judge.networks.as_ref().and_then(|networks| {
            let (number, country) = (networks.asn(prefix.addr()), networks.country(prefix.addr()));
            let operator = networks.operator(prefix.addr());
            let is_known = number.is_some() || country.is_some();
            let country = country.map(|country| country.to_string());
            is_known.then(|| json!({"asn": number, "operator": operator, "country": country}))
        });
        let login = judge.trust.last_login(prefix.addr());
        let login =
            login.map(|login| json!({"time": stamp(login.time), "user": login.user, "regular": false}));
        // Web logins name nobody.
        let regular = || judge.good_places(subject, now).into_iter().find(|_| prefix.is_host());
        let nameless = |(_, _, time)| json!({"time": stamp(time), "user": Value::Null, "regular": true});
        let value = json!({
            "prefix": prefix.to_string(),
            "counted_as": subject.to_string(),
            "banned": in_effect > 0,
            "bans_in_effect": in_effect,
            "enforcing": self.enforces(),
            "bans_more": all - overlapping.len(),
            "bans": bans,
            "points": self.counting(subject, now),
            "never_banned": never,
            "widening": self.machine.widening(prefix, now).iter().map(|found| widening(&self.machine, found)).collect::<Vec<_>>(),
            "earlier_bans": judge.past.all(subject),
            "standing_bans": judge.past.standing(subject, now),
            "network": network,
            "findtime_s": by_jail(judge, |jail| json!(jail.policy.findtime.secs())),
            "maxretry": by_jail(judge, |jail| json!(in_points(jail.policy.maxretry))),
            "jitter_percent": by_jail(judge, |jail| json!(jail.policy.jitter.0)),
            "last_good_login": login.or_else(|| regular().map(nameless)),
        });
        Reply { exit: u8::from(value["banned"] != json!(true)), message: String::new(), value }
    }

    /// What counts of a source that is not banned, by jail: its points and those that ban it, which are `maxretry` unless
    /// the threshold jitters; and since when an outage holds its ban back, if it has earned one.
    fn counting(&self, subject: Prefix, now: Timestamp) -> Vec<Value> {
        let judge = &self.machine.judge;
        let counted = judge.counted(subject, now).into_iter().map(|(name, points, tries)| {
            let known = judge.jails().iter().find(|known| known.name == name);
            let threshold = known.map(|jail| judge.threshold(jail, subject));
            let is_reached = threshold.is_some_and(|threshold| points >= threshold);
            let outage = judge.alarms.outages.on(&name).filter(|_| is_reached);
            json!({
                "jail": name.as_str(),
                "points": in_points(points),
                "attempts": tries,
                "maxretry": known.map(|jail| in_points(jail.policy.maxretry)),
                "threshold": threshold.map(in_points),
                "outage_since": outage.map(stamp),
                "banned_anyway_at": outage.and(threshold).map(|threshold| in_points(threshold.times(ROPE))),
                "findtime_s": known.map(|jail| jail.policy.findtime.secs()),
            })
        });
        counted.collect()
    }
}

/// What each jail says, by its name.
fn by_jail(judge: &Judge, what: impl Fn(&Jail) -> Value) -> Value {
    Value::Object(judge.jails().iter().map(|jail| (jail.name.to_string(), what(jail))).collect())
}

fn in_points(points: Points) -> f64 {
    f64::from(points.0) / 100.0
}

/// At most so many offenders of a network are named.
const OFFENDERS: usize = 50;

/// What a jail makes of a neighbourhood, as `explain --json` shows it.
fn widening(machine: &Machine, found: &Widening) -> Value {
    let texts = |prefixes: &mut dyn Iterator<Item = Prefix>| -> Vec<String> {
        prefixes.take(OFFENDERS).map(Prefix::short).collect()
    };
    let networks = found.cover.nets.iter().map(|net| {
        let mut inside = found.offenders.iter().copied().filter(|one| net.prefix.contains(*one));
        let mut own = machine.ledger.of(net.prefix).into_iter();
        let instead = machine.ledger.covering(net.prefix).into_iter().find(|ban| ban.origin != Origin::Local);
        json!({
            "prefix": net.prefix.to_string(),
            "offenders": texts(&mut inside),
            "bans_saved": net.offenders.saturating_sub(1),
            "innocents": net.innocents,
            "banned": own.any(|ban| ban.jail == found.jail && ban.origin == Origin::Local),
            "banned_by": instead.map(|ban| json!({"prefix": ban.prefix.to_string(), "jail": ban.jail.as_str()})),
        })
    });
    let spared = found.spared.iter().take(OFFENDERS);
    // What would be a network if nobody were spared.
    let unspared = match found.cover.nets.is_empty() && !found.spared.is_empty() {
        true => widen::cover(&found.offenders, &PrefixSet::default(), found.budget).nets,
        false => Vec::new(),
    };
    json!({
        "jail": found.jail.as_str(),
        "looked_at": found.region.to_string(),
        "offenders": found.offenders.len(),
        "first_offenders": texts(&mut found.offenders.iter().copied()),
        "networks": networks.collect::<Vec<_>>(),
        "but_for_spared": texts(&mut unspared.iter().map(|net| net.prefix)),
        "innocents_a_ban_saved": found.cover.price,
        "budget": found.budget,
        "budget_used": found.used,
        "budget_is_short": found.is_short,
        "gives_way": texts(&mut found.displaced.iter().map(|net| net.prefix)),
        "spared": spared.map(|(prefix, why)| json!({"prefix": prefix.short(), "why": why.words()})).collect::<Vec<_>>(),
        "evidence_s": EVIDENCE.secs(),
    })
}
