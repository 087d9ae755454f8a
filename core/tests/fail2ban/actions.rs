//! Commands of actions: filled in as fail2ban does, and never a way into the shell.

use std::process::Command;

use pillory_core::config::fail2ban::{Kind, render};
use pillory_core::filter::settings::Options;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::peer::{Folder, python, tools};

/// What attackers put into names and requests.
const HOSTILE: [&str; 14] = [
    "192.0.2.7",
    "2001:db8::7",
    "root",
    "$(touch PWNED)",
    "`touch PWNED`",
    "a; touch PWNED",
    "a' ; touch PWNED ; '",
    "a\" ; touch PWNED ; \"",
    "a\ntouch PWNED\n",
    "a && touch PWNED || touch PWNED | touch PWNED & touch PWNED",
    "<ip> <matches> <F-USER> <name> <br>",
    "> PWNED",
    "\\\"$(touch PWNED)\\\"",
    "~ * ? [a] {a,b} #!^é\r",
];

/// Commands as people write them.
const COMMANDS: [&str; 9] = [
    "echo <ip> <family>",
    "printf '%s\\n' <matches> | mail -s \"<name>: <F-USER>\" <dest>",
    "echo \"<F-USER> <F-ID> <F-PORT> <F-NONE> <nothing>\"",
    "echo '<F-USER>'",
    "<iptables> -s <ip><br>echo<sp><ip-host>",
    "echo <<name>> <a<b>> < ip> <> <",
    "echo <matches><ip><F-USER-2>",
    "x=<failures>; echo $x <ipmatches> <ipjailmatches> <restored>",
    "<again>",
];

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn properties() -> Options {
    options(&[
        ("name", "sshd"),
        ("dest", "a@example.net"),
        ("iptables", "iptables <lock>"),
        ("iptables?family=inet6", "ip6tables <lock>"),
        ("lock", "-w"),
        ("b", "c"),
        ("ac", "found <sshd>"),
        ("matches", "mine; $(x)"),
        ("again", "echo <<x>> <matches>"),
        ("x", "name"),
    ])
}

/// Braces that keep a variable's name from running on do not change it.
fn plain(script: &str) -> String {
    let mut out = script.to_owned();
    while let Some(at) = out.find("${f2bV_") {
        out.replace_range(at + 1..at + 2, "");
        let end = out[at..].find('}').unwrap() + at;
        out.remove(end);
    }
    out
}

#[test]
fn tags_are_filled_in_as_fail2ban_does() {
    let Some(tools) = tools() else { return };
    let mut cases = Vec::new();
    for query in COMMANDS {
        for value in HOSTILE {
            for family in ["", "inet4", "inet6"] {
                let tags = options(&[
                    ("ip", value),
                    ("family", family),
                    ("failures", "3"),
                    ("ipmatches", value),
                    ("restored", "0"),
                ]);
                let captures =
                    options(&[("user", value), ("fid", "id;"), ("fport", "22"), ("user-2", value)]);
                cases.push((query.to_owned(), properties(), family, tags, captures));
            }
        }
    }
    compare(&tools, &cases);
}

/// A command, the action's properties, a family, what a ban brings, what the filter captured.
type Case = (String, Options, &'static str, Options, Options);

fn compare(tools: &std::path::Path, cases: &[Case]) {
    let input: Vec<Value> = cases
        .iter()
        .map(|(query, properties, family, tags, captures)| {
            json!({"query": query, "properties": properties, "family": family, "tags": tags, "captures": captures})
        })
        .collect();
    let answer = python(tools, include_str!("render.py"), &[], &json!(input).to_string());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let all: String = (1..128u8).map(char::from).collect();
    assert_eq!(answer[1], render::escape(&all));
    for ((query, properties, family, tags, captures), theirs) in
        cases.iter().zip(answer[0].as_array().unwrap())
    {
        let family = Some(*family).filter(|family| !family.is_empty());
        let ours = match render::expand(query, properties, family, &Options::new()) {
            Err(_) => Value::Null,
            Ok(command) => {
                let filled = render::render(&command, tags, captures);
                let mut all = vec![command, plain(&filled.script)];
                all.extend(filled.arguments);
                json!(all)
            }
        };
        assert_eq!(&ours, theirs, "{query} {family:?} {tags:?}");
    }
}

#[test]
fn commands_of_all_stock_actions_are_those_of_fail2ban() {
    let Some(tools) = tools() else { return };
    let folder = Folder::stock(&tools, &[]);
    let mut local = "[DEFAULT]\nlogpath = /var/log/x\n".to_owned();
    for entry in std::fs::read_dir(folder.0.join("action.d")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(action) = name.strip_suffix(".conf") else { continue };
        local += &format!("[a.{action}]\nenabled = true\nfilter = sshd\naction = {action}[port=\"1,2\"]\n");
    }
    folder.write(&[("jail.local", &local)]);
    let mut cases = Vec::new();
    for action in folder
        .read()
        .jails
        .iter()
        .flat_map(|jail| &jail.actions)
        .filter(|action| action.kind == Kind::Commands)
    {
        for which in ["actionstart", "actionstop", "actioncheck", "actionban", "actionunban", "actionflush"] {
            for family in ["", "inet4", "inet6"] {
                let mut properties = action.properties.clone();
                properties.remove("bantime");
                properties.entry(which.to_owned()).or_default();
                let of_ours =
                    action.command(which, Some(family).filter(|family| !family.is_empty()), &Options::new());
                let query = format!("<{which}>");
                let tags = options(&[("ip", "2001:db8::7"), ("family", "inet6"), ("matches", "a\n$b")]);
                assert!(of_ours.is_ok(), "{}: {of_ours:?}", action.name);
                cases.push((query, properties, family, tags, options(&[("user", "x")])));
            }
        }
    }
    assert!(cases.len() > 1000, "{}", cases.len());
    compare(&tools, &cases);
}

/// Runs a script as an action's command would be, in a folder of its own; gives what it printed.
fn run(command: &render::ShellCommand) -> String {
    let folder = Folder::with(&[]);
    let output = Command::new("sh")
        .arg("-c")
        .arg(&command.script)
        .args(&command.arguments)
        .current_dir(&folder.0)
        .output()
        .unwrap();
    let left: Vec<_> =
        std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?} was made by {command:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_shell_gets_hostile_values_as_text_only() {
    for value in HOSTILE {
        for template in
            ["printf '%s' \"<matches>\"", "printf '%s' \"<F-USER>\"", "x=<matches>; printf '%s' \"$x\""]
        {
            let value = value.trim_end();
            if template.starts_with('x') && value.contains([' ', '\n']) && !value.contains('$') {
                continue;
            }
            let (tags, captures) = (options(&[("matches", value)]), options(&[("user", value)]));
            assert_eq!(run(&render::render(template, &tags, &captures)), value, "{template}");
        }
    }
}

#[test]
fn twelve_variables_and_text_behind_them_keep_apart() {
    let template: String = (0..12).map(|n| format!("\"<t{n}>x\" ")).collect();
    let tags: Options = (0..12).map(|n| (format!("t{n}"), format!("${n}'"))).collect();
    let expected: String = (0..12).map(|n| format!("${n}'x,")).collect();
    assert_eq!(run(&render::render(&format!("printf '%s,' {template}"), &tags, &Options::new())), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_value_gets_into_the_script(value in "([ -~]|\\PC|[\n\r\t\u{0}\u{1}\u{7f}]|<ip>|\\$\\(touch PWNED\\)|`touch PWNED`|;touch PWNED;|'|\"){0,24}") {
        let tags = options(&[("ip", &value), ("matches", &value)]);
        let command = render::render("printf '%s' \"<matches>\"; : <ip> '<F-USER>' \"<F-USER>\"", &tags, &options(&[("user", &value)]));
        prop_assert!(command.script.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        prop_assert_eq!(run(&command), value.replace('\0', ""));
    }
}
