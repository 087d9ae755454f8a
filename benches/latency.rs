//! From a line (or record) appended to the element in the kernel; and from a real client's start to it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::elements::Elements;
use crate::floor;
use crate::generate::{self, NOTORIOUS, Random};
use crate::lab::{Logging, Sshd, SshdOptions, Try, World, sshd_writes_btmp};
use crate::process::{Measured, scratch, world};
use crate::table::{Spread, Table};

const BANS: usize = 100;
const CONNECTIONS: usize = 20;
const LIMIT: Duration = Duration::from_secs(10);
/// Between two bans the daemon falls asleep.
const PAUSE: Duration = Duration::from_millis(30);

const FILE: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";
const BTMP: &str = "[jail.sshd]\nenabled = true\nbackend = \"btmp\"\nlogpath = [\"/var/log/btmp\"]\n";
const JOURNAL: &str = "[jail.sshd]\nenabled = true\nbackend = \"journal\"\n";

/// Each kind of source from a line to the element, and from a real client to it.
pub fn measure(table: &mut Table) {
    appended(table, "line in auth.log", FILE, "/var/log/auth.log", |addr| {
        generate::unknown_user(addr, 4_242).into_bytes()
    });
    appended(table, "record in btmp", BTMP, "/var/log/btmp", |addr| {
        let now = Timestamp::now();
        let time = (i32::try_from(now.as_second()).expect("before 2038"), now.subsec_microsecond());
        generate::btmp_record(addr, NOTORIOUS, 4_242, time).to_vec()
    });
    let woken = floor::wake_ups(100, PAUSE).after;
    let (p50, p99) = (woken.percentile_ms(50), woken.percentile_ms(99));
    table.note("  to wake any thread on this machine, p50 and p99 of 100", format!("{p50:.2}, {p99:.2} ms"));
    connected(table, "file", FILE, Logging::Rsyslog, 300.0);
    if sshd_writes_btmp() {
        connected(table, "btmp", BTMP, Logging::BtmpOnly, 300.0);
    } else {
        table.skip("connect to ban, real sshd, btmp", "this sshd does not write btmp");
    }
    connected(table, "journal", JOURNAL, Logging::Journald, 450.0);
}

fn appended(table: &mut Table, what: &str, config: &str, log: &str, record: impl Fn(Ipv4Addr) -> Vec<u8>) {
    let world = world();
    let path: PathBuf = world.server.path(log);
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the log opens");
    let daemon = match Measured::start(&world.server, config, &scratch("latency")) {
        Ok(daemon) => daemon,
        Err(said) => return table.skip(format!("{what} to element"), last_line(&said)),
    };
    let mut elements = Elements::listen(&world.server);
    let mut took = Vec::new();
    for addr in Random::new(7).addresses(BANS) {
        std::thread::sleep(PAUSE);
        let bytes = record(addr);
        let began = Instant::now();
        file.write_all(&bytes).expect("the log takes it");
        match elements.wait_for(addr.into(), LIMIT) {
            Some(when) => took.push(when - began),
            None => panic!("{addr} was not banned within {LIMIT:?}; the daemon said:\n{}", daemon.errors()),
        }
    }
    let spread = Spread::new(took);
    table.promise(format!("{what} to element, p50 of {BANS}"), spread.percentile_ms(50), 0.5, "ms");
    table.note(format!("{what} to element, p95"), format!("{:.2} ms", spread.percentile_ms(95)));
    table.promise(format!("{what} to element, p99"), spread.percentile_ms(99), 2.0, "ms");
    daemon.stop();
}

/// A real ssh client with a notorious user name; its own start is part of the figure.
fn connected(table: &mut Table, what: &str, config: &str, logging: Logging, aim_ms: f64) {
    let title = format!("connect to ban, real sshd, {what}");
    let Some(world) = World::with(logging.needs()) else {
        return table.skip(title, "a program is missing, see above");
    };
    let _syslog = logging.start(&world.server);
    let _sshd = Sshd::start_with(&world.server, &SshdOptions::default());
    let daemon = match Measured::start(&world.server, config, &scratch("latency")) {
        Ok(daemon) => daemon,
        Err(said) => return table.skip(title, last_line(&said)),
    };
    let mut elements = Elements::listen(&world.server);
    let mut took = Vec::new();
    for last in 1..=CONNECTIONS {
        let attacker = world.attacker(&format!("198.51.100.{last}"));
        // From idle: journald and the daemon have gone to sleep.
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        let session = attacker.start_login(&Try { user: NOTORIOUS, ..Try::default() });
        match elements.wait_for(attacker.addr, LIMIT) {
            Some(when) => took.push(when - began),
            None => {
                table.skip(title, format!("{} was not banned within {LIMIT:?}", attacker.addr));
                return;
            }
        }
        drop(session);
    }
    let spread = Spread::new(took);
    table.figure(format!("{title}, p50 of {CONNECTIONS}"), spread.percentile_ms(50), aim_ms, "ms");
    table.figure(format!("{title}, worst"), spread.percentile_ms(100), aim_ms, "ms");
    daemon.stop();
}

fn last_line(said: &str) -> String {
    said.lines().last().unwrap_or("the daemon ended and said nothing").to_owned()
}
