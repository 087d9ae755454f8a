//! What the engine says of itself: the JSON of `status`, `list` and `explain`, and the lines of start and stop.

use std::io::Write;

use serde_json::{Value, json};

use pillory_core::config::OnStop;
use pillory_core::jail::never::Why;
use pillory_core::ledger::Ban;
use pillory_core::machine::Machine;
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::control::{Reply, stamp};
use crate::logging;
use crate::sources::StreamStatus;

use super::Engine;

/// The line that scripts wait for.
pub(super) fn ready(banned: usize, enforcing: bool, action: &str) {
    let state = if enforcing { "enforcing" } else { "switched off (`pillory on` switches on)" };
    let line = format!("ready: {state} by {action}, {banned} banned\n");
    // Nobody may be there to read it; the daemon works all the same.
    let _ = std::io::stderr().write_all(line.as_bytes());
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// The last line.
pub(super) fn stopping(engine: &Engine) {
    let line = stop_line(&engine.machine, engine.setup.on_stop, engine.action, &engine.setup.off);
    logging::last(&format!("stopped: {line}\n"));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}

/// What becomes of the bans. `off`: the command that lifts them.
fn stop_line(machine: &Machine, on_stop: OnStop, action: &str, off: &str) -> String {
    let banned = machine.ledger.len();
    match on_stop {
        _ if banned == 0 => "nobody is banned".to_owned(),
        OnStop::Lift => {
            format!("{banned} bans lifted from the kernel; the ledger keeps them for the next start")
        }
        OnStop::Keep => {
            format!("{banned} bans stay in force by {action} and end by themselves; `{off}` lifts them")
        }
    }
}

/// A ban as `list --json` shows it.
pub(crate) fn ban_value(ban: &Ban) -> Value {
    json!({
        "prefix": ban.prefix.to_string(),
        "jail": ban.jail.as_str(),
        "since": stamp(ban.since),
        "until": ban.until.timestamp().map(stamp),
        "failures": ban.failures,
        "reason": ban.reason,
        "origin": ban.origin.name(),
        "forced": ban.forced,
    })
}

/// Every ban in force, by prefix.
pub(super) fn list(machine: &Machine) -> Value {
    let mut bans: Vec<&Ban> = machine.ledger.iter().collect();
    bans.sort_by(|a, b| (a.prefix, &a.jail).cmp(&(b.prefix, &b.jail)));
    Value::Array(bans.into_iter().map(ban_value).collect())
}

impl Engine {
    pub(super) fn status(&self) -> Value {
        let jails = self.machine.judge.jails().iter().enumerate().map(|(at, jail)| {
            let index = at as u16;
            let counters = self.machine.counters(index);
            let banned = self.machine.ledger.iter().filter(|ban| ban.jail == jail.name).count();
            json!({
                "name": jail.name.as_str(),
                "sources": self.sources_of(at),
                "lines": counters.lines,
                "failures": counters.failures,
                "successes": counters.successes,
                "tracked": self.machine.judge.tracked(index),
                "banned": banned,
                "bans_total": counters.bans,
            })
        });
        let mut warnings: Vec<String> = self.warnings.values().cloned().collect();
        warnings.extend(self.hooks.troubles());
        warnings.extend(self.stream_troubles());
        if !self.machine.is_enforcing() {
            warnings.push("switched off: nothing is enforced; `pillory on` switches on".to_owned());
        }
        warnings.sort();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "banaction": self.action,
            "enforcing": self.machine.is_enforcing(),
            "off_until": self.off_until.map(stamp),
            "banned": self.machine.ledger.len(),
            "warnings": warnings,
            "jails": jails.collect::<Vec<_>>(),
        })
    }

    fn sources_of(&self, jail: usize) -> Vec<Value> {
        let feeds = self
            .readers
            .feeds
            .iter()
            .filter(|feed| self.readers.of(feed.id).iter().any(|(index, _)| usize::from(*index) == jail));
        let ids: Vec<_> = feeds.map(|feed| feed.id).collect();
        let streams = self.streams.values().flatten().filter(|stream| ids.contains(&stream.feed));
        streams.map(|StreamStatus { kind, path, problem, .. }| json!({"kind": kind, "path": path, "problem": problem})).collect()
    }

    pub(super) fn explain(&self, prefix: Prefix) -> Reply {
        let now = clock::now();
        let judge = &self.machine.judge;
        let subject = if prefix.is_host() { judge.subject(prefix.addr()) } else { prefix };
        let bans: Vec<Value> = self.machine.ledger.overlapping(prefix).into_iter().map(ban_value).collect();
        let counted = judge.counted(subject, now);
        let points = counted.iter().map(|(jail, points, tries)| {
            let known = judge.jails().iter().find(|known| known.name == *jail);
            json!({
                "jail": jail.as_str(),
                "points": f64::from(points.0) / 100.0,
                "attempts": tries,
                "maxretry": known.map(|jail| f64::from(jail.policy.maxretry.0) / 100.0),
                "findtime_s": known.map(|jail| jail.policy.findtime.secs()),
            })
        });
        let mut never = judge.never.reasons(prefix);
        if judge.presumes_proxy(prefix.addr(), now) {
            never.push((Prefix::host(prefix.addr()), Why::PresumedProxy));
        }
        let never: Vec<Value> = never
            .iter()
            .map(|(entry, why)| json!({"prefix": entry.to_string(), "why": why.words()}))
            .collect();
        let login: Option<(Timestamp, Option<&str>)> = judge.trust.last_login(prefix.addr());
        let value = json!({
            "prefix": prefix.to_string(),
            "counted_as": subject.to_string(),
            "banned": !bans.is_empty(),
            "enforcing": self.machine.is_enforcing(),
            "bans": bans,
            "points": points.collect::<Vec<_>>(),
            "never_banned": never,
            "earlier_bans": judge.past.count(subject),
            "findtime_s": judge.jails().iter().map(|jail| (jail.name.to_string(), json!(jail.policy.findtime.secs()))).collect::<serde_json::Map<_, _>>(),
            "last_good_login": login.map(|(at, user)| json!({"time": stamp(at), "user": user})),
        });
        Reply { exit: u8::from(value["banned"] != json!(true)), message: String::new(), value }
    }
}
