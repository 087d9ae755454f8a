//! What fail2ban's users have in their fingers: words of fail2ban-client that mean the same here are done, with a line
//! about what they are called here, and for the others the command is named that does it.

use std::ffi::OsString;

use super::complain;

/// What becomes of words that fail2ban-client knows.
enum Here {
    /// They mean this.
    Do(&'static str),
    /// They mean something else, or nothing; this does it.
    Instead(&'static str),
}
use Here::{Do, Instead};

/// fail2ban-client's words, the first row that fits counts. Capitals stand for a word, `..` behind them for one or more.
///
/// Source: fail2ban 1.1, `fail2ban-client --help`.
const HABITS: &[(&str, Here)] = &[
    ("-t", Do("check")),
    ("--test", Do("check")),
    ("-c DIR -t", Do("check --fail2ban DIR")),
    ("-c DIR --test", Do("check --fail2ban DIR")),
    (
        "-d",
        Instead(
            "`pillory check` says what is wrong with the configuration; `man pillory.toml` has every default",
        ),
    ),
    (
        "--dp",
        Instead(
            "`pillory check` says what is wrong with the configuration; `man pillory.toml` has every default",
        ),
    ),
    ("-i", Instead("there is no shell of its own: `pillory --help` lists the commands")),
    ("ping", Do("status")),
    ("version", Do("--version")),
    ("echo ANY..", Instead("`pillory status` tells whether the daemon answers")),
    ("echo", Instead("`pillory status` tells whether the daemon answers")),
    ("banned", Do("list")),
    ("banned IP..", Do("explain IP..")),
    ("stat", Do("status")),
    ("stats", Do("status")),
    ("statistics", Do("status")),
    ("start", Instead("`systemctl start pillory` starts the service, `pillory run` runs it here")),
    (
        "stop",
        Instead(
            "`systemctl stop pillory` stops the service and leaves its bans to end by themselves, `pillory off` lifts all bans",
        ),
    ),
    (
        "restart",
        Instead(
            "`pillory reload` reads the configuration again, `systemctl restart pillory` starts the service anew",
        ),
    ),
    ("reload --all", Do("reload")),
    ("reload JAIL", Instead(RELOAD)),
    ("reload --restart", Instead(RELOAD)),
    ("reload --unban", Instead(RELOAD)),
    ("reload --restart JAIL", Instead(RELOAD)),
    ("reload --unban JAIL", Instead(RELOAD)),
    ("start JAIL", Instead("write enabled = true below [jail.JAIL] in pillory.toml, then `pillory reload`")),
    ("stop JAIL", Instead("write enabled = false below [jail.JAIL] in pillory.toml, then `pillory reload`")),
    (
        "restart ANY..",
        Instead(
            "`pillory reload` reads the configuration of all jails again; `pillory unban --all --jail JAIL` lifts a jail's bans",
        ),
    ),
    ("add JAIL", Instead("write a section [jail.JAIL] in pillory.toml, then `pillory reload`")),
    ("add JAIL ANY", Instead("write a section [jail.JAIL] in pillory.toml, then `pillory reload`")),
    (
        "flushlogs",
        Instead(
            "the log goes to standard error, so there is none to open again; `journalctl -u pillory` shows it",
        ),
    ),
    ("get JAIL banip", Do("list --jail JAIL")),
    ("get JAIL banip --with-time", Do("list --jail JAIL")),
    ("get JAIL banned", Do("list --jail JAIL")),
    ("get JAIL banned IP..", Do("explain IP..")),
    ("get JAIL logpath", Do("status JAIL")),
    (
        "get JAIL ignoreip",
        Instead(
            "`pillory explain ADDRESS` says whether it is never banned, and why; `pillory allow` lists who was allowed by command",
        ),
    ),
    (
        "get JAIL failregex",
        Instead(
            "`pillory test-filter --jail JAIL LOG` says which of its expressions match; `man pillory-filter` tells what filters are made of",
        ),
    ),
    (
        "get JAIL KEY",
        Instead(
            "what [jail.JAIL] of pillory.toml says of KEY holds, else what its top says; `man pillory.toml` has the defaults",
        ),
    ),
    ("get JAIL KEY ANY..", Instead(ACTIONS)),
    ("get KEY", Instead("pillory.toml says it; `man pillory.toml` has every key")),
    ("set JAIL banip IP..", Do("ban --jail JAIL IP..")),
    ("set JAIL banip", Instead("name whom: `pillory ban --jail JAIL ADDRESS`, or more of them")),
    ("set JAIL unbanip", Instead("name whom: `pillory unban --jail JAIL ADDRESS`, or more of them")),
    (
        "set JAIL unbanip --report-absent",
        Instead("name whom: `pillory unban --jail JAIL ADDRESS`, or more of them"),
    ),
    ("set JAIL unbanip --report-absent IP..", Do("unban --jail JAIL IP..")),
    ("set JAIL unbanip IP..", Do("unban --jail JAIL IP..")),
    (
        "set JAIL addignoreip",
        Instead("name whom: `pillory allow ADDRESS` does it for all jails; `pillory allow` lists who is"),
    ),
    (
        "set JAIL delignoreip",
        Instead("name whom: `pillory allow --remove ADDRESS`; `pillory allow` lists who is"),
    ),
    (
        "set JAIL addignoreip IP..",
        Instead(
            "`pillory allow IP..` does it for all jails, and over restarts; `--for 8h` ends it by itself",
        ),
    ),
    (
        "set JAIL delignoreip IP..",
        Instead(
            "`pillory allow --remove IP..` does it, for all jails; what ignoreip in pillory.toml lists stays",
        ),
    ),
    (
        "set JAIL KEY ANY..",
        Instead(
            "write KEY below [jail.JAIL] in pillory.toml, then `pillory reload`, or `pillory apply FILE` to try it",
        ),
    ),
    (
        "set KEY ANY..",
        Instead("write it in pillory.toml, then `pillory reload`; `man pillory.toml` has every key"),
    ),
];

const ACTIONS: &str = "there are no actions to be asked at run time; `pillory check --fail2ban DIR` says what becomes of a directory's";

const RELOAD: &str = "`pillory reload` reads the configuration of all jails again, and keeps bans and counts";

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
    let Some((captures, here)) = HABITS.iter().find_map(fits) else { return Ok(arguments) };
    let written = words.join(" ");
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
        ] {
            let said = heard(written).unwrap_err();
            assert!(said.contains(cure) && said.contains(written), "{written}: {said}");
        }
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
