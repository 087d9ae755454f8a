//! pillory(1), pillory.toml(5) and pillory-filter(5).

use clap::{Arg, Command};

use pillory_core::config::keys::{JAIL_KEYS, Key, POLICY_KEYS, TOP_KEYS, WITHIN};
use pillory_core::filter::catalog;
use pillory_core::filter::regex::tags::{GROUPS, TAGS};
use pillory_core::filter::spec::SETTINGS;

use super::super::{CONTROL, configfile::DEFAULT_CONFIG, examples, exit};
use super::page::Page;

/// Files, for the manual.
const FILES: &[(&str, &str)] = &[
    (DEFAULT_CONFIG, "the configuration; need not exist; see pillory.toml(5)"),
    (
        "/etc/pillory/pillory.toml.before",
        "the configuration before the last one that `pillory confirm` put there",
    ),
    ("/var/lib/pillory/pillory.db", "bans, history, counts and positions"),
    ("/var/lib/pillory/outbox.db", "what waits to be sent; only if something is sent"),
    ("/var/lib/pillory/dryrun/", "the same of dry runs"),
    ("/var/lib/pillory/lock", "held while a daemon runs"),
    (CONTROL, "where commands are taken"),
    (
        "/run/pillory/control.sock.unwritten",
        "only while the disk takes nothing: what is not in the database yet",
    ),
];

/// Ways back for who is shut out, for the manual; the book has a chapter of them.
const LOCKED_OUT: &[(&str, &str)] = &[
    (
        "pillory rescue HOST PORT CODE [ADDRESS]",
        "from the address that is shut out, or from any other with that address behind the code. It takes [rescue] of \
         pillory.toml(5), and a code that `pillory rescue-code` made before",
    ),
    ("pillory unban ADDRESS", "over any other way in, such as another address or a console"),
    ("pillory off", "lifts every ban, and nobody is banned until `pillory on`; without a daemon, too"),
    (
        "systemctl disable --now pillory; nft delete table inet pillory",
        "the same without this program. Null routes go by `ip route flush proto 199` and `ip -6 route flush proto 199`",
    ),
    ("systemd.mask=pillory.service", "on the kernel's command line: one boot without a ban"),
];

/// pillory(1)
pub(super) fn pillory(command: &Command) -> Page {
    let mut page = Page::new("pillory", "1", "shuts attackers out who fail to log in");
    page.heading("SYNOPSIS").text("`pillory` [COMMAND] [OPTIONS]");
    page.heading("DESCRIPTION").text(
        "Pillory watches what a host records about failed logins: the systemd journal, log files, btmp. \
         It decides who is attacking, by points for each failure and a memory of days, and shuts them out in the kernel, \
         by nftables or by null routes.",
    );
    page.paragraph(
        "`pillory run` is the daemon; most other commands ask it. Without a command it shows the status, or what to do \
         where no daemon runs. Words of fail2ban-client are understood, or answered with the command that does it.",
    );
    page.heading("OPTIONS");
    options(&mut page, command);
    page.heading("COMMANDS");
    for sub in command.get_subcommands().filter(|sub| is_listed(sub)) {
        subcommand(&mut page, sub);
    }
    page.heading("EXAMPLES");
    examples_of(&mut page, "pillory");
    page.heading("LOCKED OUT").text(
        "Whose packets are dropped sees connections time out. The far end of an open session is never banned, and the first \
         ban of a place from which somebody logged in within 30 days lasts ten minutes. These let an address in again:",
    );
    page.items(LOCKED_OUT);
    page.heading("EXIT STATUS");
    for (status, means) in exit::ALL {
        page.item(&status.to_string(), "", means);
    }
    page.heading("FILES").items(FILES);
    page.heading("SEE ALSO").text("`pillory.toml`(5), `pillory-filter`(5), `journalctl`(1), `nft`(8)");
    page
}

fn is_listed(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn subcommand(page: &mut Page, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    page.subheading(usage.trim_start_matches("Usage: ").lines().next().unwrap_or_default());
    page.text(&command.get_about().map(ToString::to_string).unwrap_or_default());
    options(page, command);
    examples_of(page, command.get_name());
    for sub in command.get_subcommands().filter(|sub| is_listed(sub)) {
        subcommand(page, sub);
    }
}

/// Arguments and options; those of every command stand at the top only.
fn options(page: &mut Page, command: &Command) {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let is_top = command.get_name() == "pillory";
    for arg in own
        .filter(|arg| is_top || !matches!(arg.get_id().as_str(), "help" | "version" | "color" | "no_pager"))
    {
        let (name, values) = shown(arg);
        let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if arg.get_action().takes_values() && !default.is_empty() {
            text.push_str(&format!(". Default: {}", default.join(" ")));
        }
        page.item(&name, &values, &text);
        let possible = arg.get_possible_values();
        if arg.get_action().takes_values() && !possible.is_empty() {
            page.indented(|page| {
                for value in &possible {
                    page.item(
                        value.get_name(),
                        "",
                        &value.get_help().map(ToString::to_string).unwrap_or_default(),
                    );
                }
            });
        }
    }
}

/// `-n`, `--jail` or a positional argument's name, and what its values are called.
fn shown(arg: &Arg) -> (String, String) {
    let values =
        arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect::<Vec<_>>();
    let values = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    match names.is_empty() {
        true => (values, String::new()),
        false => (names.join(", "), values),
    }
}

fn examples_of(page: &mut Page, name: &str) {
    for (line, what) in examples::of(name) {
        page.literal(&format!("# {what}\n{line}"));
    }
}

/// An example that holds some of each sort.
const CONFIGURATION: &str = r#"ignoreip = ["192.0.2.10", "2001:db8::/48", "home.example.net"]
bantime  = ["1d", "7d", "30d"]

[jail.sshd]
maxretry = 3

[jail.myapp]
logpath   = ["/srv/app/log/*.log"]
failregex = ['^login failed for <F-USER>\S+</F-USER> from <HOST>$']
bantime   = "1h""#;

/// pillory.toml(5)
pub(super) fn configuration() -> Page {
    let mut page = Page::new("pillory.toml", "5", "configuration of pillory(1)");
    page.heading("DESCRIPTION").text(
        "The file is TOML, and need not exist: the jails whose service is found run, each from the best source there is. \
         An unknown key or a bad value is an error with its line and the cure; `pillory check` tells all of them.",
    );
    page.paragraph(
        "Lengths of time are written 30 (seconds), \"30s\", \"10m\", \"1h 30m\", \"2d\", \"4w\" or \"forever\". \
         A list of words may also be one text with blanks between them.",
    );
    page.heading("KEYS FOR ALL JAILS")
        .text("At the top they hold for all jails, below [jail.NAME] for that one.");
    keys(&mut page, POLICY_KEYS);
    page.heading("KEYS AT THE TOP");
    keys(&mut page, TOP_KEYS);
    page.heading("KEYS OF A JAIL").text(
        "They stand below [jail.NAME]. A jail that has the name of a built-in filter uses that filter; one with a failregex \
         of its own may have any name.",
    );
    keys(&mut page, JAIL_KEYS);
    let filters: Vec<&str> = catalog::names().collect();
    page.paragraph(&format!("Built-in filters: {}.", filters.join(", ")));
    page.heading("EXAMPLE").literal(CONFIGURATION);
    page.heading("FILES").items(&FILES[..2]);
    page.heading("SEE ALSO").text("`pillory`(1), `pillory-filter`(5)");
    page
}

fn keys<T>(page: &mut Page, table: &[Key<T>]) {
    for key in table {
        page.item(key.name, "", key.doc);
        if let Some((_, rows)) = WITHIN.iter().find(|(name, _)| *name == key.name) {
            page.indented(|page| {
                page.items(*rows);
            });
        }
    }
}

/// A filter as somebody might write one.
const FILTER: &str = r"[INCLUDES]
before = common.conf

[Definition]
_daemon     = myapp
failregex   = ^%(__prefix_line)slogin failed for <F-USER>\S+</F-USER> from <HOST>$
              ^%(__prefix_line)sno such user <F-USER>\S+</F-USER> from <HOST>$
failclass   = 1:unknown_user
ignoreregex = from 192\.0\.2\.77$";

/// pillory-filter(5)
pub(super) fn filter() -> Page {
    let mut page = Page::new("pillory-filter", "5", "filters of pillory(1)");
    page.heading("DESCRIPTION").text(
        "A filter says which lines of a log show a failed login, and of whom. It is written in fail2ban's language: a file of \
         sections with settings, whose expressions are Python's.",
    );
    page.paragraph(
        "`pillory test-filter FILTER FILE` tells what a filter, built-in or from a file, says of each line. \
         The settings that a jail of its own needs may stand in pillory.toml(5) itself: prefregex, failregex, ignoreregex, \
         datepattern, maxlines and journalmatch.",
    );
    page.heading("FILES OF FILTERS").text(
        "[INCLUDES] names others, read `before` and `after` this one; common.conf is built in. [Definition] has the settings, \
         [Init] values that an option in brackets replaces: `sshd[mode=aggressive]`. A line that begins with blanks goes on \
         with the setting above it. `%(name)s` stands for another setting, and `<name>` for an option.",
    );
    page.heading("SETTINGS").items(&SETTINGS);
    page.heading("TAGS").text("In expressions these stand for what they match, and capture it:");
    for tag in TAGS {
        let names: Vec<String> = tag.names.iter().map(|name| format!("<{name}>")).collect();
        page.item(&names.join(", "), "", tag.doc);
    }
    page.heading("GROUPS").text(
        "`<F-NAME>` and `</F-NAME>` capture what stands between them. A group of any name may be captured; these mean \
         something:",
    );
    for (name, text) in GROUPS {
        page.item(&format!("<{name}>..</{name}>"), "", text);
    }
    page.heading("CLASSES")
        .text("What failclass may say of a failure, which costs what `points` of pillory.toml(5) says:");
    page.items(WITHIN.iter().find(|(name, _)| *name == "points").map_or(&[][..], |(_, rows)| rows));
    page.heading("EXAMPLE").literal(FILTER);
    page.heading("SEE ALSO").text("`pillory`(1), `pillory.toml`(5)");
    page
}

#[cfg(test)]
mod tests {
    use pillory_core::config::{raw, resolve};
    use pillory_core::filter::{Filter, FilterSpec};

    use super::*;

    #[test]
    fn the_examples_are_fine() {
        let raw = raw::parse("example", CONFIGURATION).expect("TOML");
        assert!(resolve::resolve(&raw).is_ok(), "{:?}", resolve::resolve(&raw).err());
        let spec = FilterSpec::parse("example", FILTER, &catalog::include).expect("a filter");
        assert!(Filter::compile(&spec).is_ok());
    }
}
