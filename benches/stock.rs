//! fail2ban's own filters, as Debian's package has them, on logs made here, besides its sshd filter, which `scan`
//! compares with fail2ban-regex: lines a second.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::generate::Random;
use crate::lab::tools_dir;
use crate::process::{FILE, Ran, Words, scratch};
use crate::table::Table;

const LINES: u64 = 100_000;
const ATTACKERS: usize = 20_000;

/// Debian's directory, or that it is not here.
pub fn folder() -> Result<PathBuf, String> {
    let folder = tools_dir().join("etc/fail2ban");
    if folder.join("filter.d/sshd.conf").exists() { Ok(folder) } else { Err("not here: no fail2ban".into()) }
}

/// The command line of the release build of the example `fail2ban_speed`, which judges a log by one of its filters.
pub fn speed(filter: &str) -> Result<Words, String> {
    let ours = std::env::var_os("PILLORY_SPEED").ok_or("PILLORY_SPEED names no build of fail2ban_speed")?;
    Ok(vec![ours, folder()?.into(), filter.into(), FILE.into()])
}

/// CPU time of each of its filters.
pub fn measure(table: &mut Table) {
    for (filter, line) in OTHERS {
        let title = format!("fail2ban's {filter} filter: lines a CPU second");
        let words = match speed(filter) {
            Ok(words) => words,
            Err(why) => return table.skip(title, why),
        };
        let log = scratch("stock").join(filter);
        std::fs::write(&log, lines(line)).expect("the log is written");
        let ran = Ran::read(&words, &log).expect("it starts");
        let failures = ran.number_before(" failures").unwrap_or_else(|| panic!("it says {}", ran.said));
        assert!(failures > LINES / 3, "{filter} finds {failures} failures");
        table.note(title, format!("{:.0}", LINES as f64 / ran.cpu.as_secs_f64()));
    }
}

/// A line of a log, made from a number of its own, a second of the day and an address.
type Writer = fn(&mut String, &mut Random, u64, &str);

const OTHERS: [(&str, Writer); 3] =
    [("nginx-http-auth", nginx), ("postfix", postfix), ("apache-auth", apache)];

fn lines(write: Writer) -> String {
    let mut random = Random::new(17);
    let addresses = random.addresses(ATTACKERS);
    let mut text = String::new();
    for at in 0..LINES {
        let second = at * 86_400 / LINES;
        let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let addr = addresses[usize::try_from(random.below(ATTACKERS as u64)).expect("small")];
        let mut line = String::new();
        write(&mut line, &mut random, at, &clock);
        text += &line.replace("ADDR", &addr.to_string());
        text.push('\n');
    }
    text
}

fn nginx(line: &mut String, random: &mut Random, at: u64, clock: &str) {
    let what = match random.below(2) {
        0 => "user \"admin\": password mismatch",
        _ => "open() \"/srv/www/favicon.ico\" failed (2: No such file or directory)",
    };
    let _ = write!(
        line,
        "2026/01/02 {clock} [error] 812#812: *{at} {what}, client: ADDR, server: example.net, request: \"GET /private HTTP/1.1\", host: \"example.net\""
    );
}

fn postfix(line: &mut String, random: &mut Random, _: u64, clock: &str) {
    let what = match random.below(4) {
        0 => "connect from unknown[ADDR]",
        1 => "disconnect from unknown[ADDR] ehlo=1 quit=1 commands=2",
        _ => {
            "NOQUEUE: reject: RCPT from unknown[ADDR]: 554 5.7.1 <a@example.org>: Relay access denied; from=<b@example.com> to=<a@example.org> proto=ESMTP helo=<mail>"
        }
    };
    let pid = 1_000 + random.below(9_000);
    let _ = write!(line, "Jan  2 {clock} mail postfix/smtpd[{pid}]: {what}");
}

fn apache(line: &mut String, random: &mut Random, at: u64, clock: &str) {
    let (module, what) = match random.below(2) {
        0 => {
            ("auth_basic", "AH01617: user admin: authentication failure for \"/private\": Password Mismatch")
        }
        _ => ("core", "AH00128: File does not exist: /srv/www/favicon.ico"),
    };
    let (pid, port) = (1_000 + random.below(9_000), 1_024 + random.below(60_000));
    let _ = write!(
        line,
        "[Fri Jan 02 {clock}.{:06} 2026] [{module}:error] [pid {pid}] [client ADDR:{port}] {what}",
        at % 1_000_000
    );
}
