//! Bad input, shared files and latency.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Form, Phase, Reader, Scratch, Store, append, quiet_fd};
use crate::sources::{Batch, Feed, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_LINE_BYTES, Source, Wanted};

fn open(form: Form, feeds: &[Feed]) -> Box<dyn Source> {
    (form.kind().open)(feeds, &|_| None).unwrap()
}

fn poll_until(source: &mut dyn Source, mut holds: impl FnMut(&Batch) -> bool) {
    let wake = quiet_fd();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "it does not come: {:?}", source.status());
        for batch in source.poll(wake.as_fd(), Some(Duration::from_millis(100))).unwrap() {
            assert!(batch.bytes.len() <= MAX_BATCH_BYTES + 1024);
            assert!(batch.records.len() <= MAX_BATCH_RECORDS, "{} records", batch.records.len());
            if holds(&batch) {
                return;
            }
        }
    }
}

/// Until it has read what is there and waits for more.
fn watch(source: &mut dyn Source) {
    let wake = quiet_fd();
    while !source.is_watching() {
        source.poll(wake.as_fd(), Some(Duration::from_millis(10))).unwrap();
    }
}

fn append_to(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn texts(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    batch.records.iter().map(|record| &batch.bytes[record.range.clone()])
}

fn lines(path: &Path) -> Wanted {
    Wanted::Lines(path.to_str().unwrap().to_owned())
}

#[test]
fn a_line_is_complete_at_its_newline_and_any_bytes_pass() {
    let dir = Scratch::new();
    let path = dir.path("log");
    let mut file = File::create(&path).unwrap();
    let mut source = open(Form::Lines, &[Feed { id: 1, what: lines(&path) }]);
    let wake = quiet_fd();
    source.poll(wake.as_fd(), Some(Duration::ZERO)).unwrap();
    file.write_all(b"half a ").unwrap();
    let early = source.poll(wake.as_fd(), Some(Duration::from_millis(50))).unwrap();
    assert!(early.iter().all(|batch| batch.records.is_empty()));
    file.write_all(b"line\na\0b \xff\xfe\r\n\nlast\n").unwrap();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    poll_until(&mut *source, |batch| {
        seen.extend(texts(batch).map(<[u8]>::to_vec));
        seen.len() == 4
    });
    assert_eq!(seen, [b"half a line".as_slice(), b"a\0b \xff\xfe", b"", b"last"]);
}

#[test]
fn a_file_that_several_feeds_name_is_read_once_for_all_of_them() {
    let dir = Scratch::new();
    let (path, link) = (dir.path("auth.log"), dir.path("link"));
    append(Form::Lines, &path, 0..1);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let pattern = Wanted::Lines(dir.path("*.log").to_str().unwrap().to_owned());
    let feeds = [
        Feed { id: 1, what: lines(&path) },
        Feed { id: 2, what: lines(&link) },
        Feed { id: 3, what: pattern },
    ];
    let mut source = open(Form::Lines, &feeds);
    for number in 0..3 {
        if number > 0 {
            append(Form::Lines, &path, number..number + 1);
        }
        let mut streams = Vec::new();
        poll_until(&mut *source, |batch| {
            streams.push(batch.stream.to_string());
            let mut feeds: Vec<_> = batch.records.iter().map(|record| record.feed).collect();
            feeds.sort_unstable();
            assert_eq!(feeds, [1, 2, 3]);
            assert!(batch.records.iter().all(|record| record.range == batch.records[0].range));
            true
        });
        assert_eq!(streams, [format!("file:{}", path.display())]);
    }
    assert_eq!(source.status().len(), 3);
}

#[test]
fn what_cannot_be_read_is_told_with_its_cure_and_does_not_stop_the_others() {
    let dir = Scratch::new();
    let (directory, pipe, missing, good) =
        (dir.path("dir"), dir.path("pipe"), dir.path("none"), dir.path("good"));
    fs::create_dir(&directory).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let feeds: Vec<Feed> = [&directory, &pipe, &missing, &good]
        .iter()
        .zip(0..)
        .map(|(path, id)| Feed { id, what: lines(path) })
        .collect();
    let mut source = open(Form::Lines, &feeds);
    append(Form::Lines, &good, 0..1);
    poll_until(&mut *source, |batch| !batch.records.is_empty());
    let problem = |source: &dyn Source, id: u16| {
        source.status().into_iter().find(|status| status.feed == id).and_then(|status| status.problem)
    };
    assert!(problem(&*source, 0).is_some_and(|text| text.contains("is a directory; name a file")));
    assert!(problem(&*source, 1).is_some_and(|text| text.contains("no regular file")));
    assert!(problem(&*source, 2).is_some_and(|text| text.contains("does not exist; it is read as soon as")));
    assert_eq!(problem(&*source, 3), None);
    // What is mended is read.
    fs::remove_dir(&directory).unwrap();
    append(Form::Lines, &directory, 5..6);
    poll_until(&mut *source, |batch| batch.records.iter().any(|record| record.feed == 0));
    assert_eq!(problem(&*source, 0), None);
}

#[test]
fn garbage_between_btmp_records_is_passed_over() {
    let dir = Scratch::new();
    let path = dir.path("btmp");
    let add = |bytes: &[u8]| {
        OpenOptions::new().append(true).create(true).open(&path).unwrap().write_all(bytes).unwrap()
    };
    append(Form::Btmp, &path, 0..3);
    let mut reader = Reader::open(Form::Btmp, &path, &Store::default());
    reader.read(3);
    // Half a record of a writer that died, then whole ones.
    add(&Form::Btmp.record(99)[..100]);
    append(Form::Btmp, &path, 3..6);
    reader.read(6);
    add(&[0xa5; 1000]);
    append(Form::Btmp, &path, 6..9);
    reader.read(9);
    // A hole as a truncation leaves it.
    add(&[0; 384 * 3]);
    append(Form::Btmp, &path, 9..12);
    reader.read(12);
    assert!(reader.numbers.iter().copied().eq(0..12));
}

#[test]
fn short_lines_come_in_bounded_batches_and_none_is_lost() {
    let dir = Scratch::new();
    let path = dir.path("log");
    fs::write(&path, "").unwrap();
    let mut source = open(Form::Lines, &[Feed { id: 0, what: lines(&path) }]);
    watch(source.as_mut());
    let text: String = (0..20_000).map(|number| if number % 3 == 0 { "\n" } else { "x\n" }).collect();
    append_to(&path, text.as_bytes());
    let mut seen = Vec::new();
    poll_until(source.as_mut(), |batch| {
        seen.extend(texts(batch).flat_map(|line| [line, b"\n"].concat()));
        seen.len() >= text.len()
    });
    assert_eq!(seen, text.as_bytes());
}

#[test]
fn a_hole_of_a_tebibyte_in_a_log_hides_nothing_behind_it() {
    let dir = Scratch::new();
    let path = dir.path("log");
    fs::write(&path, "before\n").unwrap();
    let mut source = open(Form::Lines, &[Feed { id: 0, what: lines(&path) }]);
    watch(source.as_mut());
    // Read through it would take minutes.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    append_to(&path, b"behind\nnext\n");
    let mut seen = Vec::new();
    poll_until(source.as_mut(), |batch| {
        seen.extend(texts(batch).map(<[u8]>::to_vec));
        seen.len() >= 2
    });
    assert_eq!(seen, [&b"behind"[..], b"next"]);
}

#[test]
fn btmp_records_with_64_bit_time_are_known_by_their_layout() {
    let dir = Scratch::new();
    let path = dir.path("btmp");
    let wide = |number: u32, big_endian: bool| {
        let mut record = vec![0; 400];
        let secs: u64 = 1_767_225_600 + u64::from(number);
        if big_endian {
            record[1] = 6;
            record[344..352].copy_from_slice(&secs.to_be_bytes());
        } else {
            record[0] = 6;
            record[344..352].copy_from_slice(&secs.to_le_bytes());
        }
        record[360..364].copy_from_slice(&[192, 0, 2, 1]);
        record
    };
    for big_endian in [false, true] {
        let bytes: Vec<u8> = (0..5).flat_map(|number| wide(number, big_endian)).collect();
        fs::write(&path, &bytes).unwrap();
        let mut source = open(Form::Btmp, &[Feed { id: 1, what: Wanted::Btmp(path.clone()) }]);
        let mut count = 0;
        poll_until(&mut *source, |batch| {
            assert!(texts(batch).zip(0..).all(|(record, number)| record == wide(number, big_endian)));
            count += batch.records.len();
            count == 5
        });
    }
}

/// The phases of a log that nobody may read at the start: three records before, two after, and one when it can be
/// read. `rewrite`: it is another file by then.
fn read_later(form: super::Form, rewrite: bool) -> Vec<Phase> {
    use std::os::unix::fs::PermissionsExt;

    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    let none = CapabilitySet::empty();
    // Of this thread only: root is bound by a file's mode like everybody.
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
    let dir = Scratch::new();
    let path = dir.path("log");
    let mut file = File::create(&path).unwrap();
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    super::write(form, &mut file, 0..3);
    set_mode(0);
    let mut reader = Reader::open(form, &path, &Store::default());
    reader.drain();
    assert_eq!(reader.numbers, Vec::<u32>::new());
    if rewrite {
        fs::remove_file(&path).unwrap();
        file = File::create(&path).unwrap();
        set_mode(0);
        reader.drain();
    }
    super::write(form, &mut file, 3..5);
    set_mode(0o600);
    let before = if rewrite { 3 } else { 0 };
    reader.read(5 - before);
    super::write(form, &mut file, 5..6);
    reader.read(6 - before);
    reader.phases
}

#[test]
fn of_a_log_that_can_be_read_only_later_no_more_is_history_than_was_there_at_the_start() {
    let threads = super::FORMS
        .map(|form| [false, true].map(|rewrite| std::thread::spawn(move || read_later(form, rewrite))));
    for [same, other] in threads {
        let (history, caught_up) = ([Phase::History; 3], [Phase::CatchUp; 2]);
        assert_eq!(same.join().unwrap(), [&history[..], &caught_up, &[Phase::Live]].concat());
        assert_eq!(other.join().unwrap(), [&caught_up[..], &[Phase::Live]].concat());
    }
}

#[test]
fn only_the_end_of_a_huge_log_is_history() {
    let dir = Scratch::new();
    let path = dir.path("log");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    let line = [b'x'; 1023];
    for _ in 0..70 * 1024 {
        file.write_all(&line).unwrap();
        file.write_all(b"\n").unwrap();
    }
    drop(file);
    let mut source = open(Form::Lines, &[Feed { id: 1, what: lines(&path) }]);
    let wake = quiet_fd();
    let mut count = 0;
    loop {
        let batches = source.poll(wake.as_fd(), Some(Duration::ZERO)).unwrap();
        if batches.is_empty() {
            break;
        }
        for batch in &batches {
            assert!(batch.phase == Phase::History && texts(batch).all(|text| text == line));
            count += batch.records.len();
        }
    }
    assert_eq!(count, 64 * 1024);
}

/// Says to the child process that it is to measure.
const MEASURE: &str = "PILLORY_MEASURE_LONG_LINE";

#[test]
fn a_line_of_100_mib_is_cut_and_costs_less_than_1_mib() {
    if std::env::var_os(MEASURE).is_none() {
        // Memory is measured in a process that does nothing else.
        let name = "sources::contract::input::a_line_of_100_mib_is_cut_and_costs_less_than_1_mib";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(MEASURE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        eprintln!("{}", text.lines().find(|line| line.contains("long line")).unwrap());
        return;
    }
    let dir = Scratch::new();
    let path = dir.path("log");
    let mut file = File::create(&path).unwrap();
    let mut source = open(Form::Lines, &[Feed { id: 1, what: lines(&path) }]);
    file.write_all(b"before\n").unwrap();
    poll_until(&mut *source, |batch| !batch.records.is_empty());
    let part = vec![b'x'; 64 * 1024];
    for _ in 0..1600 {
        file.write_all(&part).unwrap();
    }
    file.write_all(b"\nafter\n").unwrap();
    let kib = |field: &str| -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kib("VmRSS:");
    let mut lengths = Vec::new();
    poll_until(&mut *source, |batch| {
        lengths.extend(texts(batch).map(<[u8]>::len));
        lengths.len() == 2
    });
    let cost = kib("VmHWM:").saturating_sub(before);
    eprintln!("long line: {cost} KiB");
    assert_eq!(lengths, [MAX_LINE_BYTES, 5]);
    assert!(cost < 1024, "{cost} KiB");
}

#[test]
fn a_line_comes_at_once_and_not_at_the_next_check() {
    for form in super::FORMS {
        let dir = Scratch::new();
        let path = dir.path("log");
        File::create(&path).unwrap();
        let mut reader = Reader::open(form, &path, &Store::default());
        reader.drain();
        let (tell, told) = std::sync::mpsc::channel();
        let (done, next) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            for number in 0..200 {
                // The reader is waiting again, or nearly so.
                std::thread::sleep(Duration::from_millis(2));
                tell.send(Instant::now()).unwrap();
                super::write(form, &mut file, number..number + 1);
                next.recv().unwrap();
            }
        });
        let mut latencies = Vec::new();
        for number in 0..200 {
            while reader.numbers.len() <= number {
                reader.step(Duration::from_secs(5));
            }
            latencies.push(told.recv().unwrap().elapsed());
            done.send(()).unwrap();
        }
        writer.join().unwrap();
        latencies.sort();
        eprintln!("{}: p50 {:?}, p99 {:?}", form.kind().name, latencies[100], latencies[198]);
        assert!(latencies[100] < Duration::from_millis(500), "{latencies:?}");
    }
}
