//! The firewall, the program itself, its database or its configuration is in trouble.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    Drill, FROM, It, OTHER, Outcome, THIRD, banned, start, start_through, start_with_a_ban, within, yes,
};
use crate::lab::{Kernel, LOG, Running, SOON, failed_lines, wait_until};
use crate::meddling::{fill, garbage};

pub(super) const DRILLS: &[Drill] = &[
    ("nft flush ruleset", |it| heals(it, "flush ruleset")),
    ("its table deleted", |it| {
        let table = it.table().0;
        heals(it, &format!("delete table inet {table}"))
    }),
    ("one element deleted", |it| {
        let (table, set, _) = it.table();
        heals(it, &format!("delete element inet {table} {set} {{ {FROM} }}"))
    }),
    ("a ban ends while it is down", ends_while_down),
    ("stopped and started", stopped),
    ("kill -9, reboot, started", killed),
    ("database is garbage", |it| {
        damaged(it, |path| {
            let length = path.metadata()?.len();
            std::fs::write(path, garbage(usize::try_from(length).unwrap_or(8192)))
        })
    }),
    ("database cut in half", |it| {
        damaged(it, |path| {
            std::fs::File::options().write(true).open(path)?.set_len(path.metadata()?.len() / 2)
        })
    }),
    ("database empty", |it| damaged(it, |path| std::fs::write(path, ""))),
    ("disk full", full_disk),
    ("reload with a bad configuration", bad_reload),
    ("a second one started", second),
    ("ulimit -n 32", few_descriptors),
];

fn heals(it: &mut It, commands: &str) -> Outcome {
    start_with_a_ban(it)?;
    Kernel::new(it.host().clone()).nft(commands);
    let healed = it.ban_after(FROM, SOON);
    let next = it.attack(5100, OTHER);
    let first = it.ban_after(FROM, SOON).is_some();
    Ok(format!(
        "{}; the next attacker {}, the first one is banned then: {}",
        within("healed", healed, SOON),
        banned(next),
        yes(first)
    ))
}

fn gone(it: &It) -> Option<Duration> {
    let began = Instant::now();
    wait_until(SOON, || (!it.holds(FROM)).then(|| began.elapsed()))
}

fn ends_while_down(it: &mut It) -> Outcome {
    it.settings().bantime_s = 4;
    start_with_a_ban(it)?;
    it.end(Signal::KILL);
    let down = gone(it);
    start(it)?;
    let up = gone(it);
    let limit = SOON;
    Ok(format!("while it is down {}; started, {}", within("gone", down, limit), within("gone", up, limit)))
}

fn stopped(it: &mut It) -> Outcome {
    start_with_a_ban(it)?;
    it.end(Signal::TERM);
    let meanwhile = it.holds(FROM);
    start(it)?;
    Ok(format!("in the kernel meanwhile: {}; started, {}", yes(meanwhile), banned(it.ban_after(FROM, SOON))))
}

fn killed(it: &mut It) -> Outcome {
    start_with_a_ban(it)?;
    // Whoever comes behind these is banned once they were read.
    it.host().append(LOG, failed_lines(5100, 2, "root", OTHER));
    it.attack(5200, THIRD).ok_or("no second ban")?;
    it.end(Signal::KILL);
    Kernel::new(it.host().clone()).nft("flush ruleset");
    start(it)?;
    let back = it.ban_after(FROM, SOON);
    it.host().append(LOG, failed_lines(5300, 1, "root", OTHER));
    let counted = it.ban_after(OTHER, SOON);
    Ok(format!("{}; counts of before are kept: {}", within("back", back, SOON), yes(counted.is_some())))
}

fn damaged(it: &mut It, damage: impl Fn(&Path) -> std::io::Result<()>) -> Outcome {
    start_with_a_ban(it)?;
    it.end(Signal::TERM);
    let (directory, name) = it.database();
    let path = it.host().path(format!("{directory}/{name}"));
    for rest in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{rest}", path.display()));
    }
    damage(&path).map_err(|error| format!("no database to damage: {error}"))?;
    start(it)?;
    let back = it.ban_after(FROM, SOON);
    let next = it.attack(5100, OTHER);
    Ok(format!(
        "starts; the ban of before {}; the next attacker {}",
        within("back", back, SOON),
        banned(next)
    ))
}

fn full_disk(it: &mut It) -> Outcome {
    let (directory, _) = it.database();
    it.host().run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "full", directory]);
    start(it)?;
    let _filler = fill(it.host(), directory);
    let first = it.attack(5000, FROM);
    it.end(Signal::KILL);
    Kernel::new(it.host().clone()).nft("flush ruleset");
    let outcome = banned(first);
    start(it).map_err(|why| format!("{outcome}; killed, {why}"))?;
    let back = it.ban_after(FROM, SOON);
    let next = it.attack(5100, OTHER);
    Ok(format!(
        "{outcome}; killed, the kernel flushed and started: {}; the next attacker {}",
        within("back", back, SOON),
        banned(next)
    ))
}

fn bad_reload(it: &mut It) -> Outcome {
    start_with_a_ban(it)?;
    it.settings().is_spoilt = true;
    let code = it.reload();
    let code = code.map_or("none".to_owned(), |code| code.to_string());
    let still = it.holds(FROM);
    let next = it.attack(5100, OTHER);
    Ok(format!("exit status {code}; the ban stays: {}; the next attacker {}", yes(still), banned(next)))
}

fn second(it: &mut It) -> Outcome {
    start_with_a_ban(it)?;
    let mut second: Running = it.second();
    let ended = wait_until(SOON, || (!second.is_running()).then_some(()));
    let how = match ended {
        Some(()) => format!("exit status {:?}", second.wait(SOON).unwrap_or(-1)),
        None => format!("runs for {} s", SOON.as_secs()),
    };
    let still = it.holds(FROM);
    let next = it.attack(5100, OTHER);
    Ok(format!("{how}; the ban stays: {}; the next attacker {}", yes(still), banned(next)))
}

fn few_descriptors(it: &mut It) -> Outcome {
    start_through(it, &["prlimit", "--nofile=32"])?;
    let first = it.attack(5000, FROM);
    let all = (0..5).filter(|number| it.attack(5100 + 10 * number, &format!("10.77.1.{number}")).is_some());
    Ok(format!("{}; of five more {} banned", banned(first), all.count()))
}
