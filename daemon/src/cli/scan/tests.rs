use super::*;
use pillory_core::event::Line;
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

/// What was added up, as text.
fn sums(judging: &mut Judging) -> String {
    let tally = &mut judging.tally;
    let minutes = tally.minutes();
    let (users, sources) = (tally.users(1000), tally.sources());
    format!("{} {} {users:?} {sources:?} {minutes:?}", tally.failures(), tally.successes())
}

#[test]
fn what_is_judged_together_adds_up_to_the_same() {
    let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
    let fresh = || Judging::new(&resolve::default_config(), Some("sshd")).unwrap_or_else(|_| panic!("sshd"));
    let (mut together, mut alone) = (fresh(), fresh());
    let line = |at: u32| {
        let (minute, pid, host) = (at / 60 % 60, at * 7 % 50, at * 13 % 29);
        let what =
            ["Invalid user oracle from", "Failed password for root from", "Accepted password for bob from"];
        let (what, second) = (what[(at * at % 3) as usize], at % 60);
        format!("Nov 22 07:{minute:02}:{second:02} vm sshd[{pid}]: {what} 192.0.2.{host} port {pid} ssh2")
    };
    let lines: Vec<String> = (0..3000).map(line).collect();
    let count = together.lines(&[0], lines.join("\n").as_bytes(), &clock);
    for line in &lines {
        alone.line(&[0], &Line { bytes: line.as_bytes(), stamp: None }, &clock);
    }
    assert_eq!((count, sums(&mut together)), (3000, sums(&mut alone)));
    assert!(together.tally.failures() > 100, "{}", together.tally.failures());
}

#[test]
fn login_records_that_are_judged_together_add_up_to_the_same() {
    let fresh = || Judging::new(&resolve::default_config(), Some("sshd")).unwrap_or_else(|_| panic!("sshd"));
    let (mut together, mut alone) = (fresh(), fresh());
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
    let counts = together.records(0, layout, &records.concat(), &[]);
    for record in &records {
        alone.records(0, layout, record, &[]);
    }
    assert_eq!((counts, sums(&mut together)), ((0, 3000), sums(&mut alone)));
    assert!(together.tally.failures() > 100, "{}", together.tally.failures());
}
