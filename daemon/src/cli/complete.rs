//! `pillory complete`: what may stand where the cursor is, for the shells' completion scripts.
//!
//! Everything comes from the parser itself; jails and banned addresses are asked of the daemon, which keeps nobody
//! waiting: without one, or if it is slow, there are none.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::{Arg, Command};
use serde_json::Value;

use pillory_core::event::JailName;
use pillory_core::filter::catalog;

use crate::control::client::ask_once;
use crate::control::{Request, short};

use super::{CONTROL, Outcome, examples, print_as_it_is};

/// Exit status where files may stand, too.
const FILES_TOO: u8 = 3;

/// The daemon is waited for this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// More bans than this are nothing to choose from.
const MOST_BANS: u64 = 10_000;

/// `pillory complete`
#[derive(Debug, clap::Args)]
pub(crate) struct Complete {
    /// The words behind the program's name; the last is the one to be completed.
    #[arg(last = true)]
    words: Vec<String>,
}

/// What may stand there.
#[derive(Debug, Default, PartialEq)]
struct Choice {
    /// Each with its help, which may be empty.
    words: Vec<(String, String)>,
    /// Files may, too.
    files: bool,
}

impl Complete {
    pub(crate) fn run(&self) -> Outcome {
        let Some((last, before)) = self.words.split_last() else { return Ok(0) };
        let mut command = examples::command();
        command.build();
        let control = control(before);
        let choice = choice(&command, before, last, &mut |what| asked(what, &control));
        let fits = choice.words.iter().filter(|(word, _)| word.starts_with(last.as_str()));
        print_as_it_is(&fits.map(|(word, help)| format!("{word}\t{help}\n")).collect::<String>())?;
        Ok(if choice.files { FILES_TOO } else { 0 })
    }
}

/// What only the daemon knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Jails,
    Banned,
}

fn choice(
    command: &Command,
    before: &[String],
    last: &str,
    ask: &mut dyn FnMut(Known) -> Vec<String>,
) -> Choice {
    let (mut at, mut stood, mut wants, mut only_values) = (command, 0, None, false);
    for word in before {
        if wants.take().is_some() {
            continue;
        }
        match word.as_str() {
            "--" => only_values = true,
            option if option.len() > 1 && option.starts_with('-') && !only_values => {
                wants = unfilled(at, option)
            }
            name => match at.find_subcommand(name).filter(|_| stood == 0) {
                Some(sub) => at = sub,
                None => stood += 1,
            },
        }
    }
    if let Some(arg) = wants {
        return values(at, arg, ask);
    }
    match last.split_once('=') {
        Some((option, _)) if option.starts_with("--") => {
            let Some(arg) = unfilled(at, option) else { return Choice::default() };
            let mut choice = values(at, arg, ask);
            choice.words.iter_mut().for_each(|(word, _)| word.insert_str(0, &format!("{option}=")));
            choice
        }
        _ if last.starts_with('-') && !only_values => Choice { words: options(at), files: false },
        _ => positional(at, stood, ask),
    }
}

/// The argument whose value comes behind this option, if one does.
fn unfilled<'c>(command: &'c Command, option: &str) -> Option<&'c Arg> {
    let is_it = |arg: &&Arg| match option.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg
            .get_short()
            .is_some_and(|short| option.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4]))),
    };
    command.get_arguments().find(is_it).filter(|arg| arg.get_action().takes_values())
}

fn options(command: &Command) -> Vec<(String, String)> {
    let seen = command.get_arguments().filter(|arg| !arg.is_hide_set());
    seen.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(arg.get_help())))).collect()
}

fn positional(command: &Command, stood: usize, ask: &mut dyn FnMut(Known) -> Vec<String>) -> Choice {
    let mut choice = Choice::default();
    if stood == 0 {
        let seen = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        choice.words = seen.map(|sub| (sub.get_name().to_owned(), first_line(sub.get_about()))).collect();
    }
    let last =
        command.get_positionals().last().filter(|arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1));
    let Some(arg) = command.get_positionals().nth(stood).or(last) else { return choice };
    let more = values(command, arg, ask);
    choice.words.extend(more.words);
    choice.files |= more.files;
    choice
}

/// What may be the value of an argument.
fn values(command: &Command, arg: &Arg, ask: &mut dyn FnMut(Known) -> Vec<String>) -> Choice {
    let plain = |words: Vec<String>| Choice {
        words: words.into_iter().map(|word| (word, String::new())).collect(),
        files: false,
    };
    match (arg.get_id().as_str(), command.get_name()) {
        ("jail", _) => return plain(ask(Known::Jails)),
        ("prefixes", "unban" | "explain") | ("ip", _) => return plain(ask(Known::Banned)),
        ("filter", "test-filter") => {
            return Choice { files: true, ..plain(catalog::names().map(str::to_owned).collect()) };
        }
        _ => {}
    }
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let words = possible.iter().map(|value| (value.get_name().to_owned(), first_line(value.get_help())));
        return Choice { words: words.collect(), files: false };
    }
    // `auto|always|never` names what there is; capitals stand for something else.
    let shown = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    if shown.contains('|') && !shown.contains(|letter: char| letter.is_ascii_uppercase()) {
        return plain(shown.split('|').map(str::to_owned).collect());
    }
    let is_file = shown.contains("FILE") || matches!(shown, "DIR" | "SOCKET");
    Choice { words: Vec::new(), files: is_file || arg.get_value_hint() == clap::ValueHint::AnyPath }
}

fn first_line(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Which daemon the words mean.
fn control(words: &[String]) -> PathBuf {
    let mut given = words.iter().zip(words.iter().skip(1)).filter(|(option, _)| *option == "--control");
    let attached = words.iter().find_map(|word| word.strip_prefix("--control="));
    given.next().map(|(_, path)| path.as_str()).or(attached).unwrap_or(CONTROL).into()
}

/// What the daemon knows; nothing if none answers soon.
fn asked(what: Known, control: &Path) -> Vec<String> {
    let (sender, answer) = mpsc::channel();
    let control = control.to_owned();
    // It ends with the program, answered or not.
    std::thread::spawn(move || drop(sender.send(told(what, &control))));
    answer.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default()
}

fn told(what: Known, control: &Path) -> Option<Vec<String>> {
    let status = ask_once(control, &Request::Status).ok()?.value;
    let mut words: Vec<String> = match what {
        Known::Jails => {
            let jails = status["jails"].as_array()?.iter();
            jails.filter_map(|jail| JailName::new(jail["name"].as_str()?).ok()).map(String::from).collect()
        }
        Known::Banned if status["banned"].as_u64()? > MOST_BANS => Vec::new(),
        Known::Banned => {
            let list = ask_once(control, &Request::List).ok()?.value;
            list.as_array()?.iter().map(|ban: &Value| short(&ban["prefix"])).collect()
        }
    };
    words.sort_unstable();
    words.dedup();
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> (Vec<String>, bool) {
        let mut command = examples::command();
        command.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (last, before) = words.split_last().expect("a word");
        let mut ask = |what| match what {
            Known::Jails => vec!["sshd".to_owned()],
            Known::Banned => vec!["192.0.2.7".to_owned()],
        };
        let choice = choice(&command, before, last, &mut ask);
        let words = choice.words.into_iter().map(|(word, _)| word);
        (words.filter(|word| word.starts_with(last.as_str())).collect(), choice.files)
    }

    #[test]
    fn commands_options_and_values_complete_themselves() {
        let words = |line: &str| completed(line).0;
        assert_eq!(words("una"), [""; 0]);
        assert_eq!(words("unb"), ["unban"]);
        assert!(words("").contains(&"status".to_owned()) && !words("").contains(&"deliver".to_owned()));
        assert_eq!(words("ban --fo"), ["--for", "--force"]);
        assert_eq!(words("status "), ["sshd"]);
        assert_eq!(words("list --jail s"), ["sshd"]);
        assert_eq!(words("list --jail=s"), ["--jail=sshd"]);
        assert_eq!(words("unban 198.51.100.1 192"), ["192.0.2.7"]);
        assert_eq!(words("attempts -n 5 --ip "), ["192.0.2.7"]);
        assert_eq!(words("ban 192"), [""; 0]);
        assert_eq!(words("--color al"), ["always"]);
        assert_eq!(words("run --on-stop "), ["keep", "lift"]);
        assert!(words("export --format nf").contains(&"nft".to_owned()));
        assert_eq!(words("reports re"), ["review"]);
        assert_eq!(words("test-filter ss"), ["sshd"]);
        assert_eq!(words("nonsense "), words(" "));
    }

    #[test]
    fn files_are_left_to_the_shell() {
        for line in ["scan ", "check --config ", "test-filter sshd ", "import /tmp/a ", "status --control "] {
            assert!(completed(line).1, "{line}");
        }
        for line in ["status ", "", "ban --jail ", "off --for "] {
            assert!(!completed(line).1, "{line}");
        }
    }
}
