use super::*;
use crate::cli::screen::PROSE;
use serde_json::json;

fn ban(prefix: &str, jail: &str, until: Value) -> Value {
    let (since, reason) = ("2026-01-02T03:04:05Z", "3 failures in 2s, 5 points");
    json!({"prefix": prefix, "jail": jail, "since": since, "until": until, "failures": 3, "reason": reason,
        "origin": if jail == "manual" { "manual" } else { "local" }, "forced": false})
}

fn attempt(second: u32, user: &str, class: &str, points: f64) -> Value {
    json!({"time": format!("2026-01-02T03:04:{second:02}Z"), "jail": "sshd", "ip": "192.0.2.7", "user": user,
        "class": class, "points": points, "attempts": 1})
}

fn told() -> Value {
    json!({
        "prefix": "192.0.2.7/32",
        "counted_as": "192.0.2.7/32",
        "enforcing": true,
        "bans": [ban("192.0.2.0/24", "manual", Value::Null), ban("192.0.2.7/32", "sshd", json!("2026-01-03T03:04:05Z"))],
        "points": [],
        "never_banned": [],
        "earlier_bans": 2,
        "findtime_s": {"sshd": 86_400},
        "maxretry": {"sshd": 5.0},
        "last_good_login": null,
        "seen": {"attempts": 60, "first": "2026-01-01T00:00:00Z", "last": "2026-01-02T04:00:00Z",
            "users": [{"user": "root", "attempts": 59}, {"user": "al\u{1b}ice", "attempts": 1}], "users_in_all": 2},
        "evidence": [attempt(3, "alice", "known_user", 1.0), attempt(4, "root", "root", 2.0), attempt(5, "root", "root", 2.0)],
        "history": [],
    })
}

fn story_of(value: &Value) -> String {
    story("192.0.2.7".parse().unwrap(), value, PROSE.0)
}

#[test]
fn the_longest_ban_is_told_first_and_the_wider_network_named() {
    let text = story_of(&told());
    assert!(text.starts_with("192.0.2.7 is banned by hand, until somebody lifts it.\n"), "{text}");
    assert!(text.contains("a wider network that covers it"), "{text}");
}

#[test]
fn the_points_add_up_line_by_line() {
    let text = story_of(&told());
    assert!(text.contains("jail sshd, what banned it: 5 of 5 points within 1d"), "{text}");
    let sums: Vec<&str> = text
        .lines()
        .filter(|line| line.ends_with("  root") || line.ends_with("  alice"))
        .filter_map(|line| line.split_whitespace().rev().nth(1))
        .collect();
    assert_eq!(sums, ["1", "3", "5"], "{text}");
}

#[test]
fn of_earlier_bans_those_that_are_forgiven_are_told_apart() {
    let mut value = told();
    for (standing, told) in
        [(2, "banned it 2 times so far."), (1, "so far, and 1 of these are not forgiven yet.")]
    {
        value["standing_bans"] = json!(standing);
        let text = story_of(&value).replace('\n', " ");
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn names_are_escaped_and_prose_fits_the_terminal() {
    let text = story_of(&told());
    assert!(text.contains("root (59)") && !text.contains('\u{1b}'), "{text}");
    let mut long = told();
    long["never_banned"] =
        json!([{"prefix": "192.0.2.7/32", "why": "the far end of an open authenticated session"}]);
    long["last_good_login"] = json!({"time": "2026-01-02T03:04:05Z", "user": "alice"});
    long["history"] = json!([{"time": "2026-01-02T03:04:05Z", "what": "ban", "prefix": "192.0.2.7/32", "jail": "sshd",
        "until": "2026-01-03T03:04:05Z", "reason": "3 failures in 2s, 5 points"}]);
    let prose = story_of(&long);
    assert!(prose.lines().all(|line| line.chars().count() <= PROSE.0), "{prose}");
    assert!(prose.contains("It is never banned") && prose.contains("known place"), "{prose}");
}

/// What counts of somebody whom no jail bans.
fn counting(points: f64, threshold: f64, outage: Value) -> Value {
    let anyway = if outage.is_null() { Value::Null } else { json!(threshold * 4.0) };
    let mut value = told();
    value["bans"] = json!([]);
    value["points"] = json!([{"jail": "sshd", "points": points, "attempts": 7, "maxretry": 5.0, "threshold": threshold,
        "outage_since": outage, "banned_anyway_at": anyway, "findtime_s": 86_400, "until": null}]);
    value
}

#[test]
fn who_is_held_back_by_an_outage_is_told_so_with_its_end() {
    let text = story_of(&counting(7.0, 5.0, json!("2026-01-02T03:04:05Z")));
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("7 of 5 points, 7 attempts within 1d That would ban it, but people log in"),
        "{text}"
    );
    assert!(flat.contains("held back until that is over, or until 20 points."), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= PROSE.0), "{text}");
    let text = story_of(&counting(7.0, 5.0, Value::Null));
    assert!(text.contains("as many as ban it (5): its next failure does."), "{text}");
    let text = story_of(&counting(4.0, 5.0, Value::Null));
    assert!(text.contains("4 of 5 points, 7 attempts within 1d\n") && !text.contains("ban it"), "{text}");
}

#[test]
fn a_threshold_moved_by_jitter_is_told() {
    let text = story_of(&counting(4.0, 4.2, Value::Null));
    assert!(
        text.contains("counting now: 4 of 4.2 points (maxretry 5, moved by jitter), 7 attempts"),
        "{text}"
    );
    let mut value = told();
    value["jitter_percent"] = json!({"sshd": 20});
    value["evidence"] = json!([attempt(4, "root", "root", 2.0), attempt(5, "root", "root", 2.0)]);
    let text = story_of(&value);
    assert!(text.contains("what banned it: 4 points within 1d;\n  its threshold was maxretry (5)"), "{text}");
    assert!(text.contains("by up to 20 %") && !text.contains("4 of 5"), "{text}");
}

#[test]
fn a_ban_of_who_is_never_banned_is_told_to_have_no_effect() {
    let mut value = told();
    for ban in value["bans"].as_array_mut().unwrap() {
        ban["spared"] = json!(true);
    }
    let text = story_of(&value).replace('\n', " ");
    assert!(
        text.starts_with("192.0.2.7 is not shut out: it is never banned. The ban by hand, until"),
        "{text}"
    );
    assert!(!text.contains("192.0.2.7 is banned") && text.contains("without effect on it"), "{text}");
}

#[test]
fn of_more_bans_than_are_told_those_without_effect_are_not_counted() {
    let mut value = told();
    let mut inside = ban("192.0.2.7/32", "sshd", Value::Null);
    inside["spared"] = json!(true);
    value["bans"] = json!([inside]);
    (value["bans_more"], value["bans_in_effect"]) = (json!(60), json!(7));
    let text = story("192.0.0.0/16".parse().unwrap(), &value, 80).replace('\n', " ");
    assert!(text.starts_with("192.0.0.0/16 is not banned, but 7 bans hold inside it."), "{text}");
}
