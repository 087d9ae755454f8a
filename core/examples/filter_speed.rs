//! How many lines of a log a built-in filter judges in a second of CPU time.
//!
//! `cargo run --release -p pillory-core --example filter_speed -- sshd auth.log`

#![forbid(unsafe_code)]

use std::fs;

use pillory_core::event::{Line, Outcome};
use pillory_core::filter::{Clock, Filter, Verdict, catalog};
use pillory_core::time::Timestamp;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: filter_speed FILTER FILE".into());
    };
    let spec = catalog::builtin(&name).ok_or("no such filter")?;
    let mut filter = Filter::compile(&spec).map_err(|problems| format!("{problems:?}"))?;
    let text = fs::read(&path)?;
    let modified = fs::metadata(&path)?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let clock = Clock {
        now: Timestamp::from_millis(i64::try_from(modified.as_millis())?),
        zone: jiff::tz::TimeZone::system(),
    };
    let before = cpu_seconds()?;
    let (mut lines, mut failures, mut successes, mut stamped) = (0u64, 0u64, 0u64, 0u64);
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let bytes = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or(&[]);
        lines += 1;
        if let Verdict::Event(event) = filter.judge(&Line { bytes, stamp: None }, &clock) {
            stamped += u64::from(event.stamp.is_some());
            match event.outcome {
                Outcome::Failure { .. } => failures += 1,
                Outcome::Success => successes += 1,
            }
        }
    }
    let seconds = cpu_seconds()? - before;
    println!(
        "{lines} lines, {failures} failures, {successes} successes, {stamped} with a date: {seconds:.3} CPU s, \
         {:.0} lines/s",
        lines as f64 / seconds
    );
    Ok(())
}

/// Time on a CPU of this process so far, from /proc, to the nanosecond.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: u64 = stat.split_whitespace().next().ok_or("no schedstat")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
