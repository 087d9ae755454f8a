//! What packets of a million banned addresses cost: a sender in one namespace, the bans in another, one cable.
//!
//! A virtual cable hands a packet to the receiver on the sender's processor and in the sender's time, so the CPU time
//! of the sending thread (and of that processor's ksoftirqd) is all that a packet costs; that of other programs, which
//! `/proc/stat` would add, does not show in it. Packets for another network card are thrown away as soon as they were
//! received: they are what sending and receiving costs. What banned ones take beyond that is the ban's.

use std::io::Read;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrV4, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::generate::Random;
use crate::lab::{CONTROL, Host, SERVER4, World, pillory};
use crate::process::{Measured, scratch, world};
use crate::table::{Table, digits};

const BANS: usize = 1_000_000;
const RATE: f64 = 100_000.0;
/// Of each sort, one after the other, so often.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// Behind the cable, with a card that is not there.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";

/// The share of one core, and how many a second one core can take.
pub fn measure(table: &mut Table) {
    let world = world();
    world.server.write("/var/log/auth.log", "");
    let state_dir = scratch("packets");
    let daemon = Measured::start(&world.server, CONFIG, &state_dir).expect("the daemon starts");
    let banned = Random::new(23).addresses(BANS);
    let before = daemon.cpu();
    import(&world, &state_dir.join("list"), &banned);
    let cpu = (daemon.cpu() - before).as_secs_f64();
    table.note(format!("import of {BANS} addresses: CPU of the daemon"), format!("{} s", digits(cpu)));
    table.note(
        "  memory of the daemon after it (VmRSS)",
        format!("{:.0} MiB", daemon.memory_kib("VmRSS") as f64 / 1024.0),
    );
    report(table, rounds(&world, &banned));
    // It is not stopped in order, which would say and write a million bans once more.
    drop(daemon);
}

/// Nanoseconds a packet: received only, banned, not banned, and banned ones as fast as it goes.
fn rounds(world: &World, banned: &[Ipv4Addr]) -> [f64; 4] {
    let nobody = format!("neigh replace {NOBODY} lladdr 02:00:00:00:00:77 dev eth0 nud permanent\n");
    world.client.ip_batch(&nobody);
    let strangers: Vec<Ipv4Addr> = (0..=255).map(|last| Ipv4Addr::new(203, 0, 113, last)).collect();
    let server = match SERVER4 {
        std::net::IpAddr::V4(addr) => addr,
        std::net::IpAddr::V6(_) => unreachable!("the server has an IPv4 address"),
    };
    let sorts = [
        (banned, NOBODY, Some(RATE)),
        (banned, server, Some(RATE)),
        (strangers.as_slice(), server, Some(RATE)),
        (banned, server, None),
    ];
    let mut each = [const { Vec::new() }; 4];
    for begin in 0..ROUNDS {
        for (sort, (from, to, rate)) in sorts.iter().enumerate() {
            // Each round goes on where the last one ended, so that in the end all have tried.
            let from = from.iter().cycle().skip(begin * BANS / ROUNDS);
            each[sort].push(round(world, from, *to, *rate, sort != 2));
        }
    }
    each.map(median)
}

fn report(table: &mut Table, [received, dropped, taken, flood]: [f64; 4]) {
    let share = |nanoseconds: f64| nanoseconds * RATE / 1e7;
    table.promise(
        format!("{RATE} packets/s of {BANS} banned addresses: share of a core beyond receiving"),
        share(dropped - received),
        10.0,
        "%",
    );
    table.note("  sending and receiving alone", format!("{} %", digits(share(received))));
    table.note(
        "  not banned, to a closed port, beyond receiving",
        format!("{} %", digits(share(taken - received))),
    );
    table.note("  a ban's look-up and drop", format!("{:.0} ns a packet", dropped - received));
    table.note("  packets a second that one core sends and drops", format!("{:.0}", 1e9 / flood));
}

fn import(world: &World, list: &std::path::Path, banned: &[Ipv4Addr]) {
    let text: String = banned.iter().map(|addr| format!("{addr}\n")).collect();
    std::fs::write(list, text).expect("the list is written");
    let answer = pillory(&world.server, &["import", &list.display().to_string(), "--control", CONTROL]);
    assert_eq!(answer.code, Some(0), "the list is imported: {}", answer.err);
}

/// Nanoseconds of CPU time a packet; as fast as it goes without a rate.
fn round<'a>(
    world: &World,
    from: impl Iterator<Item = &'a Ipv4Addr> + Send,
    to: Ipv4Addr,
    rate: Option<f64>,
    is_dropped: bool,
) -> f64 {
    let before = Counters::read(&world.server);
    let (sent, cpu) = world.client.in_network(|| send(from, to, rate));
    let after = Counters::read(&world.server);
    assert!(after.received - before.received >= sent, "every packet was received");
    let delivered = after.delivered - before.delivered;
    // The neighbours' own protocol delivers nothing to IP.
    assert_eq!(delivered == 0, is_dropped, "{delivered} of {sent} were delivered");
    cpu.as_secs_f64() * 1e9 / sent as f64
}

/// Packets that a host's card has received, and that IP has handed on.
struct Counters {
    received: u64,
    delivered: u64,
}

impl Counters {
    fn read(host: &Host) -> Counters {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/net/{name}", host.pid())).expect("it lives")
        };
        let dev = read("dev");
        let card = dev.lines().find_map(|line| line.trim().strip_prefix("eth0:")).expect("it has a card");
        let received = card.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        // Two lines: the names, the numbers.
        let snmp = read("snmp");
        let mut ip = snmp.lines().filter_map(|line| line.strip_prefix("Ip: ")).map(str::split_whitespace);
        let at =
            ip.next().and_then(|mut names| names.position(|name| name == "InDelivers")).expect("it counts");
        let delivered = ip.next().and_then(|mut numbers| numbers.nth(at)?.parse().ok());
        Counters { received: received.expect("a number"), delivered: delivered.expect("a number") }
    }
}

/// How many packets were sent, and the CPU time of all of it.
fn send<'a>(
    mut from: impl Iterator<Item = &'a Ipv4Addr>,
    to: Ipv4Addr,
    rate: Option<f64>,
) -> (u64, Duration) {
    let processor = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).expect("a thread may stay on a processor");
    let flags = SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::RAW)).expect("root may");
    send_one(&socket, *from.next().expect("it goes round"), to);
    let (before, began) = (cpu(processor), Instant::now());
    let mut sent = 0;
    while began.elapsed() < ROUND {
        let due = rate.map_or(sent + 100, |rate| (began.elapsed().as_secs_f64() * rate) as u64);
        while sent < due {
            send_one(&socket, *from.next().expect("it goes round"), to);
            sent += 1;
        }
        if rate.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    (sent, cpu(processor) - before)
}

/// A UDP packet of 46 bytes to port 9; the kernel adds length and checksum of the header.
fn send_one(socket: &OwnedFd, from: Ipv4Addr, to: Ipv4Addr) {
    let mut packet = [0; 46];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[20..26].copy_from_slice(&[0x9c, 0x40, 0, 9, 0, 26]);
    sendto(socket, &packet, SendFlags::empty(), &SocketAddrV4::new(to, 0)).expect("the packet is sent");
}

/// CPU time of this thread, and of what the kernel does on this processor when there is much to receive.
fn cpu(processor: usize) -> Duration {
    let spent = |task: &str| {
        let text = std::fs::read_to_string(format!("/proc/{task}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    let name = format!("ksoftirqd/{processor}\n");
    let is_named =
        |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == name);
    let mut pids = std::fs::read_dir("/proc")
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let deferred = pids.find(is_named).and_then(|pid| spent(&pid)).unwrap_or_default();
    spent("thread-self").expect("the scheduler counts") + deferred + interrupts(processor)
}

/// Time in soft interrupts on this processor, if the kernel keeps it apart from the time of the threads that they come
/// upon (`CONFIG_IRQ_TIME_ACCOUNTING`); where it does not, it is part of that.
fn interrupts(processor: usize) -> Duration {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut config = std::fs::read_to_string(format!("/boot/config-{}", release.trim())).unwrap_or_default();
    if let Ok(packed) = std::fs::File::open("/proc/config.gz") {
        flate2::read::GzDecoder::new(packed).read_to_string(&mut config).expect("the kernel packs well");
    }
    if !config.contains("CONFIG_IRQ_TIME_ACCOUNTING=y") {
        return Duration::ZERO;
    }
    // proc(5): user, nice, system, idle, iowait, irq, softirq, in hundredths of a second.
    let stat = std::fs::read_to_string("/proc/stat").expect("it is there");
    let line =
        stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{processor} "))).expect("it counts");
    let ticks = line.split_whitespace().nth(6).and_then(|word| word.parse::<u64>().ok()).expect("a number");
    Duration::from_millis(ticks * 10)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
