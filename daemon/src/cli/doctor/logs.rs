//! What the logs say: is sshd there, are its failures understood, is a proxy in front of the web server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::Path;

use pillory_core::event::Line;
use pillory_core::filter::{Clock, Filter, Verdict, catalog};
use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};
use serde_json::Value;

use crate::cli::client::{parse_time, word};
use crate::cli::screen::roughly;
use crate::clock;
use crate::findings::{Host, Report};
use crate::sources::offline::Entries;

/// So much of the end of a log is read.
const TAIL_BYTES: u64 = 2 * 1024 * 1024;

/// So many of sshd's latest journal entries are read.
const TAIL_ENTRIES: usize = 2_000;

/// They are looked for among so many of the latest entries of each file.
const LOOKED_AT: u64 = 200_000;

/// Where sshd's lines are, besides the journal.
const AUTH_LOGS: [&str; 3] = ["/var/log/auth.log", "/var/log/secure", "/var/log/messages"];

/// What sshd says when somebody fails, in any version.
const FAILURES: [&str; 8] = [
    "Failed password for ",
    "Invalid user ",
    "authentication failure; ",
    " not allowed because ",
    "maximum authentication attempts exceeded",
    "Unable to negotiate with ",
    "ROOT LOGIN REFUSED",
    "drop connection #",
];

/// The last whole lines of a file.
pub(super) fn tail(path: &Path) -> Vec<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        // Anything may stand where a log should be; opening a FIFO would wait for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Ok(Vec::new());
        }
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        let first = if start > 0 { memchr::memchr(b'\n', &bytes).map_or(0, |end| end + 1) } else { 0 };
        Ok(bytes.split_off(first))
    };
    // A log that cannot be read is as good as none; that it cannot is said by the source that wants it.
    let bytes = read().unwrap_or_default();
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Lines of sshd in the journal, the latest.
fn journal(host: &Host) -> Vec<Vec<u8>> {
    let Some(sshd) = catalog::builtin("sshd") else { return Vec::new() };
    let mut lines = Vec::new();
    for place in ["/var/log/journal", "/run/log/journal"] {
        // A journal that is not there or closed to us is as good as none; the source that wants it says so.
        let Ok(mut entries) = Entries::open(&host.path(place), &[(0, &sshd.journalmatch)]) else { continue };
        lines.extend(entries.latest(TAIL_ENTRIES, LOOKED_AT));
    }
    lines
}

/// Is sshd seen, by its process and by its lines, and does the filter understand its failures?
pub(super) fn sshd(host: &Host, processes: &[String], report: &mut Report) {
    let runs = processes.iter().any(|name| name == "sshd") || host.exists("/run/sshd.pid");
    let entries = journal(host);
    let (mut places, mut logs) = (Vec::new(), Vec::new());
    if !entries.is_empty() {
        places.push("the journal".to_owned());
        misses("the journal", &entries, report);
    }
    for path in AUTH_LOGS {
        let lines: Vec<Vec<u8>> = tail(&host.path(path)).into_iter().filter(|line| is_sshd(line)).collect();
        if !lines.is_empty() {
            places.push(path.to_owned());
            logs.push(path);
            misses(path, &lines, report);
        }
    }
    let written = logs.iter().filter_map(|path| written(&host.path(path))).max();
    let is_said = report.findings.iter().any(|finding| finding.id == OLD_LOG);
    if let (true, true, false, Some(written)) = (runs, entries.is_empty(), is_said, written) {
        old("sshd", &logs.join(" and "), host.now.since(written), report);
    }
    match (runs, places.is_empty()) {
        (true, true) => report.find(
            "sshd_silent",
            "sshd runs, but neither the journal nor auth.log has a line of it (or they may not be read)",
            "run it as root; set `SyslogFacility AUTH` and `LogLevel INFO` in sshd_config; start journald or rsyslog",
        ),
        (true, false) => report.note("sshd", format!("sshd runs and logs to {}", places.join(" and "))),
        (false, false) => report.note("sshd", format!("sshd does not run now; it logged to {}", places.join(" and "))),
        (false, true) => report.find(
            "no_sshd",
            "no sshd is seen: no process, no line",
            "if this host has one, run `pillory doctor` as root and where it runs",
        ),
    }
}

/// A log that nothing was written to for so long may be none any more.
const OLD: Span = Span::from_secs(86_400);

/// What is said of one, whoever found it.
const OLD_LOG: &str = "old_log";

fn written(path: &Path) -> Option<Timestamp> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}

/// That the last line of what a jail reads is old, if it is.
fn old(jail: &str, place: &str, age: Span, report: &mut Report) {
    if age >= OLD {
        report.find(
            OLD_LOG,
            format!("jail {jail}: the last line of {place} is {} old; does anything still write it?", roughly(age)),
            "if so all is well; else start what writes it (rsyslog?), or set logpath to where its service logs now",
        );
    }
}

/// Of the jails that run, those that read files only, and nothing new for long.
pub(super) fn silent(host: &Host, status: &Value, report: &mut Report) {
    for jail in status["jails"].as_array().into_iter().flatten() {
        let sources = jail["sources"].as_array().into_iter().flatten();
        let read: Vec<&Value> = sources.filter(|source| source["problem"].is_null()).collect();
        let last = read.iter().filter_map(|source| parse_time(source["last_line"].as_str()?)).max();
        if let Some(last) = last.filter(|_| read.iter().all(|source| source["kind"] == "file")) {
            let places: Vec<String> = read.iter().map(|source| word(&source["path"])).collect();
            old(&word(&jail["name"]), &places.join(" and "), host.now.since(last), report);
        }
    }
}

fn is_sshd(line: &[u8]) -> bool {
    memchr::memmem::find(line, b" sshd").is_some()
}

/// Failures that the filter does not understand.
fn misses(place: &str, lines: &[Vec<u8>], report: &mut Report) {
    let Some(mut filter) = catalog::builtin("sshd").and_then(|spec| Filter::compile(&spec).ok()) else {
        return;
    };
    let clock = Clock { now: clock::now(), zone: clock::zone() };
    let failed =
        |line: &&Vec<u8>| FAILURES.iter().any(|words| memchr::memmem::find(line, words.as_bytes()).is_some());
    let missed: Vec<&Vec<u8>> = lines
        .iter()
        .filter(failed)
        .filter(|bytes| filter.judge(&Line { bytes, stamp: None }, &clock) == Verdict::Miss)
        .collect();
    if let Some(example) = missed.first() {
        let example: String = String::from_utf8_lossy(example).chars().take(160).collect();
        report.find(
            "filter_misses",
            format!(
                "{} failures of sshd in {place} are not understood, for example: {example}",
                missed.len()
            ),
            "see `pillory test-filter sshd FILE`, and report the line",
        );
    }
}

/// Web logs of the built-in filters.
const WEB_LOGS: [&str; 5] = [
    "/var/log/nginx/access.log",
    "/var/log/apache2/access.log",
    "/var/log/httpd/access_log",
    "/var/log/apache2/other_vhosts_access.log",
    "/var/log/caddy/access.log",
];

/// Fewer lines tell nothing.
const MIN_LINES: usize = 100;

/// Do most lines of a web log come from one private address?
pub(super) fn proxy(host: &Host, report: &mut Report) {
    let (mut looked_at, before) = (Vec::new(), report.findings.len());
    for path in WEB_LOGS {
        let lines = tail(&host.path(path));
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for line in &lines {
            let first = line.split(|b| *b == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
            if let Some(addr) = first.and_then(|word| word.parse::<IpAddr>().ok()) {
                *counts.entry(addr).or_default() += 1;
            }
        }
        if lines.len() >= MIN_LINES {
            looked_at.push(path);
        }
        let Some((addr, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { continue };
        if lines.len() >= MIN_LINES && count * 10 > lines.len() * 8 && is_private(addr) {
            report.find(
                "proxy",
                format!(
                    "{} % of {path} come from {addr}: a proxy stands in front",
                    count * 100 / lines.len()
                ),
                format!(
                    "set trusted_proxies = [\"{addr}\"], and let the web server log the client's address"
                ),
            );
        }
    }
    match looked_at.as_slice() {
        [] => report.note("no_proxy", "no web log tells whether a proxy stands in front"),
        _ if report.findings.len() > before => {}
        looked_at => {
            report.note("no_proxy", format!("no proxy stands in front, by {}", looked_at.join(" and ")))
        }
    }
}

fn is_private(addr: IpAddr) -> bool {
    const RANGES: [&str; 7] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "100.64.0.0/10",
        "fc00::/7",
        "::1/128",
    ];
    RANGES.iter().filter_map(|range| range.parse::<Prefix>().ok()).any(|range| range.contains_addr(addr))
}

/// A log whose last line is older than this is not written any more.
pub(super) const STALE: Span = Span::from_secs(7 * 86_400);
