//! fail2ban's own filters, as Debian's package has them, on logs made here: its sshd filter through `fail2ban-regex`
//! and through ours in the same run, and lines a second for some more.
//!
//! `PILLORY_SPEED` names the release build of the example `fail2ban_speed`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::generate::{self, Random};
use crate::process::{cpu_of, scratch};
use crate::table::Table;

const LINES: u64 = 100_000;
const ATTACKERS: usize = 20_000;

/// CPU time and matches of both.
pub fn measure(table: &mut Table) {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let folder = tools.join("etc/fail2ban");
    let Some(ours) = std::env::var_os("PILLORY_SPEED").map(PathBuf::from) else {
        return table.skip("fail2ban's own filters", "PILLORY_SPEED names no build of fail2ban_speed");
    };
    if !folder.join("filter.d/sshd.conf").exists() {
        return table.skip("fail2ban's own filters", "target/tools has no fail2ban");
    }
    let dir = scratch("stock");
    let log = dir.join("auth.log");
    generate::auth_log(&log, LINES, ATTACKERS).expect("auth.log is written");
    let (own, own_matches) = speed(&ours, &folder, "sshd", &log);
    match peer(&tools, &folder, &log) {
        Some((theirs, matches)) => {
            let percent = own.as_secs_f64() * 100.0 / theirs.as_secs_f64();
            table.figure("fail2ban's sshd filter: CPU in % of fail2ban-regex's", percent, 1.0, "%");
            let (own, theirs) = (own.as_secs_f64(), theirs.as_secs_f64());
            table.note("  CPU s, its and ours", format!("{theirs:.2}, {own:.3}"));
            table.note("  matches, its and ours", format!("{matches}, {own_matches}"));
            assert_eq!(matches, own_matches, "both find the same");
        }
        None => table.skip("fail2ban's sshd filter through both", "fail2ban-regex does not run here"),
    }
    per_second(table, "sshd", own);
    for (filter, line) in OTHERS {
        let log = dir.join(filter);
        std::fs::write(&log, lines(line)).expect("the log is written");
        let (cpu, matches) = speed(&ours, &folder, filter, &log);
        assert!(matches > LINES / 3, "{filter} finds {matches} failures");
        per_second(table, filter, cpu);
    }
}

fn per_second(table: &mut Table, filter: &str, cpu: Duration) {
    let rate = LINES as f64 / cpu.as_secs_f64();
    table.note(format!("fail2ban's {filter} filter: lines a CPU second"), format!("{rate:.0}"));
}

/// CPU time of judging and the failures found, as the example says them.
fn speed(ours: &Path, folder: &Path, filter: &str, log: &Path) -> (Duration, u64) {
    let output = Command::new(ours).args([folder, filter.as_ref(), log]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |unit: &str| said.split(unit).next()?.split_whitespace().last()?.parse::<f64>().ok();
    let figures = number(" CPU s").zip(number(" failures"));
    let (seconds, failures) =
        figures.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (Duration::from_secs_f64(seconds), failures as u64)
}

/// CPU time of fail2ban-regex and the lines it matched; its start, some tenths of a second, is part of it.
fn peer(tools: &Path, folder: &Path, log: &Path) -> Option<(Duration, u64)> {
    let mut command = Command::new("python3");
    command.arg(tools.join("usr/bin/fail2ban-regex")).arg("-c").arg(folder).arg(log).arg("sshd");
    command.env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let (cpu, output) = cpu_of(&mut command);
    let said = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
    let summary = said.lines().find(|line| line.starts_with("Lines: "))?;
    let matched = summary.split(" matched").next()?.split_whitespace().last()?.parse().ok()?;
    Some((cpu, matched))
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
