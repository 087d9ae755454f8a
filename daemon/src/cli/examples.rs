//! Two examples for each command: what every `--help` ends in, and the manual shows. All of them run in a test.

use clap::{Command, CommandFactory};

use super::Arguments;

/// A command line, and what it does.
pub(super) type Example = (&'static str, &'static str);

/// By command; that of the program itself first.
pub(super) const EXAMPLES: &[(&str, [Example; 2])] = &[
    (
        "pillory",
        [
            ("pillory", "is this host protected?"),
            ("pillory scan /var/log/auth.log", "who attacked it so far? Needs no daemon"),
        ],
    ),
    (
        "run",
        [
            ("pillory run", "protects this host until Ctrl-C"),
            ("pillory run --dry-run", "watches and judges, and enforces nothing"),
        ],
    ),
    (
        "status",
        [("pillory status", "is this host protected?"), ("pillory status sshd", "the same of one jail")],
    ),
    (
        "list",
        [
            ("pillory list", "who is banned"),
            ("pillory list --jail sshd --json", "by one jail, for a program"),
        ],
    ),
    (
        "ban",
        [
            ("pillory ban 203.0.113.7 --for 2h --reason 'tried the shop'", "bans an address for two hours"),
            (
                "pillory ban 198.51.100.0/24 2001:db8:9::7 --jail sshd",
                "a network and another address, for a jail",
            ),
        ],
    ),
    (
        "unban",
        [
            ("pillory unban 203.0.113.7", "lifts the bans of an address"),
            ("pillory unban --all --jail sshd", "lifts all bans of a jail"),
        ],
    ),
    (
        "allow",
        [
            ("pillory allow 192.0.2.77 --for 8h", "never bans an address today"),
            ("pillory allow --remove 192.0.2.77", "or no longer so"),
        ],
    ),
    (
        "rescue-code",
        [
            ("pillory rescue-code", "makes three codes; needs [rescue] in the configuration"),
            ("pillory rescue-code -n 10", "makes ten"),
        ],
    ),
    (
        "rescue",
        [
            ("pillory rescue 192.0.2.1 2200 CODE", "frees the address from which this comes"),
            ("pillory rescue 192.0.2.1 2200 CODE 198.51.100.9", "frees another one"),
        ],
    ),
    (
        "restrict",
        [
            ("pillory restrict ssh", "who may connect; needs [restrict.ssh] in the configuration"),
            ("pillory restrict ssh --suggest", "who should, by the good logins so far"),
        ],
    ),
    (
        "off",
        [
            ("pillory off --for 1h", "lifts everything and enforces nothing for an hour"),
            ("pillory off", "the same until `pillory on`"),
        ],
    ),
    ("on", [("pillory on", "enforces again"), ("pillory on --json", "the same, answered as JSON")]),
    (
        "explain",
        [
            ("pillory explain 203.0.113.7", "why an address is banned or not"),
            ("pillory explain 198.51.100.0/24 2001:db8:9::7", "the stories of a network and of an address"),
        ],
    ),
    (
        "attempts",
        [
            ("pillory attempts -n 20 --jail sshd", "the last twenty at a service"),
            ("pillory attempts --since 1d --ip 203.0.113.7", "what an address tried since yesterday"),
        ],
    ),
    (
        "history",
        [
            ("pillory history --since 7d", "bans and unbans of a week"),
            ("pillory history --ip 203.0.113.7 -n 0", "all that are kept of an address"),
        ],
    ),
    (
        "reload",
        [
            ("pillory reload", "reads the configuration again"),
            ("pillory check && pillory reload", "the same once it is fine"),
        ],
    ),
    (
        "apply",
        [
            ("pillory apply /etc/pillory/new.toml", "tries a policy for a minute"),
            ("pillory apply /etc/pillory/new.toml --confirm 5m", "for five"),
        ],
    ),
    (
        "confirm",
        [
            ("pillory confirm", "keeps it; from a new connection"),
            ("pillory confirm --take-back", "takes it back at once"),
        ],
    ),
    (
        "check",
        [
            ("pillory check", "is the configuration fine?"),
            ("pillory check --fail2ban /etc/fail2ban", "and what becomes of fail2ban's?"),
        ],
    ),
    (
        "import",
        [
            ("pillory import --for 30d /etc/pillory/bad.txt", "bans the addresses of a list for a month"),
            (
                "pillory import --fail2ban /etc/fail2ban --dry-run",
                "shows what a move from fail2ban would take over",
            ),
        ],
    ),
    (
        "export",
        [
            ("pillory export", "who is banned, an address a line"),
            ("pillory export --format nft", "as another program reads it"),
        ],
    ),
    (
        "doctor",
        [
            ("pillory doctor", "is it really protecting this host?"),
            ("pillory doctor --json", "for a program"),
        ],
    ),
    (
        "test-filter",
        [
            ("pillory test-filter sshd /var/log/auth.log", "what a built-in filter says of each line"),
            (
                "pillory test-filter --fail2ban /etc/fail2ban 'sshd[mode=aggressive]' /var/log/auth.log",
                "or one of fail2ban's",
            ),
        ],
    ),
    (
        "scan",
        [
            ("pillory scan /var/log/auth.log", "who attacked, how hard, and who would be banned"),
            ("pillory scan --jail sshd --json /var/log/auth.log", "by one jail, for a program"),
        ],
    ),
    (
        "rehearse",
        [
            ("pillory rehearse --since 30d", "what the policy would have done with the last month"),
            (
                "pillory rehearse --against /etc/pillory/new.toml /var/log/auth.log",
                "two policies beside each other",
            ),
        ],
    ),
    (
        "wall",
        [
            ("pillory wall --text", "the offenders, a line each"),
            ("pillory wall --out /srv/wall --contact abuse@example.net", "as pages"),
        ],
    ),
    (
        "unlist",
        [
            ("pillory unlist 203.0.113.7", "leaves an address out of the wall"),
            ("pillory unlist --remove 203.0.113.7", "shows it again"),
        ],
    ),
    (
        "metrics",
        [
            ("pillory metrics", "as Prometheus reads them"),
            ("pillory metrics --out /var/lib/pillory/pillory.prom", "into a file for node_exporter"),
        ],
    ),
    (
        "notify",
        [
            ("pillory notify", "who is told, and what does not work"),
            ("pillory notify --test owner", "sends [notify.owner] a message"),
        ],
    ),
    (
        "reports",
        [
            ("pillory reports", "what waits, and what was sent"),
            ("pillory reports review --approve all", "lets the first ones go"),
        ],
    ),
    (
        "review",
        [
            ("pillory reports review", "looks at those that wait, and asks"),
            ("pillory reports review --approve 1,2 --drop 3", "says it at once"),
        ],
    ),
    ("top", [("pillory top", "what happens now; `q` quits"), ("pillory top --once", "prints it once")]),
];

/// The examples of a command.
pub(super) fn of(name: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(known, _)| *known == name).map_or(&[], |(_, examples)| examples)
}

/// The parser, with the examples behind each help.
pub(super) fn command() -> Command {
    with_examples(Arguments::command())
}

fn with_examples(command: Command) -> Command {
    let each = of(command.get_name()).iter().map(|(line, what)| format!("\n  # {what}\n  {line}"));
    let text = each.fold("Examples:".to_owned(), |text, example| text + &example);
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = if of(command.get_name()).is_empty() { command } else { command.after_help(text) };
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_examples))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// Every command that people see.
    fn visible(command: &Command) -> Vec<String> {
        let seen = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let below = seen.flat_map(visible);
        std::iter::once(command.get_name().to_owned()).chain(below).collect()
    }

    /// A line as a shell parts it; only `'` is known, and of several commands the last counts.
    fn parted(line: &str) -> Vec<OsString> {
        let last = line.rsplit(" && ").next().unwrap_or_default();
        let quoted = last.split('\'').enumerate();
        let words = quoted.flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(OsString::from).collect::<Vec<_>>(),
            _ => vec![OsString::from(part)],
        });
        // `'sshd[mode=aggressive]'` stands alone, so nothing has to be put together again.
        words.collect()
    }

    #[test]
    fn every_command_has_examples_and_every_help_ends_in_them() {
        let names = visible(&command());
        let described: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        for name in &names {
            assert!(described.contains(&name.as_str()), "{name} has no examples");
        }
        assert_eq!(described.len(), names.len(), "{described:?}");
    }

    #[test]
    fn every_example_is_understood() {
        for (name, examples) in EXAMPLES {
            for (line, _) in examples {
                let parsed = crate::cli::parse(parted(line));
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
                assert!(*name == "pillory" || line.contains(&format!(" {name}")), "{line} is none of {name}");
            }
        }
    }
}
