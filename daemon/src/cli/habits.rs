//! What fail2ban's users have in their fingers: words of fail2ban-client that mean the same here are done, with a line
//! about what they are called here, and for the others the command is named that does it.

mod words;

use std::ffi::OsString;

use pillory_core::config::keys::{JAIL_KEYS, POLICY_KEYS, TOP_KEYS};

use crate::escape::command_line;

use super::complain;

use words::Here::{Do, Instead};
use words::{HABITS, Here};

/// Options of this program that may stand among fail2ban's words, and whether a value follows.
const OPTIONS: [(&str, bool); 5] =
    [("--control", true), ("--color", true), ("--no-pager", false), ("--json", false), ("-j", false)];

/// The arguments of this program as they are meant.
/// # Errors
/// What to do instead, in words.
pub(super) fn heed(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let texts: Option<Vec<&str>> = arguments.iter().skip(1).map(|word| word.to_str()).collect();
    let Some(texts) = texts else { return Ok(arguments) };
    let (words, options) = parted(&texts);
    let fits = |(pattern, here): &'static (&str, Here)| Some((captured(pattern, &words)?, here));
    let written = words.join(" ");
    let Some((captures, here)) = HABITS.iter().find_map(fits) else {
        return match without_its_options(&words) {
            Some((rest, control)) => Err(format!("{written:?} is fail2ban's: {}", instead(&rest, &control)?)),
            None => Ok(arguments),
        };
    };
    if let Some(key) = unknown_key(&captures) {
        return Err(format!(
            "{written:?} is fail2ban's: {key} is no key here; `man pillory.toml` has all that there are"
        ));
    }
    match here {
        Instead(cure) => Err(format!("{written:?} is fail2ban's: {}", said(cure, &captures))),
        Do(meant) => {
            let meant = filled(meant, &captures);
            complain(&format!("{written:?} is called `pillory {}` here", meant.join(" ")));
            let program = arguments.first().cloned();
            let options = options.into_iter().map(str::to_owned);
            Ok(program.into_iter().chain(meant.into_iter().chain(options).map(OsString::from)).collect())
        }
    }
}

/// Options of fail2ban-client that stand before its words, and whether a value follows.
const ITS_OPTIONS: [(&str, bool); 13] = [
    ("-c", true),
    ("--conf", true),
    ("-s", true),
    ("--socket", true),
    ("-p", true),
    ("--pidfile", true),
    ("-x", false),
    ("-v", false),
    ("-vv", false),
    ("-vvv", false),
    ("-vvvv", false),
    ("-q", false),
    ("--async", false),
];

/// What stands behind fail2ban-client's options, and the socket that they name; nothing if none stands there.
fn without_its_options<'t>(words: &[&'t str]) -> Option<(Vec<&'t str>, Vec<&'t str>)> {
    let (mut rest, mut control) = (words, Vec::new());
    while let [word, behind @ ..] = rest {
        let Some((option, takes_value)) = ITS_OPTIONS.iter().find(|(option, _)| option == word) else {
            break;
        };
        rest = match behind {
            [value, behind @ ..] if *takes_value => {
                if option.starts_with("-s") || option.starts_with("--s") {
                    control = vec!["--control", *value];
                }
                behind
            }
            behind => behind,
        };
    }
    (rest.len() < words.len()).then(|| (rest.to_vec(), control))
}

/// What to type in the place of words that stood behind options which mean nothing here.
fn instead(rest: &[&str], control: &[&str]) -> Result<String, String> {
    let line = ["pillory"].iter().chain(rest).chain(control).map(OsString::from).collect();
    let meant: Vec<String> = heed(line)?.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let socket = if control.is_empty() { "" } else { ", if that is the socket of a pillory" };
    Ok(format!("its options are not needed here: `{}`{socket}", command_line(meant.into_iter())))
}

/// The key that these words name, if the configuration has none of that name.
fn unknown_key<'w>(captures: &[(&'static str, Vec<&'w str>)]) -> Option<&'w str> {
    let of = |name: &str| captures.iter().find(|(capture, _)| *capture == name);
    let key = of("KEY")?.1.first()?;
    let policy = POLICY_KEYS.iter().map(|key| key.name);
    let is_known = match of("JAIL") {
        Some(_) => policy.chain(JAIL_KEYS.iter().map(|key| key.name)).any(|known| known == *key),
        None => policy.chain(TOP_KEYS.iter().map(|key| key.name)).any(|known| known == *key),
    };
    (!is_known).then_some(*key)
}

/// Words, and options of this program with their values.
fn parted<'t>(texts: &[&'t str]) -> (Vec<&'t str>, Vec<&'t str>) {
    let (mut words, mut options) = (Vec::new(), Vec::new());
    let mut is_value = false;
    for text in texts {
        let name = text.split('=').next().unwrap_or(text);
        let option = OPTIONS.iter().find(|(option, _)| *option == name);
        match (is_value || option.is_some(), option) {
            (true, _) => options.push(*text),
            (false, _) => words.push(*text),
        }
        is_value = !is_value && option.is_some_and(|(_, takes_value)| *takes_value && !text.contains('='));
    }
    (words, options)
}

/// What the capitals of a pattern stand for in these words; nothing if it does not fit them.
fn captured<'w>(pattern: &'static str, words: &[&'w str]) -> Option<Vec<(&'static str, Vec<&'w str>)>> {
    let mut captures = Vec::new();
    let mut left = words;
    for part in pattern.split(' ') {
        let (word, rest) = left.split_first()?;
        let is_capital = part.starts_with(|letter: char| letter.is_ascii_uppercase());
        if part.ends_with("..") {
            captures.push((part, std::mem::take(&mut left).to_vec()));
            continue;
        }
        if is_capital && !word.starts_with('-') {
            captures.push((part, vec![*word]));
        } else if part != *word {
            return None;
        }
        left = rest;
    }
    left.is_empty().then_some(captures)
}

/// The words of a command, with what was captured in the place of the capitals.
fn filled(command: &str, captures: &[(&'static str, Vec<&str>)]) -> Vec<String> {
    let word = |word: &str| match captures.iter().find(|(name, _)| *name == word) {
        Some((_, found)) => found.iter().map(|found| (*found).to_owned()).collect(),
        None => vec![word.to_owned()],
    };
    command.split(' ').flat_map(word).collect()
}

/// A sentence, filled in alike.
fn said(sentence: &str, captures: &[(&'static str, Vec<&str>)]) -> String {
    captures.iter().fold(sentence.to_owned(), |said, (name, found)| said.replace(name, &found.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> Result<String, String> {
        let words = std::iter::once("pillory").chain(line.split(' ')).map(OsString::from);
        let meant = heed(words.collect())?;
        Ok(meant.iter().skip(1).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_means_the_same_is_done() {
        for (written, meant) in [
            ("banned", "list"),
            ("banned --json", "list --json"),
            ("banned 192.0.2.7 192.0.2.8", "explain 192.0.2.7 192.0.2.8"),
            ("set sshd banip 192.0.2.7 2001:db8::7", "ban --jail sshd 192.0.2.7 2001:db8::7"),
            ("--control /s set sshd unbanip 192.0.2.7", "unban --jail sshd 192.0.2.7 --control /s"),
            ("get sshd banip --control=/s", "list --jail sshd --control=/s"),
            ("--no-pager banned", "list --no-pager"),
            ("--no-pager status sshd", "--no-pager status sshd"),
            ("-t", "check"),
            ("-c /etc/fail2ban -t", "check --fail2ban /etc/fail2ban"),
            ("banip 192.0.2.7", "ban 192.0.2.7"),
            ("unbanip 192.0.2.7", "unban 192.0.2.7"),
            ("status sshd short", "status sshd"),
            ("status --all basic", "status --all"),
        ] {
            assert_eq!(heard(written).as_deref(), Ok(meant), "{written}");
        }
    }

    #[test]
    fn what_does_not_is_answered_with_the_command_that_does_it() {
        for (written, cure) in [
            ("set sshd addignoreip 192.0.2.7", "pillory allow 192.0.2.7"),
            ("set sshd bantime 3600", "write bantime below [jail.sshd]"),
            ("get sshd maxretry", "[jail.sshd]"),
            ("start", "systemctl start pillory"),
            ("stop sshd", "enabled = false below [jail.sshd]"),
            ("reload sshd", "`pillory reload`"),
            ("add sshd auto", "[jail.sshd]"),
            ("-d", "pillory check"),
            ("set sshd banip", "`pillory ban --jail sshd ADDRESS`"),
            ("set sshd unbanip", "`pillory unban --jail sshd ADDRESS`"),
            ("set sshd unbanip --report-absent", "`pillory unban --jail sshd ADDRESS`"),
            ("set sshd addignoreip", "`pillory allow ADDRESS`"),
            ("get sshd failregex", "`pillory test-filter --jail sshd LOG`"),
            ("set sshd addlogpath /var/log/x", "logpath below [jail.sshd]"),
            ("set sshd addfailregex ^x", "failregex below [jail.sshd]"),
            ("set sshd delignoreregex 0", "ignoreregex below [jail.sshd]"),
            ("set sshd addjournalmatch _COMM=x", "journalmatch below [jail.sshd]"),
            ("set sshd addaction x", "banaction at the top"),
            ("set sshd action x actionban y", "banaction at the top"),
            ("set sshd attempt 192.0.2.7", "`pillory ban --jail sshd 192.0.2.7`"),
            ("set sshd idle on", "enabled = false below [jail.sshd]"),
            ("set sshd usedns no", "fail2ban at the top"),
            ("set sshd maxmatches 5", "retention at the top"),
            ("get sshd actions", "banaction at the top"),
            ("set dbpurgeage 1d", "retention at the top"),
            ("get dbfile", "--state-dir"),
            ("set loglevel DEBUG", "`pillory attempts`"),
            ("set logtarget /x", "fail2ban_log at the top"),
            ("set allowipv6 no", "nothing to set"),
            ("set sshd maxretri 3", "maxretri is no key here"),
            ("set nosuch 3", "nosuch is no key here"),
            ("status sshd cymru", "`pillory explain ADDRESS --whois`"),
            ("unban all", "`pillory unban --all`"),
            ("-v status sshd", "`pillory status sshd`"),
            ("-x -s /run/f.sock banned", "`pillory list --control /run/f.sock`"),
            ("-c /etc/fail2ban -p /x status", "`pillory status`"),
        ] {
            let said = heard(written).unwrap_err();
            assert!(said.contains(cure) && said.contains(written), "{written}: {said}");
        }
    }

    #[test]
    fn what_a_cure_names_as_a_key_is_one() {
        let known = |key: &str, in_jail: bool| {
            let mut policy = POLICY_KEYS.iter().map(|key| key.name);
            policy.any(|name| name == key)
                || in_jail && JAIL_KEYS.iter().any(|known| known.name == key)
                || !in_jail && TOP_KEYS.iter().any(|known| known.name == key)
        };
        let mut seen = 0;
        for (pattern, here) in HABITS {
            let Instead(cure) = here else { continue };
            for (place, in_jail) in [(" below [jail.", true), (" at the top of pillory.toml", false)] {
                let before: Vec<&str> = cure.split(place).collect();
                for before in before.iter().rev().skip(1) {
                    let before = before.split(" = ").next().unwrap_or(before);
                    let key = before.split([' ', ',']).next_back().unwrap_or_default();
                    assert!(key == "KEY" || known(key, in_jail), "{pattern}: {key:?} of {cure:?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn words_of_our_own_stay_as_they_are() {
        for line in
            ["status", "status sshd", "unban --all", "reload", "list", "ban 192.0.2.7", "--version", ""]
        {
            assert_eq!(heard(line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn every_command_that_is_meant_is_understood() {
        for (_, here) in HABITS {
            let Do(meant) = here else { continue };
            let values =
                [("IP..", vec!["192.0.2.7"]), ("JAIL", vec!["sshd"]), ("DIR", vec!["/etc/fail2ban"])];
            let words = filled(meant, &values);
            let parsed =
                crate::cli::parse(std::iter::once("pillory".to_owned()).chain(words).map(OsString::from));
            assert!(parsed.is_ok() || *meant == "--version", "{meant}: {parsed:?}");
        }
    }
}
