//! The drills that make sense for any program that bans, played on Pillory and on Debian's fail2ban.
//!
//! For information: outcomes are printed and nothing is judged; what Pillory promises is held by the tests that
//! SECURITY.md lists. `cargo test -p pillory --test lab -- --ignored --nocapture peer_drills`, with `DRILL=rotated` for
//! those whose name says so.

mod input;
mod load;
mod logs;
mod troubles;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::lab::{Fail2ban, Host, Pillory, SOON, Subject, quiet_server};

/// Attackers.
const FROM: &str = "198.51.100.7";
const OTHER: &str = "198.51.100.8";
const THIRD: &str = "198.51.100.9";

/// What a drill is played on.
type It<'a> = dyn Subject + 'a;
/// What came of it; the error is a drill that could not be played to its end.
type Outcome = Result<String, String>;
/// A drill, with its name.
type Drill = (&'static str, fn(&mut It) -> Outcome);

/// Drills that are played at a time.
const AT_ONCE: usize = 3;

#[test]
#[ignore = "for information: another program is played on, and nothing is judged"]
fn peer_drills() {
    let wanted = std::env::var("DRILL").unwrap_or_default();
    let all = troubles::DRILLS.iter().chain(logs::DRILLS).chain(input::DRILLS).chain(load::DRILLS);
    let drills: Vec<&Drill> = all.filter(|(name, _)| name.contains(&wanted)).collect();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(vec![None; drills.len()]));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, drill)) = drills.get(at) else { return };
                    let row = [
                        play(*drill, |host| Some(Box::new(Pillory::new(host)))),
                        play(*drill, |host| Some(Box::new(Fail2ban::new(host)?))),
                    ];
                    eprintln!("played: {name}");
                    rows.lock().expect("nobody panics holding it")[at] = Some(row);
                }
            });
        }
    });
    println!("\n| drill | Pillory | fail2ban |\n|---|---|---|");
    let rows = rows.into_inner().expect("nobody panicked holding it");
    for ((name, _), row) in drills.iter().zip(rows) {
        let [own, peer] = row.unwrap_or_default();
        println!("| {name} | {own} | {peer} |");
    }
}

/// One drill on one program, in a world of its own.
fn play(drill: fn(&mut It) -> Outcome, subject: impl Fn(Host) -> Option<Box<dyn Subject>>) -> String {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let (_world, server) = quiet_server().ok_or("no lab here")?;
        let mut subject = subject(server).ok_or("not here")?;
        drill(subject.as_mut())
    }));
    match played {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) => "broke off, see above".to_owned(),
    }
}

/// Starts it, or that is the outcome.
fn start(it: &mut It) -> Result<(), String> {
    start_through(it, &[])
}

/// The same through these words. It may run although it is not all at work.
fn start_through(it: &mut It, through: &[&str]) -> Result<(), String> {
    if it.start_through(through) || it.is_running() {
        return Ok(());
    }
    Err(format!("does not start: `{}`", it.last_words()))
}

/// Starts it and has somebody banned.
fn start_with_a_ban(it: &mut It) -> Result<(), String> {
    start(it)?;
    it.attack(5000, FROM).map(drop).ok_or_else(|| "no ban to begin with".to_owned())
}

/// `banned after 0.4 s`
fn banned(after: Option<Duration>) -> String {
    within("banned", after, SOON)
}

/// `healed after 0.4 s`, `not healed within 10 s`
fn within(what: &str, after: Option<Duration>, limit: Duration) -> String {
    match after {
        Some(after) => format!("{what} after {:.2} s", after.as_secs_f64()),
        None => format!("not {what} within {} s", limit.as_secs()),
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
