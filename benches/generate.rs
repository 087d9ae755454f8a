//! Workloads, made anew each time from a seed: addresses, lines of sshd and its neighbours, btmp records.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Sebastiano Vigna's splitmix64: small, and the same everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One of these.
    pub fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).expect("it fits")]
    }

    /// Few attackers send most of the attempts: the cube of an even share.
    pub fn skewed<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        &items[(share * share * share * items.len() as f64) as usize]
    }

    /// So many public IPv4 addresses, all different.
    pub fn addresses(&mut self, count: usize) -> Vec<Ipv4Addr> {
        let mut seen = HashSet::with_capacity(count);
        let mut found = Vec::with_capacity(count);
        while found.len() < count {
            let addr = Ipv4Addr::from(u32::try_from(self.next() >> 32).expect("32 bits"));
            let is_public = (1..=223).contains(&addr.octets()[0])
                && ![10, 100, 127, 169, 172, 192, 198, 203].contains(&addr.octets()[0]);
            if is_public && seen.insert(addr) {
                found.push(addr);
            }
        }
        found
    }
}

/// A user name whose first attempt bans.
pub const NOTORIOUS: &str = "oracle";

/// The line that sshd writes for an unknown user, stamped with this moment.
pub fn unknown_user(addr: Ipv4Addr, pid: u64) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let stamp = now.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
    format!("{stamp} server sshd[{pid}]: Invalid user {NOTORIOUS} from {addr} port 40022\n")
}

/// The line that sshd writes for a wrong password, stamped with this moment.
pub fn failed(addr: Ipv4Addr, pid: u64, user: &str) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let stamp = now.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
    format!("{stamp} server sshd[{pid}]: Failed password for {user} from {addr} port 40022 ssh2\n")
}

/// A record of utmp(5) as sshd writes it to btmp on 64-bit glibc: 384 bytes.
pub fn btmp_record(addr: Ipv4Addr, user: &str, pid: u32, time: (i32, i32)) -> [u8; 384] {
    let mut record = [0; 384];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &6i16.to_ne_bytes());
    put(4, &pid.to_ne_bytes());
    put(8, b"ssh:notty");
    put(44, user.as_bytes());
    put(76, addr.to_string().as_bytes());
    put(340, &time.0.to_ne_bytes());
    put(344, &time.1.to_ne_bytes());
    put(348, &addr.octets());
    record
}

const GUESSED: [&str; 16] = [
    "admin",
    "test",
    "oracle",
    "ubuntu",
    "user",
    "postgres",
    "git",
    "ftp",
    "mysql",
    "nagios",
    "hadoop",
    "jenkins",
    "pi",
    "guest",
    "www",
    "minecraft",
];
/// The first second of generated logs: 2026-01-02 00:00 UTC.
pub const BEGIN: i64 = 1_767_312_000;
/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// Writes an auth.log of one day under attack: six lines of ten are sshd's.
pub fn auth_log(path: &Path, lines: u64, attackers: usize) -> std::io::Result<()> {
    auth_log_of_days(path, lines, attackers, 1)
}

/// The same, spread over so many days.
pub fn auth_log_of_days(path: &Path, lines: u64, attackers: usize, days: u64) -> std::io::Result<()> {
    let mut random = Random::new(1);
    let addresses = random.addresses(attackers);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut written = 0;
    let mut messages = Vec::new();
    let (mut last, mut stamp) = (-1, String::new());
    while written < lines {
        messages.clear();
        if random.below(20) < 8 {
            noise(&mut random, &mut messages);
        } else {
            attack(&mut random, *random_address(&addresses, written), &mut messages);
        }
        let since = u128::from(written) * u128::from(DAY * days) / u128::from(lines);
        let second = BEGIN + i64::try_from(since).expect("small");
        if second != last {
            last = second;
            let time = Timestamp::from_second(second).expect("a time").to_zoned(TimeZone::UTC);
            stamp.clear();
            write!(stamp, "{}", time.strftime("%b %e %H:%M:%S")).expect("a string takes it");
        }
        for message in messages.iter().take(usize::try_from(lines - written).expect("it fits")) {
            writeln!(out, "{stamp} server {message}")?;
            written += 1;
        }
    }
    out.flush()
}

/// Writes an auth.log of so many days in which each source tries once: a botnet. `names`: so many names that nobody has,
/// all alike; 0 is root at half of the tries and names that many guess.
pub fn auth_log_of_single_tries(path: &Path, sources: usize, days: u64, names: usize) -> std::io::Result<()> {
    let mut random = Random::new(5);
    let addresses = random.addresses(sources);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    for (at, addr) in (0..).zip(&addresses) {
        let since = i64::try_from(at * DAY * days / sources as u64).expect("small");
        let time = Timestamp::from_second(BEGIN + since).expect("a time").to_zoned(TimeZone::UTC);
        let stamp = time.strftime("%b %e %H:%M:%S");
        let (pid, port) = (1_000 + random.below(4_000_000), 1_024 + random.below(64_512));
        let known = names == 0 && random.below(2) == 0;
        let user = match names {
            0 if known => "root".to_owned(),
            0 => random.pick(&GUESSED).to_string(),
            names => format!("nobody{}", random.below(names as u64)),
        };
        if !known {
            writeln!(out, "{stamp} server sshd[{pid}]: Invalid user {user} from {addr} port {port}")?;
        }
        let invalid = if known { "" } else { "invalid user " };
        writeln!(
            out,
            "{stamp} server sshd[{pid}]: Failed password for {invalid}{user} from {addr} port {port} ssh2"
        )?;
        writeln!(out, "{stamp} server sshd[{pid}]: Connection reset by {addr} port {port} [preauth]")?;
    }
    out.flush()
}

/// The attacker of a session, drawn by the number of the line at which it begins.
fn random_address(addresses: &[Ipv4Addr], at: u64) -> &Ipv4Addr {
    Random::new(at).skewed(addresses)
}

fn attack(random: &mut Random, addr: Ipv4Addr, lines: &mut Vec<String>) {
    let (pid, port) = (1_000 + random.below(4_000_000), 1_024 + random.below(64_512));
    let mut say = |text: String| lines.push(format!("sshd[{pid}]: {text}"));
    match random.below(100) {
        0..42 => {
            let user = if random.below(10) < 9 { "root" } else { "backup-agent" };
            say(format!(
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={addr}  user={user}"
            ));
            for _ in 0..=random.below(3) {
                say(format!("Failed password for {user} from {addr} port {port} ssh2"));
            }
            say(format!("Connection closed by authenticating user {user} {addr} port {port} [preauth]"));
        }
        42..86 => {
            let user = random.pick(&GUESSED);
            say(format!("Invalid user {user} from {addr} port {port}"));
            say("pam_unix(sshd:auth): check pass; user unknown".into());
            say(format!(
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={addr} "
            ));
            say(format!("Failed password for invalid user {user} from {addr} port {port} ssh2"));
            say(format!("Connection closed by invalid user {user} {addr} port {port} [preauth]"));
        }
        86..93 => say(format!("Connection closed by {addr} port {port} [preauth]")),
        93..96 => say(format!("banner exchange: Connection from {addr} port {port}: invalid format")),
        _ => say(format!("Connection reset by {addr} port {port} [preauth]")),
    }
}

fn noise(random: &mut Random, lines: &mut Vec<String>) {
    let pid = 1_000 + random.below(4_000_000);
    let user = random.pick(&["alice", "bob", "carol", "backup-agent"]);
    match random.below(10) {
        0..6 => {
            let pam = "pam_unix(cron:session): session";
            lines.push(format!("CRON[{pid}]: {pam} opened for user root(uid=0) by (uid=0)"));
            lines.push(format!("CRON[{pid}]: {pam} closed for user root"));
        }
        6..8 => {
            let terminal = random.below(9);
            lines.push(format!(
                "sudo: {user:>9} : TTY=pts/{terminal} ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/apt-get update"
            ));
            lines.push(format!(
                "sudo: pam_unix(sudo:session): session opened for user root(uid=0) by {user}(uid=1001)"
            ));
        }
        _ => {
            let (last, key) = (random.below(250), random.next());
            lines.push(format!(
                "sshd[{pid}]: Accepted publickey for {user} from 10.20.1.{last} port 50022 ssh2: ED25519 SHA256:{key:043x}"
            ));
            lines.push(format!(
                "sshd[{pid}]: pam_unix(sshd:session): session opened for user {user}(uid=1001) by (uid=0)"
            ));
            lines.push(format!("sshd[{pid}]: pam_unix(sshd:session): session closed for user {user}"));
        }
    }
}

/// Writes a btmp of one day under attack.
pub fn btmp(path: &Path, records: u64, attackers: usize) -> std::io::Result<()> {
    let mut random = Random::new(3);
    let addresses = random.addresses(attackers);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    for written in 0..records {
        let micros = u128::from(written) * u128::from(DAY) * 1_000_000 / u128::from(records);
        let second = BEGIN + i64::try_from(micros / 1_000_000).expect("small");
        let time = (
            i32::try_from(second).expect("before 2038"),
            i32::try_from(micros % 1_000_000).expect("below a million"),
        );
        let user = if random.below(4) == 0 { "root" } else { random.pick(&GUESSED) };
        let pid = u32::try_from(1_000 + random.below(4_000_000)).expect("small");
        out.write_all(&btmp_record(*random.skewed(&addresses), user, pid, time))?;
    }
    out.flush()
}
