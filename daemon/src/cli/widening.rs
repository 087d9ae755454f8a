//! What `explain` tells of neighbours: who offended, which network that is worth, and the arithmetic.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::time::Span;

use crate::control::short;

use super::client::word;
use super::count;

/// So many offenders and so many who are spared are shown to people.
const SHOWN: usize = 5;

/// `jail sshd, neighbours: 2 offenders in 43.229.53.8/29 within 7d`, and what is made of them. Nothing where somebody is
/// alone.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    for found in list(&value["widening"]).iter().filter(|found| found["offenders"].as_u64() > Some(1)) {
        of_jail(&mut text, found);
    }
    text
}

fn of_jail(text: &mut String, found: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let offenders = number(&found["offenders"]);
    let _ = writeln!(
        text,
        "  jail {}, neighbours: {} in {} within {}: {}",
        word(&found["jail"]),
        count(offenders, "offender"),
        word(&found["looked_at"]),
        Span::from_secs(number(&found["evidence_s"])),
        named(&found["first_offenders"], offenders)
    );
    let networks = list(&found["networks"]);
    for network in networks {
        let offenders = number(&network["bans_saved"]) + 1;
        let _ = writeln!(
            text,
            "    {} for {}: {} fewer for {}, and each may cost {}",
            short(&network["prefix"]),
            named(&network["offenders"], offenders),
            count(number(&network["bans_saved"]), "ban"),
            count(number(&network["innocents"]), "innocent"),
            number(&found["innocents_a_ban_saved"])
        );
        if network["banned"] == false {
            let _ = writeln!(text, "      {}", not_banned(network));
        }
    }
    if networks.is_empty() {
        let _ = writeln!(text, "    no network: {}", no_network(found));
    }
    budget(text, found);
    for spared in list(&found["spared"]).iter().take(SHOWN) {
        let _ = writeln!(text, "    not over {}: {}", short(&spared["prefix"]), word(&spared["why"]));
    }
}

/// Why a network that is worth it is not banned.
fn not_banned(network: &Value) -> String {
    match &network["banned_by"] {
        by if by.is_object() => {
            format!("in its place: the ban of {} by {}", short(&by["prefix"]), word(&by["jail"]))
        }
        _ => "it is not banned now".to_owned(),
    }
}

fn no_network(found: &Value) -> String {
    match list(&found["but_for_spared"]) {
        [] => "they are too few or too far apart for the innocents it would hit".to_owned(),
        [only] => format!("{} would be worth it, but somebody in it is spared", word(only)),
        [first, ..] => {
            format!("{} and others would be worth it, but somebody in them is spared", word(first))
        }
    }
}

/// What of the budget is used, by networks of the same family.
fn budget(text: &mut String, found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or(0);
    let (family, of_what) = match found["looked_at"].as_str().is_some_and(|net| net.contains(':')) {
        true => ("IPv6", " (/64s, and an untouched /56 counts as one)"),
        false => ("IPv4", ""),
    };
    let _ = writeln!(
        text,
        "    {} of the {} innocents{of_what} are hit that all {family} networks of the jail may hit",
        number("budget_used"),
        number("budget"),
    );
    if found["budget_is_short"] == true {
        let gone: Vec<String> = list(&found["gives_way"]).iter().take(SHOWN).map(word).collect();
        let gone =
            if gone.is_empty() { String::new() } else { format!("; {} would give way", gone.join(", ")) };
        let _ = writeln!(
            text,
            "    that is too few: networks with the fewest innocents for each ban saved go first{gone}"
        );
    }
}

fn named(offenders: &Value, all: u64) -> String {
    let names: Vec<String> = list(offenders).iter().take(SHOWN).map(word).collect();
    let more = all.saturating_sub(names.len() as u64);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", names.join(", "))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
