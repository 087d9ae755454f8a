//! The command line: one file per subcommand. To add one: a file here, a variant of [`Command`], a line in [`done`], two
//! examples in [`examples`].

mod addresses;
mod allow;
mod apply;
mod ask;
mod bare;
pub(crate) mod begin;
mod check;
mod client;
mod complete;
pub(crate) mod configfile;
mod doctor;
mod examples;
pub(crate) mod explain;
pub(crate) mod fail2ban;
mod generate;
#[cfg(test)]
mod golden;
mod habits;
pub(crate) mod import;
mod metrics;
mod notify;
mod offline;
mod order;
mod past;
mod pieces;
mod plot;
mod rehearse;
mod reports;
mod rescue;
mod restrict;
mod rows;
pub(crate) mod run;
mod scan;
pub(crate) mod screen;
mod status;
mod test_filter;
mod threads;
mod top;
mod unlist;
mod wall;
mod whois;
mod widening;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};

pub(crate) use client::{parse_bantime, parse_time};
pub(crate) use order::{ban_text, unban_text};

use crate::escape::{command_line, json, lines, printed};
use crate::logging;
use rehearse::report::grouped;

/// Where state is kept if nobody says otherwise.
const STATE_DIR: &str = "/var/lib/pillory";

/// Where commands are taken if nobody says otherwise.
const CONTROL: &str = "/run/pillory/control.sock";

/// Exit statuses, as the interface promises them.
pub(crate) mod exit {
    /// The answer is no: nothing matched, not banned, findings.
    pub(crate) const NO: u8 = 1;
    /// Bad usage or configuration.
    pub(crate) const USAGE: u8 = 2;
    /// The daemon is not reachable.
    pub(crate) const UNREACHABLE: u8 = 69;
    /// A fault in the program.
    pub(crate) const FAULT: u8 = 70;
    /// Another daemon holds the state directory or the network namespace.
    pub(crate) const TAKEN: u8 = 75;
    /// A privilege is missing.
    pub(crate) const NOT_PERMITTED: u8 = 77;

    /// What it means that something which was named cannot be read.
    pub(crate) fn of(error: &std::io::Error) -> u8 {
        if error.kind() == std::io::ErrorKind::PermissionDenied { NOT_PERMITTED } else { USAGE }
    }

    /// All of them, for the manual.
    pub(crate) const ALL: [(u8, &str); 7] = [
        (0, "done"),
        (NO, "the answer is no: nothing matched, not banned, findings, refused"),
        (USAGE, "bad usage or configuration"),
        (UNREACHABLE, "the daemon is not reachable"),
        (FAULT, "a fault in the program, which ended the daemon; what and where stands in the log"),
        (TAKEN, "another daemon holds the state directory or the network namespace"),
        (NOT_PERMITTED, "a privilege is missing"),
    ];
}

/// What to do where a privilege is missing; the command that works is said behind it.
pub(crate) const AS_ROOT: &str = "run it as root";

/// Why a command failed, with the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) exit: u8,
    /// What went wrong and what to do; empty if everything was said already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: u8, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// Of what cannot be read: a privilege is missing, or something else was to be named.
    pub(crate) fn unread(what: impl std::fmt::Display, error: &std::io::Error) -> Failure {
        let code = exit::of(error);
        let cure = if code == exit::NOT_PERMITTED { AS_ROOT } else { "" };
        let gap = if cure.is_empty() { "" } else { "; " };
        Failure::new(code, format!("cannot read {what}: {error}{gap}{cure}"))
    }

    /// The same, after so many of a long list were taken.
    fn after(mut self, done: usize, all: usize) -> Failure {
        self.message
            .push_str(&format!("; {done} of {all} were handed over before; do it again for the rest"));
        self
    }
}

/// A command's result: an exit status, or a failure to be printed.
pub(crate) type Outcome = Result<u8, Failure>;

#[derive(Debug, Parser)]
#[command(name = "pillory", version, about = "Watches failed logins and shuts attackers out in the kernel.")]
struct Arguments {
    /// Colours: if standard output is a terminal and NO_COLOR is not set, always, or never.
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto", value_parser = parse_color)]
    color: anstream::ColorChoice,
    /// What is longer than the screen is printed all the same, and not shown by a pager ($PAGER, else less).
    #[arg(long, global = true)]
    no_pager: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

fn parse_color(text: &str) -> Result<anstream::ColorChoice, String> {
    match text {
        "auto" => Ok(anstream::ColorChoice::Auto),
        "always" => Ok(anstream::ColorChoice::Always),
        "never" => Ok(anstream::ColorChoice::Never),
        _ => Err("use auto, always or never".to_owned()),
    }
}

/// Marks what must not be overlooked; the colour is dropped where none is wanted.
pub(crate) fn red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

/// Marks what the eye looks for first.
pub(crate) fn strong(text: &str) -> String {
    format!("\x1b[1m{text}\x1b[0m")
}

/// `1 ban`, `1,234 bans`: a number with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Options of every command that talks to the daemon.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Client {
    /// The daemon's control socket.
    #[arg(long, value_name = "SOCKET", default_value = CONTROL)]
    pub(crate) control: PathBuf,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground.
    Run(run::Arguments),
    /// For the daemon itself: run the commands of a fail2ban directory, as ordered at standard input.
    #[command(hide = true)]
    RunCommands(run::RunCommands),
    /// For the daemon itself: send what waits in the outbox.
    #[command(hide = true)]
    Deliver(run::Deliver),
    /// For the daemon itself: run the commands of [notify.NAME].
    #[command(hide = true)]
    TellCommands(run::TellCommands),
    /// For the completion scripts of shells: what may stand where the cursor is.
    #[command(hide = true)]
    Complete(complete::Complete),
    /// For packages: write manual pages and completion scripts.
    #[command(hide = true)]
    Generate(generate::Generate),
    /// How the daemon is doing.
    Status(ask::Status),
    /// The bans in force.
    List(ask::List),
    /// Ban addresses or networks by hand.
    Ban(order::Ban),
    /// Lift bans.
    Unban(order::Unban),
    /// Never ban an address, a network or whoever a DNS name leads to.
    Allow(allow::Allow),
    /// Make codes for the day on which you are locked out.
    RescueCode(rescue::RescueCode),
    /// Free an address at a host that shuts it out, by one of its codes.
    Rescue(rescue::Rescue),
    /// Who may connect to a port, and a proposal from the good logins.
    Restrict(restrict::Restrict),
    /// Lift everything at once and enforce nothing until `on`.
    Off(order::Off),
    /// Enforce again.
    On(order::On),
    /// Why a prefix is banned or not.
    Explain(explain::Explain),
    /// The attempts seen, newest last.
    Attempts(rows::Rows),
    /// The bans and unbans, newest last.
    History(rows::Rows),
    /// Read the configuration again.
    Reload(order::Reload),
    /// Run a new policy, and take it back unless it is confirmed from a new connection.
    Apply(apply::Apply),
    /// Keep the policy that was applied; from a new connection.
    Confirm(apply::Confirm),
    /// Validate a configuration; no side effect.
    Check(check::Check),
    /// Take over address lists.
    Import(import::Import),
    /// Print the bans in force.
    Export(import::Export),
    /// Is it really protecting this host?
    Doctor(doctor::Doctor),
    /// Each line's verdict by a filter.
    TestFilter(test_filter::TestFilter),
    /// Who attacked, how hard, who would be banned; offline, from files.
    Scan(scan::Scan),
    /// What a policy would have done with the logs of the past.
    Rehearse(rehearse::Rehearse),
    /// The offenders as a folder of pages for a web server.
    Wall(wall::Wall),
    /// Leave somebody out of the wall who asks for it.
    Unlist(unlist::Unlist),
    /// How the daemon is doing, for Prometheus.
    Metrics(metrics::Metrics),
    /// Who is told what happens here, and a message to try it.
    Notify(notify::Notify),
    /// Reports of attackers to others: what waits and what was sent, and their review.
    Reports(reports::Reports),
    /// What happens now, live in the terminal.
    Top(top::Top),
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let words = match habits::heed(std::env::args_os().collect()) {
        Ok(words) => words,
        Err(instead) => {
            complain(&instead);
            return ExitCode::from(exit::USAGE);
        }
    };
    let arguments = match parse(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // --help and --version are no errors; clap knows.
            if !error.use_stderr() {
                if std::env::args_os().any(|word| word == "--no-pager") {
                    screen::without_pager();
                }
                let shown = screen::show(&error.render().to_string());
                return ExitCode::from(shown.map_or_else(|failure| said(&failure), |()| 0));
            }
            // It says the argument again, which may be a name out of a log.
            let text = lines(&error.render().to_string());
            complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return ExitCode::from(exit::USAGE);
        }
    };
    arguments.color.write_global();
    if arguments.no_pager {
        screen::without_pager();
    }
    let outcome = arguments.command.map_or_else(bare::status_or_next_step, done);
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => said(&failure),
    };
    logging::finish();
    ExitCode::from(code)
}

/// The arguments, the program's name first.
/// # Errors
/// What is to be printed: what is wrong with them, or a help that was asked for.
fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let mut command = examples::command();
    let mut matches = command.try_get_matches_from_mut(words)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn done(command: Command) -> Outcome {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::RunCommands(command) => command.run(),
        Command::Deliver(command) => command.run(),
        Command::TellCommands(command) => command.run(),
        Command::Complete(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::List(command) => command.run(),
        Command::Ban(command) => command.run(),
        Command::Unban(command) => command.run(),
        Command::Allow(command) => command.run(),
        Command::RescueCode(command) => command.run(),
        Command::Rescue(command) => command.run(),
        Command::Restrict(command) => command.run(),
        Command::Off(command) => command.run(),
        Command::On(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Attempts(command) => command.run(&rows::Table::Attempts),
        Command::History(command) => command.run(&rows::Table::History),
        Command::Reload(command) => command.run(),
        Command::Apply(command) => command.run(),
        Command::Confirm(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Scan(command) => command.run(),
        Command::Rehearse(command) => command.run(),
        Command::Wall(command) => command.run(),
        Command::Unlist(command) => command.run(),
        Command::Metrics(command) => command.run(),
        Command::Notify(command) => command.run(),
        Command::Reports(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::TestFilter(command) => command.run(),
        Command::Doctor(command) => command.run(),
    }
}

/// Says why, and gives the exit status.
fn said(failure: &Failure) -> u8 {
    let message = with_cure(failure);
    if !message.is_empty() && !logging::fatal(&message) {
        complain(&message);
    }
    failure.exit
}

/// What is said of a failure: to whom a privilege is missing, also the command that works.
fn with_cure(failure: &Failure) -> String {
    let Failure { exit, message } = failure;
    if *exit != exit::NOT_PERMITTED || message.is_empty() || rustix::process::geteuid().is_root() {
        return message.clone();
    }
    format!("{message}: `sudo {}`", command_line(std::env::args()))
}

/// Prints to standard error; if that is closed there is nobody to tell.
pub(crate) fn complain(message: &str) {
    let screen = screen::Screen::of(&std::io::stderr());
    logging::plain(&screen.fitted(&format!("pillory: {}\n", lines(message))));
}

/// Prints a value, or a value a line, to standard output as JSON.
pub(crate) fn print_json(value: &impl std::fmt::Display) -> Result<(), Failure> {
    print_as_it_is(&format!("{}\n", json(value)))
}

/// Prints to standard output what people read, made for their screen.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    screen::show(&printed(text))
}

/// Prints to standard output. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn print_as_it_is(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::new(0, "")),
        Err(error) => Err(Failure::new(exit::NO, format!("cannot write to standard output: {error}"))),
    }
}
