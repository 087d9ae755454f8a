use super::*;
use pillory_core::event::{Event, Line};
use pillory_core::filter::{Filter, Verdict};
use std::io::Write;

fn remove(path: &Path) {
    std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path)).unwrap();
    // Each has a directory of its own.
    let _ = path.parent().map(std::fs::remove_dir);
}

fn temporary(name: &str, content: &[u8]) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("pillory-scan-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn lines_of(content: &[u8]) -> Vec<usize> {
    let path = temporary(&format!("lines-{}", content.len()), content);
    let mut pieces = past::open(&path).unwrap().into_pieces();
    let mut lengths = Vec::new();
    while let Some(piece) = pieces.lines() {
        lengths.extend(piece.split(|b| *b == b'\n').map(<[u8]>::len));
    }
    remove(&path);
    lengths
}

#[test]
fn lines_are_whole_and_long_ones_cut() {
    assert_eq!(lines_of(b"a\nbb\n\nccc"), [1, 2, 0, 3]);
    let mut long = vec![b'x'; 5_000_000];
    long.extend_from_slice(b"\nnext\n");
    assert_eq!(lines_of(&long), [crate::sources::MAX_LINE_BYTES, 4]);
    let many = b"0123456789\n".repeat(300_000);
    let lengths = lines_of(&many);
    assert_eq!((lengths.len(), lengths.iter().all(|length| *length == 10)), (300_000, true));
}

#[test]
fn a_packed_log_is_unpacked() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"one\ntwo\n").unwrap();
    let path = temporary("packed.gz", &packed.finish().unwrap());
    let opened = past::open(&path).unwrap();
    assert_eq!((opened.format, opened.head.as_slice()), (Format::Text, b"one\ntwo\n".as_slice()));
    remove(&path);
}

#[test]
fn a_directory_is_refused_with_the_cure() {
    let path = temporary("x", b"");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(&path).unwrap();
    let refused = past::open(&path).err().unwrap();
    remove(&path);
    assert!(refused.contains("directory") && refused.contains("name the files"), "{refused}");
}

fn scanner(only: Option<&str>) -> Scanner {
    Scanner::new(&resolve::default_config(), only).unwrap_or_else(|_| panic!("jails"))
}

/// What was added up, as text.
fn sums(scanner: &mut Scanner) -> String {
    let tally = &mut scanner.judging.tally;
    let minutes = tally.minutes();
    let (users, sources) = (tally.users(1000), tally.sources());
    format!("{} {} {users:?} {sources:?} {minutes:?}", tally.failures(), tally.successes())
}

#[test]
fn what_is_judged_together_adds_up_to_the_same() {
    let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
    let (mut together, mut alone) = (scanner(Some("sshd")), scanner(Some("sshd")));
    let line = |at: u32| {
        let (minute, pid, host) = (at / 60 % 60, at * 7 % 50, at * 13 % 29);
        let what =
            ["Invalid user oracle from", "Failed password for root from", "Accepted password for bob from"];
        let (what, second) = (what[(at * at % 3) as usize], at % 60);
        format!("Nov 22 07:{minute:02}:{second:02} vm sshd[{pid}]: {what} 192.0.2.{host} port {pid} ssh2")
    };
    let lines: Vec<String> = (0..3000).map(line).collect();
    let Scanner { reading, judging, .. } = &mut together;
    let mut sieve = reading.sieve(&[0]);
    let text = lines.join("\n");
    let count = reading.lines((&[0], &mut sieve), text.as_bytes(), &clock, |read| judging.put_off(read));
    judging.count_pending();
    for line in &lines {
        let Scanner { reading, judging, .. } = &mut alone;
        let line = Line { bytes: line.as_bytes(), stamp: None };
        reading.line(&[0], &line, &clock, |read| judging.put_off(read));
        judging.count_pending();
    }
    assert_eq!((count, sums(&mut together)), (3000, sums(&mut alone)));
    assert!(together.judging.tally.failures() > 100, "{}", together.judging.tally.failures());
}

#[test]
fn login_records_that_are_judged_together_add_up_to_the_same() {
    let (mut together, mut alone) = (scanner(Some("sshd")), scanner(Some("sshd")));
    let layout = Layout::ALL[0];
    let record = |at: u32| {
        let mut record = vec![0; layout.record_bytes()];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &6i16.to_le_bytes());
        put(4, &(1 + at * 7 % 50).to_le_bytes());
        put(44, [&b"root"[..], b"oracle", b"bob\xff", b""][(at * at % 4) as usize]);
        put(340, &(1_790_000_000 + at * 3).to_le_bytes());
        put(348, &[192, 0, 2, (at * 13 % 29) as u8]);
        record
    };
    let records: Vec<Vec<u8>> = (0..3000).map(record).collect();
    let read = |scanner: &mut Scanner, records: &[u8]| {
        let counts = reading::records(0, layout, records, &[], |read| scanner.judging.put_off(read));
        scanner.judging.count_pending();
        counts
    };
    let counts = read(&mut together, &records.concat());
    for record in &records {
        read(&mut alone, record);
    }
    assert_eq!((counts, sums(&mut together)), ((0, 3000), sums(&mut alone)));
    assert!(together.judging.tally.failures() > 100, "{}", together.judging.tally.failures());
}

/// What the filters of these jails make of a text line by line, each asked by itself, as the daemon asks them.
fn line_by_line(jails: &[&str], text: &str, clock: &Clock) -> Vec<Event> {
    let config = resolve::default_config();
    let jails =
        jails.iter().map(|name| config.jails.iter().find(|jail| jail.name.as_str() == *name).unwrap());
    let mut filters: Vec<Filter> = jails.map(|jail| Filter::compile(&jail.filter).unwrap()).collect();
    let mut events = Vec::new();
    for bytes in text.split('\n').map(str::as_bytes) {
        for filter in &mut filters {
            if let Verdict::Event(event) = filter.judge(&Line { bytes, stamp: None }, clock) {
                events.push(event);
            }
        }
    }
    events
}

/// Asserts that a scan, which reads in pieces, finds the same.
fn assert_that_a_scan_finds_the_same(names: &[&str], text: &str, is_sieved: bool) {
    let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
    let mut scanner = scanner(None);
    let known = scanner.reading.names();
    let jails: Vec<usize> =
        names.iter().map(|name| known.iter().position(|known| known == name).unwrap()).collect();
    scanner.collect();
    let Scanner { reading, judging, .. } = &mut scanner;
    let mut sieve = reading.sieve(&jails);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for piece in lines.chunks(500) {
        let piece = piece.concat();
        reading.lines((&jails, &mut sieve), piece.as_bytes(), &clock, |read| judging.put_off(read));
    }
    judging.count_pending();
    assert_eq!(sieve.is_in_use(), is_sieved);
    let found = scanner.into_collected().seen.into_iter().map(|seen| seen.event);
    let found: Vec<Event> = found.collect();
    let wanted = line_by_line(names, text, &clock);
    assert!(wanted.len() > 50, "{}", wanted.len());
    found.iter().zip(&wanted).for_each(|(found, wanted)| assert_eq!(found, wanted));
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn a_scan_finds_what_the_daemon_finds_line_by_line() {
    let samples = |name: &str| {
        let path = format!("{}/../core/samples/{name}.log", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        // Each also with other digits.
        text.clone() + &text.replace('3', "7").replace("port 4", "port 5")
    };
    let sieved = ["dropbear", "proftpd", "sshd", "vsftpd", "wordpress"];
    let all = sieved.iter().chain(&["dovecot", "postfix-sasl"]).map(|name| samples(name)).collect::<String>();
    let noise = "Nov 22 07:57:11 vm CRON[7]: nothing\n\n".repeat(4);
    let thin: String = all.lines().map(|line| format!("{noise}{line}\n")).collect();
    let failed = |line: &&str| line.contains("Failed ") || line.contains("Invalid ");
    let dense: String = samples("sshd").lines().filter(failed).map(|line| format!("{line}\n")).collect();
    assert_that_a_scan_finds_the_same(&sieved, &dense.repeat(9), false);
    assert_that_a_scan_finds_the_same(&sieved, &thin, true);
    assert_that_a_scan_finds_the_same(&["sshd", "dovecot", "postfix-sasl"], &thin, false);
}

#[test]
fn what_a_crew_reads_adds_up_to_the_same() {
    let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
    let line = |at: u32| {
        let (minute, second, pid, host) = (at / 60 % 60, at % 60, at * 7 % 5_000, at * 13 % 251);
        let what = [
            "sshd: Invalid user oracle from",
            "sshd: Failed password for root from",
            "sshd: Accepted password for bob from",
            "vsftpd: [web] FAIL LOGIN: Client",
            "CRON: nothing of",
        ][(at * at % 5) as usize];
        let (program, said) = what.split_once(": ").unwrap();
        format!(
            "Nov 22 07:{minute:02}:{second:02} vm {program}[{pid}]: {said} 192.0.2.{host} port {pid} ssh2\n"
        )
    };
    let text: String = (0..30_000).map(line).collect();
    let path = temporary("crew", text.as_bytes());
    let pieces = || past::open(&path).unwrap().into_pieces();
    let (mut crew, mut alone) = (scanner(None), scanner(None));
    let jails = crew.reading.all();
    let count =
        crew::read(&mut pieces(), &mut crew, &jails, &clock, &mut Progress::new(0, String::new())).unwrap();
    let Scanner { reading, judging, .. } = &mut alone;
    let (mut sieve, mut lines) = (reading.sieve(&jails), pieces());
    while let Some(lines) = lines.lines() {
        reading.lines((&jails, &mut sieve), lines, &clock, |read| judging.put_off(read));
        judging.count_pending();
    }
    remove(&path);
    assert_eq!((count, sums(&mut crew)), (30_000, sums(&mut alone)));
    assert!(crew.judging.tally.failures() > 1_000, "{}", crew.judging.tally.failures());
}

#[test]
fn a_scan_is_drawn_as_wide_as_the_terminal() {
    use crate::cli::golden::{self, Input};
    golden::hold_the_clock();
    for (name, days) in [("scan", 1), ("scan-days", 9)] {
        let input = Input::new(name, &golden::attacks_of_days(days));
        let mut scanner = Scanner::new(&pillory_core::config::resolve::default_config(), None).unwrap();
        let file = ToRead { path: input.0.clone(), by: By::Content };
        let (scanned, unread) = read(std::iter::once(file), &mut scanner);
        let names = scanner.reading.names();
        golden::check(name, |screen| {
            let place = (&clock::zone(), screen);
            let text = report::text((&scanned, unread.len()), &mut scanner.judging.tally, &names, place);
            text.replace(&input.0.display().to_string(), "/var/log/auth.log")
        });
    }
}

#[test]
fn progress_is_a_bar_of_what_is_done() {
    assert_eq!(progress_bar(1_500_000, 3_000_000), format!("[{}{}]  50 %", "#".repeat(15), ".".repeat(15)));
    assert!(progress_bar(0, 0).starts_with("[..") && progress_bar(9, 9).starts_with("[##"));
}
