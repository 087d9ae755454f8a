//! Memory and CPU time of a daemon with ten jails that has nothing to do.

use std::fmt::Write;
use std::time::Duration;

use crate::floor;
use crate::process::{Measured, scratch, world};
use crate::table::Table;

const JAILS: usize = 10;
/// Memory and wake-ups of the start are over by then.
const SETTLE: Duration = Duration::from_secs(12);
const IDLE: Duration = Duration::from_secs(60);

/// Memory and CPU time over a minute.
pub fn measure(table: &mut Table) {
    let world = world();
    let mut config =
        String::from("[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n");
    world.server.write("/var/log/auth.log", "");
    for jail in 1..JAILS {
        let log = format!("/var/log/app{jail}.log");
        world.server.write(&log, "");
        write!(
            config,
            "[jail.app{jail}]\nenabled = true\nlogpath = [\"{log}\"]\n\
             failregex = ['^login failed for <F-USER>\\S+</F-USER> from <HOST>$']\n"
        )
        .expect("a string takes it");
    }
    let daemon =
        Measured::start(&world.server, &config, &scratch("idle")).unwrap_or_else(|said| panic!("{said}"));
    let ready = daemon.ready_after;
    std::thread::sleep(SETTLE);
    let before = (daemon.cpu(), daemon.wake_ups());
    std::thread::sleep(IDLE);
    let (cpu, woken) = (daemon.cpu() - before.0, daemon.wake_ups() - before.1);
    let mib = |what| daemon.memory_kib(what) as f64 / 1024.0;
    table.promise(format!("idle, {JAILS} jails: VmRSS"), mib("VmRSS"), 8.0, "MiB");
    table.note("  of that anonymous", format!("{:.1} MiB", mib("RssAnon")));
    table.note("  of that pages of the binary", format!("{:.1} MiB", mib("RssFile")));
    table.promise(format!("idle, {JAILS} jails: CPU in 60 s"), cpu.as_secs_f64() * 1e3, 5.0, "ms");
    let each = floor::wake_ups(30, IDLE / 30).cpu.as_secs_f64() * 1e3;
    table.note("  its wake-ups", woken.to_string());
    table.note("  CPU of any thread on this machine to wake up, once in 2 s", format!("{each:.2} ms"));
    table.note(
        format!("start with {JAILS} jails and no bans, until ready"),
        format!("{:.0} ms", ready.as_secs_f64() * 1e3),
    );
    daemon.stop();
}
