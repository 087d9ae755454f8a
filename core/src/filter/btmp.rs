//! Login records (utmp form): failed logins from btmp, good ones from wtmp.
//!
//! sshd writes one record more per connection for an unknown user: n + 1 records of one pid for n tries, the extra
//! one up to two seconds apart; for a known user n. So every record is an event of kind 1 that names its process,
//! and the jail, which knows the accounts, turns the first record of a connection whose user is no account into
//! kind 0: the connection then counts the larger of 1 and n.
//!
//! A record's bytes are what the writer had: the name may hold newlines and escapes and need not end in NUL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Verdict;
use crate::event::{Class, Connection, Event, Outcome, UserName};
use crate::net::canonical;
use crate::time::Timestamp;

/// `ut_type` of a failed login as btmp holds it (LOGIN_PROCESS).
const FAILED: i16 = 6;
/// `ut_type` of a session of a user (USER_PROCESS).
const SESSION: i16 = 7;

const PID: usize = 4;
const USER: usize = 44;
const USER_BYTES: usize = 32;
const HOST: usize = 76;
const HOST_BYTES: usize = 256;

/// How a machine lays out its login records.
/// Source: glibc `bits/utmp.h`: times are 32 bits wide where a 32-bit variant of the machine exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    wide: bool,
    big_endian: bool,
}

impl Layout {
    /// Every layout that is known; x86_64 first.
    pub const ALL: [Layout; 4] = [
        Layout { wide: false, big_endian: false },
        Layout { wide: true, big_endian: false },
        Layout { wide: false, big_endian: true },
        Layout { wide: true, big_endian: true },
    ];

    /// The layout of the machine that this was built for.
    pub const fn native() -> Layout {
        let wide = cfg!(any(
            target_arch = "aarch64",
            target_arch = "s390x",
            target_arch = "riscv64",
            target_arch = "loongarch64"
        ));
        Layout { wide, big_endian: cfg!(target_endian = "big") }
    }

    /// The layout that fits the most of a file's first records; [`Layout::native`] if none fits better.
    ///
    /// `head`: the beginning of the file, a few kilobytes are enough.
    pub fn detect(head: &[u8]) -> Layout {
        let fitting = |layout: Layout| {
            head.chunks_exact(layout.record_bytes())
                .take(32)
                .filter(|record| layout.is_plausible(record))
                .count()
        };
        let mut best = Layout::native();
        for layout in Layout::ALL {
            if fitting(layout) > fitting(best) {
                best = layout;
            }
        }
        best
    }

    /// As [`Layout::detect`], but nothing unless most of the first records fit: then the bytes are no login records.
    pub fn find(head: &[u8]) -> Option<Layout> {
        let layout = Layout::detect(head);
        let records = head.chunks_exact(layout.record_bytes()).take(32);
        let (count, fitting) = (records.len(), records.filter(|record| layout.is_plausible(record)).count());
        (fitting * 2 > count).then_some(layout)
    }

    /// Length of a record: 384 or 400 bytes.
    pub const fn record_bytes(self) -> usize {
        if self.wide { 400 } else { 384 }
    }

    /// True if the record looks like a login record of this layout.
    pub fn is_plausible(self, record: &[u8]) -> bool {
        /// 1990 to 2100; nobody keeps older or newer login records.
        const YEARS: std::ops::Range<i64> = 631_152_000..4_102_444_800;
        let known_type = self.kind(record).is_some_and(|kind| (1..=9).contains(&kind));
        let padded = record.get(2..PID) == Some(&[0, 0]);
        let micros = self.time_field(record, 1);
        known_type
            && padded
            && self.time_field(record, 0).is_some_and(|secs| YEARS.contains(&secs))
            && micros.is_some_and(|micros| (0..1_000_000).contains(&micros))
    }

    fn kind(self, record: &[u8]) -> Option<i16> {
        let bytes = bytes::<2>(record, 0)?;
        Some(if self.big_endian { i16::from_be_bytes(bytes) } else { i16::from_le_bytes(bytes) })
    }

    fn pid(self, record: &[u8]) -> Option<u32> {
        let bytes = bytes::<4>(record, PID)?;
        let pid = if self.big_endian { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) };
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// Field 0 is the seconds, 1 the microseconds.
    fn time_field(self, record: &[u8], field: usize) -> Option<i64> {
        if self.wide {
            let bytes = bytes::<8>(record, 344 + field * 8)?;
            return Some(if self.big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) });
        }
        let bytes = bytes::<4>(record, 340 + field * 4)?;
        // Unsigned: so they last until 2106.
        Some(i64::from(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }))
    }

    fn stamp(self, record: &[u8]) -> Option<Timestamp> {
        let secs = self.time_field(record, 0).filter(|secs| (1..1 << 40).contains(secs))?;
        let micros = self.time_field(record, 1).filter(|micros| (0..1_000_000).contains(micros)).unwrap_or(0);
        Some(Timestamp::from_millis(secs * 1000 + micros / 1000))
    }

    /// From `ut_addr_v6`, which is in network order everywhere, or from a literal address in `ut_host`.
    fn addr(self, record: &[u8]) -> Option<IpAddr> {
        let field = bytes::<16>(record, if self.wide { 360 } else { 348 })?;
        let host = until_nul(record.get(HOST..HOST + HOST_BYTES)?);
        let literal = || std::str::from_utf8(host).ok()?.parse::<IpAddr>().ok();
        let v6 = IpAddr::V6(Ipv6Addr::from(field));
        let addr = match field {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => literal()?,
            // An IPv4 address stands in the first word. So would an IPv6 address that ends in twelve zero bytes:
            // then the text tells.
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
                if !host.contains(&b':') || literal() != Some(v6) =>
            {
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            _ => v6,
        };
        Some(canonical(addr)).filter(|addr| !addr.is_unspecified())
    }
}

/// Judges a record of btmp: a failed login with an address, or a miss.
///
/// `record`: the raw bytes; shorter than [`Layout::record_bytes`] is a miss. Names are never resolved.
pub fn failed_login(layout: Layout, record: &[u8]) -> Verdict {
    let outcome = |user: Option<&str>| Outcome::Failure {
        class: if user == Some("root") { Class::Root } else { Class::KnownUser },
        kind: 1,
        attempts: 1,
    };
    event(layout, record, FAILED, outcome)
}

/// Judges a record of wtmp: a session that began from an address, or a miss.
pub fn good_login(layout: Layout, record: &[u8]) -> Verdict {
    event(layout, record, SESSION, |_| Outcome::Success)
}

fn event(layout: Layout, record: &[u8], kind: i16, outcome: impl FnOnce(Option<&str>) -> Outcome) -> Verdict {
    if record.len() < layout.record_bytes() || layout.kind(record) != Some(kind) {
        return Verdict::Miss;
    }
    let Some(addr) = layout.addr(record) else { return Verdict::Miss };
    let user = record.get(USER..USER + USER_BYTES).map(until_nul).filter(|user| !user.is_empty());
    let user = user.map(name);
    let pid = layout.pid(record);
    Verdict::Event(Event {
        stamp: layout.stamp(record),
        addr,
        outcome: outcome(user.as_deref()),
        user,
        connection: pid.map(|pid| Connection { host: 0, pid: Some(pid), port: None }),
        forwarded: Vec::new(),
    })
}

/// Nearly always it is text, which is told sooner than it is made whole.
fn name(user: &[u8]) -> UserName {
    match std::str::from_utf8(user) {
        Ok(text) => UserName::from(text),
        Err(_) => UserName::from(String::from_utf8_lossy(user)),
    }
}

fn bytes<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..at + N)?.try_into().ok()
}

fn until_nul(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Written<'a> {
        kind: i16,
        pid: i32,
        user: &'a [u8],
        host: &'a [u8],
        secs: i64,
        addr: [u8; 16],
    }

    const PLAIN: Written<'_> = Written {
        kind: 6,
        pid: 4242,
        user: b"root",
        host: b"192.0.2.66",
        secs: 1_795_334_231,
        addr: [192, 0, 2, 66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    fn put(record: &mut [u8], layout: Layout, at: usize, little: &[u8]) {
        let field = &mut record[at..at + little.len()];
        field.copy_from_slice(little);
        if layout.big_endian {
            field.reverse();
        }
    }

    fn record(layout: Layout, written: &Written<'_>) -> Vec<u8> {
        let mut record = vec![0; layout.record_bytes()];
        put(&mut record, layout, 0, &written.kind.to_le_bytes());
        put(&mut record, layout, PID, &written.pid.to_le_bytes());
        record[8..17].copy_from_slice(b"ssh:notty");
        record[USER..USER + written.user.len()].copy_from_slice(written.user);
        record[HOST..HOST + written.host.len()].copy_from_slice(written.host);
        let addr = if layout.wide {
            put(&mut record, layout, 344, &written.secs.to_le_bytes());
            360
        } else {
            put(&mut record, layout, 340, &(written.secs as u32).to_le_bytes());
            348
        };
        record[addr..addr + 16].copy_from_slice(&written.addr);
        record
    }

    fn addr_of(written: &Written<'_>) -> Option<String> {
        match failed_login(Layout::ALL[0], &record(Layout::ALL[0], written)) {
            Verdict::Event(event) => Some(event.addr.to_string()),
            _ => None,
        }
    }

    #[test]
    fn reads_and_detects_every_layout() {
        for layout in Layout::ALL {
            let record = record(layout, &PLAIN);
            let file = record.repeat(5);
            assert_eq!(Layout::detect(&file), layout);
            let Verdict::Event(event) = failed_login(layout, &record) else { panic!("{layout:?}") };
            assert_eq!(event.addr.to_string(), "192.0.2.66");
            assert_eq!(event.user.as_deref(), Some("root"));
            assert_eq!(event.stamp, Some(Timestamp::from_secs(1_795_334_231)));
            assert_eq!(event.connection.unwrap().pid, Some(4242));
        }
        assert_eq!(Layout::detect(b"no record"), Layout::native());
    }

    #[test]
    fn the_address_is_the_one_of_the_connection() {
        let none = [0; 16];
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 66];
        let short = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (host, addr, read) in [
            (&b"203.0.113.5.attacker.example"[..], PLAIN.addr, Some("192.0.2.66")),
            (b"192.0.2.66", none, Some("192.0.2.66")),
            (b"192.0.2.66\x00203.0.113.5", none, Some("192.0.2.66")),
            (b"::ffff:192.0.2.66", mapped, Some("192.0.2.66")),
            (b"2001:db8::", short, Some("2001:db8::")),
            (b"name.example", short, Some("32.1.13.184")),
            (b"name.example", none, None),
            (b"0", none, None),
            (b":0", none, None),
            (b"0.0.0.0", none, None),
            (b"", none, None),
        ] {
            assert_eq!(addr_of(&Written { host, addr, ..PLAIN }).as_deref(), read, "{host:?}");
        }
    }

    #[test]
    fn a_name_may_fill_its_field_and_hold_anything() {
        let user = b"a\nb\x1b[2J\xff cdefghijklmnopqrstuvwxyz"[..].first_chunk::<32>().unwrap();
        let Verdict::Event(event) =
            failed_login(Layout::ALL[0], &record(Layout::ALL[0], &Written { user, ..PLAIN }))
        else {
            panic!("no event")
        };
        assert_eq!(event.user.unwrap().chars().count(), 32);
    }

    #[test]
    fn other_types_and_short_records_are_misses() {
        let layout = Layout::ALL[0];
        let good = record(layout, &PLAIN);
        assert_eq!(failed_login(layout, &good[..383]), Verdict::Miss);
        assert_eq!(good_login(layout, &good), Verdict::Miss);
        for kind in [0, 7, 8, 0x7fff, -1] {
            assert_eq!(failed_login(layout, &record(layout, &Written { kind, ..PLAIN })), Verdict::Miss);
        }
        let session = record(layout, &Written { kind: 7, ..PLAIN });
        assert!(
            matches!(good_login(layout, &session), Verdict::Event(event) if event.outcome == Outcome::Success)
        );
    }

    #[test]
    fn a_time_of_zero_is_no_time() {
        let layout = Layout::ALL[0];
        let Verdict::Event(event) = failed_login(layout, &record(layout, &Written { secs: 0, ..PLAIN }))
        else {
            panic!("no event")
        };
        assert_eq!(event.stamp, None);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            let layout = Layout::detect(&bytes);
            failed_login(layout, &bytes);
            good_login(layout, &bytes);
        }
    }
}
