//! What a daemon replies, as it was asked on Sun Nov 22 2026 at 19:15:00 UTC.

use serde_json::{Value, json};

const TODAY: &str = "2026-11-22";

fn at(time: &str) -> String {
    format!("{TODAY}T{time}Z")
}

fn jail(name: &str, sources: Value, banned: u64) -> Value {
    json!({"name": name, "sources": sources, "lines": 51_203, "failures": 3_180, "successes": 4, "tracked": 12,
        "banned": banned, "bans_total": banned * 3, "identities": []})
}

fn source(kind: &str, path: &str, last: Option<&str>) -> Value {
    json!({"kind": kind, "path": path, "problem": null, "last_line": last.map(at)})
}

fn ban_row(prefix: &str, jail: &str, time: &str, until: Option<&str>, reason: &str) -> Value {
    json!({"time": at(time), "what": "ban", "prefix": prefix, "jail": jail, "until": until, "failures": 3,
        "reason": reason, "origin": "local"})
}

fn a_day(before: Option<(u64, u64)>, since: (u64, u64), counted: bool) -> Value {
    let part = |(attempts, seconds): (u64, u64)| {
        let rate = (attempts as f64 * 864_000.0 / seconds as f64).round() / 10.0;
        json!({"attempts": attempts, "seconds": seconds, "a_day": rate})
    };
    json!({"first_start": at("00:00:00"), "counted": counted, "before": before.map(part), "since": part(since)})
}

const DAY: u64 = 86_400;

/// An ordinary host.
pub(super) fn status() -> Value {
    let sshd = [source("journal", "/var/log/journal", Some("19:14:57")), {
        let mut rotated = source("file", "/var/log/secure", None);
        rotated["problem"] = json!("/var/log/secure: no such file");
        rotated
    }];
    json!({
        "version": "0.1.0",
        "uptime_s": 273_600,
        "banaction": "nftables",
        "enforcing": true,
        "banned": 214,
        "sandbox": {"landlock": 7, "seccomp": true},
        "you": {"address": "192.0.2.10", "banned": false, "last_good_login": null, "never_banned":
            [{"prefix": "192.0.2.10/32", "why": "the far end of an open authenticated session"}]},
        "allowed": [{"who": "home.example.net", "prefixes": ["192.0.2.7/32"], "until": at("22:00:00")}],
        "restricted": [],
        "learnt": {"done": true, "logins": 212, "networks": 2, "days": 30, "left_out": [],
            "from": ["wtmp", "journal", "5 rotated logs"]},
        "latest": [
            ban_row("198.51.100.7/32", "sshd", "19:12:00", Some("2026-11-23T19:12:00Z"), "3 failures in 2s, 5 points"),
            ban_row("2001:db8:1::/64", "sshd", "18:50:11", Some("2026-11-29T18:50:11Z"), "2 failures in 5h, 6 points"),
            ban_row("203.0.113.80/32", "postfix-sasl", "12:01:00", None, "by hand: guesses at the mail of alice"),
        ],
        "effect": {"attempts": 2_226_130, "bans": 1_502, "since": at("05:00:00"), "packets_dropped": 90_210,
            "bytes_dropped": 5_412_600, "a_day": a_day(Some((2_226_000, 7 * DAY)), (130, 273_600), true)},
        "latency": {"kernel_bans": 90, "kernel_p50_ms": 0.41, "kernel_p99_ms": 1.2, "kernel_max_ms": 1.3,
            "durable_p50_ms": 2.9, "durable_p99_ms": 5.0, "durable_max_ms": 7.1},
        "warnings": ["jail sshd: 192.0.2.10 earned a ban (5 failures in 40s; last at Sun Nov 22 20:01:00 2026 +01) and is not \
            banned: it is the far end of an open authenticated session; if that was not its owner, end the session"],
        "jails": [
            jail("sshd", json!(sshd), 180),
            jail("postfix-sasl", json!([source("file", "/var/log/mail.log", Some("19:14:20"))]), 30),
            jail("nginx-http-auth", json!([source("file", "/var/log/nginx/error.log", None)]), 4),
        ],
    })
}

/// A host with much of everything, switched off.
pub(super) fn crowded() -> Value {
    let mut value = status();
    value["enforcing"] = json!(false);
    value["you"]["never_banned"] = json!([]);
    let jails = (1..=30).map(|number| {
        let path = format!("/srv/customer-{number}.example.net/log/application/error.log");
        jail(&format!("shop-{number}"), json!([source("file", &path, Some("19:00:00"))]), 7)
    });
    value["jails"] = jails.collect();
    let name = |number: u32| json!({"who": format!("203.0.113.{number}"), "prefixes": [], "until": null});
    value["allowed"] = (1..=9).map(name).collect();
    let warning = |number: u32| {
        format!(
            "jail shop-{number}: its log's stamps are an hour ahead of this clock: set the zone of the service, or TZ of \
             the daemon, and reload"
        )
    };
    value["warnings"] = (1..=12).map(warning).collect();
    value["latest"][0]["reason"] =
        json!("listed by r\u{e9}seau \u{65e5}\u{672c}\u{8a9e} \\u{1b}[2J ".repeat(20));
    value
}

/// Switched off, with bans that wait.
pub(super) fn off() -> Value {
    let mut value = status();
    value["enforcing"] = json!(false);
    value["warnings"] = json!(["switched off: nothing is enforced; `pillory on` switches on"]);
    value
}

/// A dry run that has just begun, at a console.
pub(super) fn first_start() -> Value {
    let mut value = status();
    value["banaction"] = json!("dryrun");
    (value["uptime_s"], value["banned"]) = (json!(3), json!(0));
    (value["you"], value["latency"], value["latest"]) = (Value::Null, Value::Null, json!([]));
    value["effect"] = json!({"attempts": 0, "bans": 0, "since": null, "packets_dropped": null, "bytes_dropped": null,
        "a_day": a_day(None, (0, 3), false)});
    (value["warnings"], value["allowed"]) = (json!([]), json!([]));
    value["learnt"]["done"] = json!(false);
    value
}

pub(super) fn effects() -> Vec<Value> {
    vec![
        a_day(Some((2_226_000, 7 * DAY)), (130, 273_600), true),
        a_day(Some((2_226_000, 7 * DAY - 3_600)), (287, 7 * DAY), true),
        a_day(Some((900, 3 * DAY)), (1, 7_300), true),
        a_day(Some((1, 7_300)), (90_000, 2 * DAY), true),
        a_day(Some((0, 7 * DAY)), (0, 7 * DAY), true),
        a_day(None, (12, 3 * DAY), true),
        a_day(None, (0, 3), false),
        a_day(None, (0, 3), true),
        a_day(Some((0, 0)), (2, 300), true),
        Value::Null,
    ]
}

pub(super) fn bans() -> Value {
    let ban = |prefix: &str, jail: &str, since: &str, until: Option<&str>, reason: &str| {
        json!({"prefix": prefix, "jail": jail, "since": since, "until": until, "failures": 3, "reason": reason,
            "origin": if jail == "sshd" { "local" } else { jail }, "forced": false, "spared": false})
    };
    let mut forced = ban("192.0.2.10/32", "manual", "2026-11-22T19:14:20Z", None, "a test");
    forced["forced"] = json!(true);
    let mut spared =
        ban("192.0.2.0/24", "import", "2026-10-01T00:00:00Z", Some("2026-12-24T00:00:00Z"), "a list");
    spared["spared"] = json!(true);
    json!([
        forced,
        ban(
            "198.51.100.7/32",
            "sshd",
            "2026-11-22T19:12:00Z",
            Some("2026-11-23T19:12:00Z"),
            "3 failures in 2s, 5 points"
        ),
        ban(
            "2001:db8:1:2::/64",
            "sshd",
            "2026-11-22T01:50:11Z",
            Some("2026-11-22T19:50:11Z"),
            "2 failures in 5h, 6 points"
        ),
        ban(
            "2001:db8:f:e:d:c:b:a/128",
            "sshd",
            "2026-11-19T18:50:11Z",
            Some("2026-11-26T18:50:11Z"),
            "7 attempts, names tried by others too: \\u{1b}]0;owned\\u{7} \u{65e5}\u{672c}\u{8a9e}"
        ),
        spared,
    ])
}

pub(super) fn attempts() -> Value {
    let attempt = |time: &str, user: Option<&str>, ip: &str, class: Option<&str>, attempts: u32| {
        json!({"time": time, "jail": "sshd", "ip": ip, "user": user, "class": class, "success": class.is_none(),
            "points": 1.0, "attempts": attempts})
    };
    json!([
        attempt("2025-12-31T23:59:58Z", Some("root"), "198.51.100.7", Some("root"), 1),
        attempt("2026-11-22T19:01:02Z", Some("admin"), "198.51.100.7", Some("bad_user"), 3),
        attempt(
            "2026-11-22T19:02:03Z",
            Some(&"x".repeat(250)),
            "2001:db8:f:e:d:c:b:a",
            Some("unknown_user"),
            1
        ),
        attempt(
            "2026-11-22T19:03:04Z",
            Some("\u{1b}[31m\u{65e5}\u{672c}\u{8a9e}\u{202e}"),
            "203.0.113.9",
            Some("unknown_user"),
            1
        ),
        attempt("2026-11-22T19:04:05Z", None, "203.0.113.9", Some("probe"), 1),
        attempt("2026-11-22T19:14:59Z", Some("alice"), "192.0.2.10", None, 1),
    ])
}

pub(super) fn history() -> Value {
    let mut long = ban_row(
        "2001:db8:f:e::/64",
        "nginx-http-auth",
        "18:00:00",
        Some("2026-11-29T18:00:00Z"),
        "21 failures in 7h 3m, 23 points, the second time within the memory of this host",
    );
    long["failures"] = json!(21);
    let ended = |what: &str| {
        let mut row = ban_row("198.51.100.7/32", "sshd", "19:14:00", None, "3 failures in 2s, 5 points");
        (row["what"], row["origin"]) = (json!(what), json!("manual"));
        row
    };
    json!([
        ban_row(
            "198.51.100.7/32",
            "sshd",
            "19:12:00",
            Some("2026-11-23T19:12:00Z"),
            "3 failures in 2s, 5 points"
        ),
        long,
        ban_row("203.0.113.0/24", "manual", "19:13:00", None, "by hand"),
        ended("unban"),
        ended("expire"),
        ended("narrow"),
        ended("displace"),
        ended("mistake"),
        ended("retire"),
    ])
}

/// Somebody who came twice.
pub(super) fn explained() -> Value {
    let attempt = |time: &str, user: &str, class: &str, points: f64| {
        json!({"time": at(time), "jail": "sshd", "ip": "198.51.100.7", "user": user, "class": class, "points": points,
            "attempts": 1})
    };
    let ban = ban_row(
        "198.51.100.7/32",
        "sshd",
        "19:12:00",
        Some("2026-11-29T19:12:00Z"),
        "3 failures in 2s, 5 points",
    );
    let mut earlier = ban_row(
        "198.51.100.7/32",
        "sshd",
        "01:12:00",
        Some("2026-11-22T13:12:00Z"),
        "2 failures in 1s, 6 points",
    );
    earlier["time"] = json!("2026-11-21T13:12:00Z");
    let mut over = earlier.clone();
    (over["time"], over["what"], over["reason"]) =
        (json!("2026-11-22T13:12:00Z"), json!("expire"), json!(""));
    let mut in_force = ban.clone();
    (in_force["since"], in_force["forced"], in_force["spared"]) =
        (ban["time"].clone(), json!(false), json!(false));
    json!({
        "prefix": "198.51.100.7/32", "counted_as": "198.51.100.7/32", "enforcing": true,
        "bans": [in_force], "points": [], "never_banned": [], "earlier_bans": 2, "standing_bans": 2,
        "findtime_s": {"sshd": 86_400}, "maxretry": {"sshd": 5.0}, "last_good_login": null,
        "network": {"asn": 64_500, "operator": "Example Hosting", "country": "NL"},
        "seen": {"attempts": 60, "first": "2026-11-21T13:00:00Z", "last": at("19:14:30"), "users_in_all": 12,
            "users": [{"user": "root", "attempts": 40}, {"user": "admin", "attempts": 7},
                {"user": "\u{1b}]0;owned\u{7}", "attempts": 1}, {"user": "oracle", "attempts": 1},
                {"user": "postgres", "attempts": 1}, {"user": "ubuntu", "attempts": 1}, {"user": "test", "attempts": 1},
                {"user": "git", "attempts": 1}, {"user": "ftp", "attempts": 1}]},
        "evidence": [attempt("19:11:58", "alice", "known_user", 1.0), attempt("19:11:59", "root", "root", 2.0),
            attempt("19:12:00", "root", "root", 2.0)],
        "history": [earlier, over, ban],
    })
}

/// Somebody who belongs here, in a network that is banned.
pub(super) fn explained_spared() -> Value {
    let mut value = explained();
    let net = json!({"prefix": "192.0.2.0/24", "jail": "import", "since": "2026-11-01T00:00:00Z", "until": null,
        "failures": 0, "reason": "91.200.12.155/24 – 12/2016. WP login attempts", "origin": "import", "forced": false,
        "spared": true});
    (value["bans"], value["earlier_bans"], value["history"]) = (json!([net]), json!(0), json!([]));
    value["counted_as"] = json!("192.0.2.10/32");
    value["last_good_login"] = json!({"time": "2026-11-20T08:00:00Z", "user": "alice"});
    value["never_banned"] =
        json!([{"prefix": "192.0.2.10/32", "why": "the far end of an open authenticated session"}]);
    (value["evidence"], value["seen"], value["network"]) = (json!([]), Value::Null, Value::Null);
    value
}

pub(super) fn banned() -> Value {
    json!({"banned": ["198.51.100.7", "2001:db8::/64"], "kept": [{"prefix": "2001:db8::/64", "until": "2026-12-01T00:00:00Z"}],
        "enforcing": false, "changed": 1,
        "never_banned": [{"prefix": "192.0.2.10/32", "why": "it is the far end of an open authenticated session",
            "does": "it is shut out now, and its open connections are cut"}],
        "refused": [{"prefix": "192.0.2.1/32", "why": "it is a default gateway of this host, without it nobody is reached"}]})
}

pub(super) fn unbanned() -> Value {
    json!({"unbanned": [{"prefix": "198.51.100.7/32", "jail": "sshd"}], "identities": [],
        "still_banned_by": [{"prefix": "198.51.100.0/24", "jail": "manual"}],
        "still_banned_inside": (1..=7).map(|n| json!({"prefix": format!("198.51.100.{n}/32"), "jail": "sshd"})).collect::<Vec<_>>()})
}
