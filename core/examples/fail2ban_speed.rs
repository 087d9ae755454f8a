//! How many lines of a log one of fail2ban's own filters judges in a second of CPU time, as a jail uses it: dates,
//! users, connections.
//!
//! `cargo run --release -p pillory-core --example fail2ban_speed -- /etc/fail2ban sshd auth.log`

#![forbid(unsafe_code)]

use std::fs;

use pillory_core::config::fail2ban::{self, F2bFilter, Files, ReadOptions};
use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::filter::fail2ban::{Fail2banFilter, Options, Ruling, Timing};
use pillory_core::time::Timestamp;

/// A directory whose only jail uses one filter.
struct OneJail(String);

impl Files for OneJail {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        if path.ends_with("/jail.conf") {
            let jail =
                "[one]\nenabled = true\nlogpath = /dev/null\nbackend = polling\naction = dummy\nfilter = ";
            return Ok(Some(format!("{jail}{}\n", self.0).into_bytes()));
        }
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, name, path] = arguments.as_slice() else {
        return Err("usage: fail2ban_speed DIR FILTER FILE".into());
    };
    let text = fs::read(path)?;
    let modified = fs::metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp::from_millis(i64::try_from(modified.as_millis())?);
    let clock = Clock { now, zone: jiff::tz::TimeZone::system() };
    let year = jiff::Timestamp::from_millisecond(now.millis())?.to_zoned(clock.zone.clone()).year();
    let mut filter = compile(&read(folder, name)?, year)?;
    let before = cpu_seconds()?;
    let (mut lines, mut matched, mut failures) = (0u64, 0u64, 0u64);
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = Line { bytes: &rest[..end], stamp: None };
        rest = rest.get(end + 1..).unwrap_or(&[]);
        lines += 1;
        let ruling = filter.judge(&line, &clock, Timing::Any, now);
        matched += u64::from(matches!(ruling, Ruling::NoFail(_) | Ruling::Failure(..)));
        failures += u64::from(matches!(ruling, Ruling::Failure(..)));
    }
    let seconds = cpu_seconds()? - before;
    println!(
        "{lines} lines, {matched} matched, {failures} failures: {seconds:.3} CPU s, {:.0} lines/s",
        lines as f64 / seconds
    );
    Ok(())
}

fn read(folder: &str, name: &str) -> Result<F2bFilter, String> {
    let found = fail2ban::read(&OneJail(name.to_owned()), folder, &ReadOptions::default());
    let problems = || found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let jail = found.jails.first().ok_or_else(problems)?;
    Ok(jail.filter.clone())
}

fn compile(filter: &F2bFilter, year: i16) -> Result<Fail2banFilter, String> {
    Fail2banFilter::compile(&filter.spec(), Options { year, ..filter.options() })
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Time on a CPU of this process so far, from /proc, to the nanosecond.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: u64 = stat.split_whitespace().next().ok_or("no schedstat")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
