//! What drills do to a log, whoever is drilled.

use std::fs::File;
use std::io::Write;

use crate::lab::{Host, LOG, failed_lines, say_skipped};

/// Bytes that look random and are the same each time.
pub(crate) fn garbage(count: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(count).collect()
}

/// Two lines that are no text.
pub(crate) fn write_garbage(host: &Host) {
    host.append(LOG, garbage(2 * 1024 * 1024));
    host.append(LOG, "\n");
    host.append(LOG, [0; 100_000]);
    host.append(LOG, "\n");
}

/// Failures of `addr` in UTF-16 of both byte orders.
pub(crate) fn write_utf_16(host: &Host, addr: &str) {
    let text: String = failed_lines(5000, 5, "root", addr);
    let marked = || "\u{feff}".encode_utf16().chain(text.encode_utf16());
    host.append(LOG, marked().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    host.append(LOG, marked().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    host.append(LOG, "\n");
}

/// A line of 100 MiB.
pub(crate) fn write_long_line(host: &Host) {
    let piece = vec![b'A'; 1024 * 1024];
    for _ in 0..100 {
        host.append(LOG, &piece);
    }
    host.append(LOG, "\n");
}

/// Failures stamped so many hours from now.
pub(crate) fn write_in_another_zone(host: &Host, hours: i64, addr: &str) {
    let stamp = jiff::Zoned::now().checked_add(jiff::Span::new().hours(hours)).expect("not so far away");
    let stamp = stamp.strftime("%b %e %H:%M:%S").to_string();
    for pid in 5000..5003 {
        let line = format!("Failed password for root from {addr} port {pid} ssh2");
        host.append(LOG, format!("{stamp} server sshd[{pid}]: {line}\n"));
    }
}

/// More notices than inotify keeps, for somebody who watches /var/log and does not listen; `None`, with a word, if
/// that takes too long.
pub(crate) fn overflow_notices(host: &Host) -> Option<()> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("inotify is there");
    let limit: u32 = limit.trim().parse().expect("a number");
    if limit > 200_000 {
        say_skipped(&format!("inotify keeps {limit} notices here; that is a lot of files to rename"));
        return None;
    }
    // Each renaming is two notices that cannot be merged with the one before.
    let (one, other) = (host.path("/var/log/noise.1"), host.path("/var/log/noise.2"));
    File::create(&one).expect("it is made").write_all(b"noise\n").expect("it is written");
    for _ in 0..limit / 2 + 1000 {
        std::fs::rename(&one, &other).expect("it is renamed");
        std::fs::rename(&other, &one).expect("and back");
    }
    Some(())
}

/// Fills the disk under a directory, a tmpfs of 1 MiB, to the last byte.
pub(crate) fn fill(host: &Host, directory: &str) -> File {
    let filler = vec![b'x'; 4096];
    let mut file = File::create(host.path(format!("{directory}/filler"))).expect("it opens");
    while file.write_all(&filler).is_ok() {}
    file
}

pub(crate) fn rename(host: &Host, from: &str, to: &str) {
    std::fs::rename(host.path(from), host.path(to)).expect("it is renamed");
}

pub(crate) fn set_mode(host: &Host, path: &str, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(host.path(path), mode).expect("the mode is set");
}
