//! What every kind of source must do, tested over [`KINDS`] on real files.

#![allow(clippy::disallowed_methods)]

mod before;
mod input;
mod journald;
mod log;
mod rotation;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Batch, Feed, KINDS, Kind, Phase, Position, Source, Wanted};

/// A directory that goes away with its owner.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pillory-sources-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scratch(fs::canonicalize(dir).unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes and reads records with numbers in them, in the form of one kind.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Lines,
    Btmp,
}

impl Form {
    pub(super) fn record(self, number: u32) -> Vec<u8> {
        match self {
            Form::Lines => {
                format!("Jan  1 00:00:00 host sshd[{number}]: Failed password for root, try {number:08}\n")
                    .into()
            }
            Form::Btmp => {
                let mut record = vec![0; 384];
                record[0] = 6;
                record[4..8].copy_from_slice(&number.to_le_bytes());
                record[8..18].copy_from_slice(b"ssh:notty\0");
                record[44..48].copy_from_slice(b"root");
                record[340..344].copy_from_slice(&(1_767_225_600 + number).to_le_bytes());
                record[348..352].copy_from_slice(&[192, 0, 2, 1]);
                record
            }
        }
    }

    pub(super) fn number(self, bytes: &[u8]) -> u32 {
        match self {
            Form::Lines => {
                let text = std::str::from_utf8(bytes).unwrap();
                text.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number in {text:?}"))
            }
            Form::Btmp => u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
        }
    }

    pub(super) fn wanted(self, path: &Path) -> Wanted {
        match self {
            Form::Lines => Wanted::Lines(path.to_str().unwrap().to_owned()),
            Form::Btmp => Wanted::Btmp(path.to_owned()),
        }
    }

    pub(super) fn kind(self) -> &'static Kind {
        let name = match self {
            Form::Lines => "file",
            Form::Btmp => "btmp",
        };
        KINDS.iter().find(|kind| kind.name == name).unwrap()
    }
}

/// The kinds that follow files.
pub(super) const FORMS: [Form; 2] = [Form::Lines, Form::Btmp];

/// Positions as the store would keep them.
#[derive(Default, Clone)]
pub(super) struct Store(pub(super) std::collections::HashMap<String, Position>);

impl Store {
    pub(super) fn keep(&mut self, batch: &Batch) {
        self.0.insert(batch.stream.to_string(), batch.position.clone());
    }
}

pub(super) fn quiet_fd() -> OwnedFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
}

/// An open source, with the numbers and phases of all that came out of it.
pub(super) struct Reader {
    source: Box<dyn Source>,
    wake: OwnedFd,
    form: Form,
    pub(super) store: Store,
    pub(super) numbers: Vec<u32>,
    pub(super) phases: Vec<Phase>,
    pub(super) batches: Vec<Batch>,
}

impl Reader {
    pub(super) fn open(form: Form, path: &Path, store: &Store) -> Reader {
        let feeds = [Feed { id: 7, what: form.wanted(path) }];
        let source = (form.kind().open)(&feeds, &|stream| store.0.get(stream).cloned()).unwrap();
        Reader {
            source,
            wake: quiet_fd(),
            form,
            store: store.clone(),
            numbers: Vec::new(),
            phases: Vec::new(),
            batches: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, wait: Duration) {
        for batch in self.source.poll(self.wake.as_fd(), Some(wait)).unwrap() {
            self.store.keep(&batch);
            for record in &batch.records {
                self.numbers.push(self.form.number(&batch.bytes[record.range.clone()]));
                self.phases.push(batch.phase);
            }
            self.batches.push(batch);
        }
    }

    /// Reads until so many records have come, then makes sure that no more do.
    pub(super) fn read(&mut self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.numbers.len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} records came: {:?}",
                self.numbers.len(),
                self.source.status()
            );
            self.step(Duration::from_millis(100));
        }
        self.drain();
        assert_eq!(self.numbers.len(), count, "more came than was written");
    }

    /// Reads what is there.
    pub(super) fn drain(&mut self) {
        loop {
            let before = self.batches.len();
            self.step(Duration::ZERO);
            if self.batches.len() == before {
                break;
            }
        }
    }
}

pub(super) fn append(form: Form, path: &Path, numbers: std::ops::Range<u32>) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    write(form, &mut file, numbers);
}

pub(super) fn write(form: Form, file: &mut File, numbers: std::ops::Range<u32>) {
    let bytes: Vec<u8> = numbers.flat_map(|number| form.record(number)).collect();
    file.write_all(&bytes).unwrap();
}

#[test]
fn appended_records_come_once_and_in_order() {
    for form in FORMS {
        let dir = Scratch::new();
        let path = dir.path("auth.log");
        append(form, &path, 0..3);
        let mut reader = Reader::open(form, &path, &Store::default());
        reader.read(3);
        for number in 3..50 {
            append(form, &path, number..number + 1);
            reader.read(number as usize + 1);
        }
        append(form, &path, 50..20_000);
        reader.read(20_000);
        assert!(reader.numbers.iter().copied().eq(0..20_000));
        assert!(reader.phases[..3].iter().all(|phase| *phase == Phase::History));
        assert!(reader.phases[3..].iter().all(|phase| *phase == Phase::Live));
        assert!(reader.source.is_watching());
    }
}

#[test]
fn resuming_from_every_position_gives_exactly_the_rest() {
    for form in FORMS {
        let dir = Scratch::new();
        let path = dir.path("auth.log");
        let mut reader = Reader::open(form, &path, &Store::default());
        for number in 0..20 {
            append(form, &path, number..number + 1);
            reader.read(number as usize + 1);
        }
        for batch in reader.batches.iter().filter(|batch| !batch.records.is_empty()) {
            let last = form.number(&batch.bytes[batch.records.last().unwrap().range.clone()]);
            let mut store = Store::default();
            store.keep(batch);
            let mut again = Reader::open(form, &path, &store);
            again.read(19 - last as usize);
            assert!(again.numbers.iter().copied().eq(last + 1..20));
            assert!(again.phases.iter().all(|phase| *phase == Phase::CatchUp));
            append(form, &path, 20..21);
            again.read(20 - last as usize);
            assert_eq!(again.phases.last(), Some(&Phase::Live));
            let shorter = fs::metadata(&path).unwrap().len() - form.record(20).len() as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(shorter).unwrap();
        }
    }
}

#[test]
fn without_a_position_what_is_there_is_history_and_the_rest_is_live() {
    for form in FORMS {
        let dir = Scratch::new();
        let path = dir.path("auth.log");
        append(form, &path, 0..5);
        // Half a record that is completed later is new.
        let half = form.record(5);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&half[..30]).unwrap();
        let mut reader = Reader::open(form, &path, &Store::default());
        reader.read(5);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&half[30..]).unwrap();
        reader.read(6);
        assert_eq!(reader.phases, [[Phase::History; 5].as_slice(), &[Phase::Live]].concat());
    }
}

#[test]
fn what_is_written_while_down_is_catching_up_even_if_nothing_was_read_before() {
    for form in FORMS {
        for exists in [true, false] {
            let dir = Scratch::new();
            let path = dir.path("auth.log");
            if exists {
                File::create(&path).unwrap();
            }
            let mut reader = Reader::open(form, &path, &Store::default());
            reader.drain();
            let store = reader.store.clone();
            drop(reader);
            append(form, &path, 0..3);
            let mut reader = Reader::open(form, &path, &store);
            reader.read(3);
            assert_eq!(reader.phases, [Phase::CatchUp; 3]);
        }
    }
}

#[test]
fn a_log_is_waited_for_when_even_its_directory_is_missing() {
    for form in FORMS {
        let dir = Scratch::new();
        let path = dir.path("later/deeper/auth.log");
        let mut reader = Reader::open(form, &path, &Store::default());
        reader.drain();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        reader.step(Duration::from_millis(50));
        let begin = Instant::now();
        append(form, &path, 0..1);
        reader.read(1);
        // Checks are 5 s apart.
        assert!(begin.elapsed() < Duration::from_secs(4), "not told by the kernel");
        assert_eq!(reader.phases, [Phase::Live]);
    }
}
