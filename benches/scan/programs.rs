//! The programs that are compared: how each is started, on how much of an input, how often, and what it counts.

use std::path::{Path, PathBuf};

use crate::inputs::Input;
use crate::lab::tools_dir;
use crate::process::{FILE, Ran, Words, binary, directory, words};
use crate::stock;

/// Which program, for the figures that are made of two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `wc -l`, by which all are measured.
    Wc,
    /// `cat`, which does nothing but read.
    Cat,
    /// `pillory scan`
    Scan,
    /// A filter of fail2ban's in Pillory, as a jail uses it.
    Stock,
    /// The same on as much as fail2ban-regex gets.
    StockOnPart,
    /// fail2ban-regex with the same filter.
    Fail2banRegex,
    /// Any other.
    Other,
}

/// What a program says it has found, and how it is read.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// The first number that it prints.
    Lines,
    /// The lines that it prints.
    Printed,
    /// The number before ` attempts`.
    Attempts,
    /// The number before ` failures`, or behind `"failures":`.
    Failures,
    /// The number before ` matched`.
    Matched,
    /// The number behind `Matches:`.
    Matches,
    /// It does not look.
    Nothing,
}

impl Found {
    /// The number; nothing if the program says none.
    pub fn number(self, ran: &Ran) -> Option<u64> {
        match self {
            Found::Lines => ran.said.split_whitespace().next()?.parse().ok(),
            Found::Printed => Some(ran.lines),
            Found::Attempts => ran.number_before(" attempts"),
            Found::Failures => ran.number_before(" failures").or_else(|| ran.number_behind("\"failures\":")),
            Found::Matched => ran.number_before(" matched,"),
            Found::Matches => ran.number_behind("Matches:"),
            Found::Nothing => Some(0),
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Found::Lines => "lines",
            Found::Printed => "lines printed",
            Found::Attempts => "attempts",
            Found::Failures => "failures",
            Found::Matched | Found::Matches => "matches",
            Found::Nothing => "",
        }
    }
}

/// One line of a table.
#[derive(Debug)]
pub struct Program {
    /// Which.
    pub reader: Reader,
    /// As the table names it.
    pub name: &'static str,
    /// Its command line, or why there is none.
    pub words: Result<Words, String>,
    /// How much of the input it reads.
    pub records: u64,
    /// How often.
    pub runs: usize,
    /// What it counts.
    pub found: Found,
}

/// How often a program runs; where that would take long, it runs less often, or on a part of the input.
const RUNS: usize = 7;
const SLOW_RUNS: usize = 3;
const PART: u64 = 100_000;

const AUTH_EXPRESSION: &str = r"sshd\[\d+\]: (?:Failed password|Invalid user|Connection (?:closed|reset) by|banner exchange).* port \d+";
const ACCESS_EXPRESSION: &str = r#""POST /(?:wp-login|xmlrpc)\.php[^"]*" 200 "#;

/// What fail2ban-rs is given: three expressions for sshd, and one for WordPress.
const AUTH_JAIL: &str = r#"[global]
[jail.bench]
log_path = "/nonexistent"
date_format = "syslog"
filter = [
    'sshd\[\d+\]: Failed password for .* from <HOST> port \d+',
    'sshd\[\d+\]: Invalid user .* from <HOST> port \d+',
    'sshd\[\d+\]: Connection closed by authenticating user .* <HOST> port \d+',
]
"#;
const ACCESS_JAIL: &str = r#"[global]
[jail.bench]
log_path = "/nonexistent"
date_format = "common"
filter = ['^<HOST> .* "POST /(?:wp-login|xmlrpc)\.php[^"]*" 200 ']
"#;
/// The same for fail2ban-regex, which has cut the date out; fail2ban has no filter for WordPress.
const ACCESS_FAILREGEX: &str = r#"^<HOST> \S+ \S+ \[\] "POST /(?:wp-login|xmlrpc)\.php[^"]*" 200 "#;

/// The programs for an input of so many records, `wc -l` first.
pub fn of(input: Input, all: u64) -> Vec<Program> {
    let mut programs = vec![
        Program::new(Reader::Wc, "`wc -l`", words("wc", &["-l", FILE]), Found::Lines, all),
        Program::new(Reader::Scan, "`pillory scan`", Ok(scan(input)), Found::Attempts, all),
    ];
    programs.extend(match input {
        Input::Auth => auth(all),
        Input::Access => access(all),
        Input::Btmp => btmp(all),
    });
    programs
}

/// Our own command line for an input.
pub fn scan(input: Input) -> Words {
    let jail = |name: &str, log: &str| {
        format!("[jail.{name}]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/{log}\"]\n")
    };
    let config = match input {
        Input::Auth | Input::Btmp => jail("sshd", "auth.log"),
        Input::Access => jail("wordpress", "access.log") + &jail("nginx-http-auth", "access.log"),
    };
    let file = written(&format!("{}.toml", input.name()), &config);
    vec![binary().into(), "scan".into(), "--config".into(), file.into(), FILE.into()]
}

fn auth(all: u64) -> Vec<Program> {
    let stock = stock::speed("sshd");
    vec![
        Program::new(Reader::Stock, "Pillory, fail2ban's sshd filter", stock.clone(), Found::Failures, all),
        Program::new(Reader::StockOnPart, "the same", stock, Found::Failures, PART),
        Program::new(Reader::Other, "`pillory test-filter` with it", told(), Found::Failures, PART),
        Program::new(
            Reader::Fail2banRegex,
            "fail2ban-regex with it",
            regex(&[FILE, "sshd"]),
            Found::Matched,
            PART,
        )
        .slow(),
        Program::new(Reader::Other, "ripgrep, one expression", ripgrep(AUTH_EXPRESSION), Found::Lines, all),
        Program::new(Reader::Other, "sshguard's parser", sshguard(), Found::Printed, all).slow(),
        fail2ban_rs("fail2ban-rs dry-run, 3 expressions", AUTH_JAIL, all),
    ]
}

fn access(all: u64) -> Vec<Program> {
    // Told which stamps to look for, as its own filters of access logs do.
    let regex = regex(&["-d", "%d/%b/%Y:%H:%M:%S %z", FILE, ACCESS_FAILREGEX]);
    vec![
        Program::new(Reader::Other, "fail2ban-regex, one expression", regex, Found::Matched, PART).slow(),
        Program::new(Reader::Other, "ripgrep, one expression", ripgrep(ACCESS_EXPRESSION), Found::Lines, all),
        Program::new(Reader::Other, "sshguard's parser", sshguard(), Found::Printed, 5 * PART).slow(),
        fail2ban_rs("fail2ban-rs dry-run, one expression", ACCESS_JAIL, all),
    ]
}

fn btmp(all: u64) -> Vec<Program> {
    let lastb = words("lastb", &["-i", "-f", FILE]);
    // It alone would fill a pipe with all of the file.
    let cat = words("sh", &["-c", "exec cat \"$0\" >/dev/null", FILE]);
    let none = Err("they read no btmp".into());
    vec![
        Program::new(Reader::Cat, "`cat`", cat, Found::Nothing, all),
        Program::new(Reader::Other, "`lastb`", lastb, Found::Printed, 5 * PART).slow(),
        Program::new(
            Reader::Other,
            "fail2ban-regex, fail2ban-rs, sshguard, ripgrep",
            none,
            Found::Nothing,
            all,
        ),
    ]
}

impl Program {
    fn new(
        reader: Reader,
        name: &'static str,
        words: Result<Words, String>,
        found: Found,
        records: u64,
    ) -> Program {
        Program { reader, name, words, records, runs: RUNS, found }
    }

    fn slow(self) -> Program {
        Program { runs: SLOW_RUNS, ..self }
    }
}

/// It tells of each line, which takes longer than to judge it.
fn told() -> Result<Words, String> {
    let folder = stock::folder()?;
    let options = ["test-filter", "--json", "sshd", FILE, "--fail2ban"].map(Into::into);
    Ok([binary().into()].into_iter().chain(options).chain([folder.into()]).collect())
}

fn regex(options: &[&str]) -> Result<Words, String> {
    let program = tools_dir().join("usr/bin/fail2ban-regex");
    if !program.exists() {
        return Err("not here: no fail2ban-regex".into());
    }
    let words = ["python3".into(), program.into(), "-c".into(), stock::folder()?.into()];
    Ok(words.into_iter().chain(options.iter().map(Into::into)).collect())
}

fn ripgrep(expression: &str) -> Result<Words, String> {
    words("rg", &["--no-config", "--count", expression, FILE])
}

/// It reads standard input.
fn sshguard() -> Result<Words, String> {
    let parser = Path::new("usr/libexec/sshguard/sshg-parser");
    let places = [Path::new("/").join(parser), tools_dir().join(parser)];
    let here = places.into_iter().find(|path| path.exists());
    here.map(|path| vec![path.into()]).ok_or_else(|| "not here: no sshg-parser".into())
}

fn fail2ban_rs(name: &'static str, jail: &str, all: u64) -> Program {
    let program = tools_dir().join("fail2ban-rs/bin/fail2ban-rs");
    let words = if program.exists() {
        let config = written(&format!("{}.toml", name.replace([' ', ','], "-")), jail);
        Ok(vec![program.into(), "--config".into(), config.into(), "dry-run".into(), FILE.into()])
    } else {
        Err("not here: it could not be installed".into())
    };
    Program::new(Reader::Other, name, words, Found::Matches, all).slow()
}

/// A configuration of this run.
fn written(name: &str, text: &str) -> PathBuf {
    let file = directory("scan").join(name);
    std::fs::write(&file, text).expect("a configuration is written");
    file
}
