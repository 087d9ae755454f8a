use super::*;

use std::path::PathBuf;

/// A directory of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("pillory-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const EMPTY: i16 = 0;
const SESSION: i16 = 7;
const DEAD: i16 = 8;

/// A record as this host's C library writes it. Source: utmp(5).
fn utmp(kind: i16, pid: u32, host: &[u8], addr: [u8; 16]) -> Vec<u8> {
    let size = btmp::Layout::native().record_bytes();
    let mut record = vec![0; size];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&pid.to_ne_bytes());
    record[8..13].copy_from_slice(b"pts/0");
    record[44..49].copy_from_slice(b"alice");
    record[76..76 + host.len()].copy_from_slice(host);
    let at = if size == 400 { 360 } else { 348 };
    record[at..at + 16].copy_from_slice(&addr);
    record
}

fn v4(last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[192, 0, 2, last]);
    bytes
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// The number of a process that has been and is no more.
fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

fn peers(records: &[Vec<u8>], name: &str) -> Vec<String> {
    let scratch = Scratch::new(name);
    let path = scratch.write("utmp", records.concat());
    utmp_peers(&path).iter().map(ToString::to_string).collect()
}

#[test]
fn accounts_come_from_passwd_alone() {
    let scratch = Scratch::new("passwd");
    let text = "root:x:0:0::/root:/bin/sh\nalice:x:1000::\n+nis::\n#x:\ngarbage\n:x:\n";
    let mut found: Vec<String> = accounts(&scratch.write("passwd", text)).into_iter().collect();
    found.sort();
    assert_eq!(found, ["alice", "root"]);
}

#[test]
fn utmp_tells_of_sessions_of_both_families_whose_process_lives() {
    let alive = std::process::id();
    let records = [
        utmp(SESSION, alive, b"home.example.net", v4(7)),
        utmp(SESSION, alive, b"2001:db8::7", v6("2001:db8::7")),
        utmp(SESSION, alive, b"192.0.2.9", v6("::ffff:192.0.2.9")),
        utmp(SESSION, dead_pid(), b"192.0.2.10", v4(10)),
        utmp(SESSION, 0, b"192.0.2.11", v4(11)),
        utmp(SESSION, u32::MAX, b"192.0.2.12", v4(12)),
        utmp(DEAD, alive, b"192.0.2.13", v4(13)),
        utmp(EMPTY, alive, b"192.0.2.14", v4(14)),
        utmp(SESSION, alive, b":0", [0; 16]),
        utmp(SESSION, alive, b"", [0; 16]),
    ];
    assert_eq!(peers(&records, "utmp-living"), ["192.0.2.7", "2001:db8::7", "192.0.2.9"]);
}

#[test]
fn what_is_no_utmp_tells_of_nobody_and_a_torn_end_hides_no_session() {
    let alive = std::process::id();
    let whole = utmp(SESSION, alive, b"192.0.2.7", v4(7));
    let torn = whole[..whole.len() - 1].to_vec();
    assert_eq!(peers(&[whole, torn.clone()], "utmp-torn"), ["192.0.2.7"]);
    assert!(peers(&[torn], "utmp-short").is_empty());
    assert!(peers(&[vec![0xff; 4_096]], "utmp-ff").is_empty());
    assert!(peers(&[b"REMOTE_HOST=192.0.2.7\n".repeat(200)], "utmp-text").is_empty());
    assert!(utmp_peers(Path::new("/nonexistent/utmp")).is_empty());
}

#[test]
fn logind_tells_of_the_far_end_of_each_session_that_has_one() {
    let scratch = Scratch::new("sessions");
    let session = |host: &str| format!("UID=1000\nUSER=alice\nREMOTE=1\n{host}SERVICE=sshd\n");
    scratch.write("1", session("REMOTE_HOST=192.0.2.7\n"));
    scratch.write("2", session("REMOTE_HOST=2001:db8::7\n"));
    scratch.write("3", session("REMOTE_HOST=::ffff:192.0.2.9\n"));
    // At the console, by a name, and what somebody who may choose a name could make of it.
    scratch.write("4", session(""));
    scratch.write("5", session("REMOTE_HOST=home.example.net\n"));
    scratch.write("6", session("DISPLAY=x REMOTE_HOST=203.0.113.1\n"));
    scratch.write("7", session("REMOTE_HOST=203.0.113.2 203.0.113.3\nREMOTE_HOST=203.0.113.4\n"));
    scratch.write("8", session("REMOTE_HOST=203.0.113.0/24\n"));
    scratch.write("9", b"\xff\xfeREMOTE_HOST=203.0.113.5\n");
    scratch.write("10", "");
    std::fs::create_dir_all(scratch.0.join("11.ref")).unwrap();
    let mut found: Vec<String> = logind_peers(&scratch.0).iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(found, ["192.0.2.7", "192.0.2.9", "2001:db8::7"]);
    assert!(logind_peers(Path::new("/nonexistent/sessions")).is_empty());
}
