//! The journal source against a real systemd-journald in a mount namespace of its own.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Batch, Feed, Phase, Source, Store, Wanted, quiet_fd};
use crate::sources::KINDS;

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

/// A journald that sees nothing of the host's `/run` and `/var/log`.
struct Journald {
    shell: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    root: PathBuf,
    pid: String,
}

impl Journald {
    /// Nothing, with a word about it, where it cannot be run.
    fn start(config: &str) -> Option<Journald> {
        if !rustix::process::geteuid().is_root() || !Path::new(JOURNALD).exists() {
            eprintln!("skipped: a real journald needs root and {JOURNALD}");
            return None;
        }
        let mut shell = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let root = PathBuf::from(format!("/proc/{}/root", shell.id()));
        let mut journald = Journald { shell, stdin, stdout, root, pid: String::new() };
        journald.run("mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log");
        journald.run("mkdir -p /run/systemd/journal /run/log/journal /run/systemd/journald.conf.d");
        let config =
            format!("[Journal]\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\nForwardToSyslog=no\n{config}");
        journald
            .run(&format!("printf '{}' > /run/systemd/journald.conf.d/a.conf", config.replace('\n', "\\n")));
        journald.launch();
        Some(journald)
    }

    /// Runs commands in the namespace and gives the last line that they print.
    fn run(&mut self, commands: &str) -> String {
        writeln!(self.stdin, "{commands}\necho; echo done $?").unwrap();
        let mut last = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the shell has gone");
            if line.starts_with("done ") {
                return last;
            }
            if !line.trim().is_empty() {
                last = line.trim().to_owned();
            }
        }
    }

    fn launch(&mut self) {
        self.pid = self.run(&format!("{JOURNALD} </dev/null >/dev/null 2>&1 & echo $!"));
        let socket = self.root.join("run/systemd/journal/socket");
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixDatagram::unbound().unwrap().connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "journald does not listen");
            std::thread::yield_now();
        }
    }

    fn stop(&mut self, signal: &str) {
        let pid = self.pid.clone();
        self.run(&format!("kill -{signal} {pid}; wait {pid}"));
    }

    fn signal(&mut self, signal: &str) {
        let pid = self.pid.clone();
        self.run(&format!("kill -{signal} {pid}"));
    }

    fn journal(&self) -> PathBuf {
        self.root.join("run/log/journal")
    }

    /// Sends an entry by the native protocol.
    fn send(&self, fields: &[(&str, &[u8])]) {
        let mut bytes = Vec::new();
        for (field, value) in fields {
            bytes.extend(field.as_bytes());
            if value.contains(&b'\n') {
                bytes.push(b'\n');
                bytes.extend((value.len() as u64).to_le_bytes());
            } else {
                bytes.push(b'=');
            }
            bytes.extend(*value);
            bytes.push(b'\n');
        }
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(self.root.join("run/systemd/journal/socket")).unwrap();
        socket.send(&bytes).unwrap();
    }

    fn write(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let message = format!("Failed password for root, try {number}");
            self.send(&[
                ("MESSAGE", message.as_bytes()),
                ("SYSLOG_IDENTIFIER", b"sshd"),
                ("UNIT", b"ssh.service"),
            ]);
            if number % 3 == 0 {
                self.send(&[("MESSAGE", b"something else"), ("SYSLOG_IDENTIFIER", b"cron")]);
            }
        }
    }

    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for dir in std::fs::read_dir(self.journal()).unwrap().flatten() {
            names.extend(
                std::fs::read_dir(dir.path())
                    .unwrap()
                    .flatten()
                    .map(|e| e.file_name().into_string().unwrap()),
            );
        }
        names.sort();
        names
    }

    /// Waits until the journal's files are as wanted.
    fn wait_for(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.files()) {
            assert!(Instant::now() < deadline, "no {what}: {:?}", self.files());
            std::thread::yield_now();
        }
    }

    fn rotate(&mut self) {
        let before = self.files().iter().filter(|name| name.contains('@')).count();
        self.signal("USR2");
        self.wait_for("rotation", |files| {
            let archived = files.iter().filter(|name| name.contains('@')).count();
            archived > before && files.iter().any(|name| name == "system.journal")
        });
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        // The shell may be gone already after a failed test.
        let _ = writeln!(self.stdin, "kill -9 {}; exit", self.pid);
        let _ = self.shell.wait();
    }
}

struct Reader {
    source: Box<dyn Source>,
    wake: OwnedFd,
    store: Store,
    texts: Vec<String>,
    numbers: Vec<u32>,
    phases: Vec<Phase>,
    batches: Vec<Batch>,
}

fn pair(field: &str, value: &str) -> (String, String) {
    (field.to_owned(), value.to_owned())
}

fn open(journald: &Journald, store: &Store) -> Reader {
    open_with(journald, store, vec![vec![pair("UNIT", "ssh.service"), pair("SYSLOG_IDENTIFIER", "sshd")]])
}

fn open_with(journald: &Journald, store: &Store, matches: Vec<Vec<(String, String)>>) -> Reader {
    open_wanted(Wanted::Journal { directory: Some(journald.journal()), matches }, store)
}

fn open_wanted(what: Wanted, store: &Store) -> Reader {
    let kind = KINDS.iter().find(|kind| kind.name == "journal").unwrap();
    let source = (kind.open)(&[Feed { id: 3, what }], &|stream| store.0.get(stream).cloned()).unwrap();
    let (texts, numbers, phases, batches) = Default::default();
    Reader { source, wake: quiet_fd(), store: store.clone(), texts, numbers, phases, batches }
}

impl Reader {
    fn step(&mut self, wait: Duration) {
        for batch in self.source.poll(self.wake.as_fd(), Some(wait)).unwrap() {
            self.store.keep(&batch);
            for record in &batch.records {
                assert!(record.stamp.is_some());
                let text = String::from_utf8_lossy(&batch.bytes[record.range.clone()]).into_owned();
                self.numbers.extend(text.rsplit(' ').next().unwrap().parse::<u32>().ok());
                self.texts.push(text);
                self.phases.push(batch.phase);
            }
            self.batches.push(batch);
        }
    }

    fn read(&mut self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.texts.len() < count {
            let status = self.source.status();
            assert!(Instant::now() < deadline, "{} of {count} came: {status:?}", self.texts.len());
            self.step(Duration::from_millis(100));
        }
        self.step(Duration::ZERO);
        assert_eq!(self.texts.len(), count, "more came than was written");
    }

    fn is_all(&self, numbers: std::ops::Range<u32>) {
        assert!(
            self.numbers.iter().copied().eq(numbers.clone()),
            "{numbers:?} expected, {:?} came",
            self.numbers
        );
    }
}

#[test]
fn entries_come_once_in_order_and_in_the_form_of_a_log_line() {
    let Some(journald) = Journald::start("Storage=volatile\n") else { return };
    journald.write(0..5);
    let mut reader = open(&journald, &Store::default());
    // What is older may not be there yet when it is opened, but it must come.
    reader.read(5);
    journald.write(5..1500);
    reader.read(1500);
    reader.is_all(0..1500);
    assert!(reader.phases[5..].iter().all(|phase| *phase == Phase::Live));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let line = format!("{} sshd[{}]: Failed password for root, try 7", host.trim(), std::process::id());
    assert_eq!(reader.texts[7], line);
}

#[test]
fn history_then_catching_up_then_live_and_every_position_resumes_exactly() {
    let Some(mut journald) = Journald::start("Storage=volatile\n") else { return };
    journald.write(0..10);
    let mut first = open_with(&journald, &Store::default(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !first.numbers.iter().copied().eq(0..10)
        || !first.texts.iter().any(|text| text.ends_with("something else"))
    {
        assert!(Instant::now() < deadline, "without matches every entry is wanted: {:?}", first.texts);
        first.step(Duration::from_millis(100));
    }
    drop(first);
    let mut reader = open(&journald, &Store::default());
    reader.read(10);
    assert_eq!(reader.phases, [Phase::History; 10]);
    for number in 10..16 {
        journald.write(number..number + 1);
        reader.read(number as usize + 1);
    }
    assert!(reader.phases[10..].iter().all(|phase| *phase == Phase::Live));
    journald.rotate();
    journald.write(16..20);
    reader.read(20);
    journald.stop("TERM");
    for batch in &reader.batches {
        let read = reader.batches.iter().take_while(|other| other.position != batch.position);
        let read: usize = read.map(|batch| batch.records.len()).sum::<usize>() + batch.records.len();
        let mut store = Store::default();
        store.keep(batch);
        let mut again = open(&journald, &store);
        again.read(20 - read);
        again.is_all(read as u32..20);
        assert!(again.phases.iter().all(|phase| *phase == Phase::CatchUp));
    }
}

#[test]
fn rotation_vacuuming_and_restarts_lose_and_double_nothing() {
    let Some(mut journald) = Journald::start("Storage=volatile\n") else { return };
    let mut reader = open(&journald, &Store::default());
    reader.step(Duration::ZERO);
    let mut next = 0;
    for round in 0..8 {
        journald.write(next..next + 100);
        next += 100;
        match round % 4 {
            0 => journald.rotate(),
            // Stopped and started again: the same file goes on, or a new one.
            1 => {
                journald.stop("TERM");
                journald.launch();
            }
            // Killed: its file is put aside as dirty.
            2 => {
                journald.run("sync");
                reader.read(next as usize);
                journald.stop("KILL");
                journald.launch();
            }
            _ => {
                // Rotated while nobody reads.
                let (store, numbers, texts) = (
                    reader.store.clone(),
                    std::mem::take(&mut reader.numbers),
                    std::mem::take(&mut reader.texts),
                );
                drop(reader);
                journald.rotate();
                journald.write(next..next + 50);
                journald.rotate();
                journald.write(next + 50..next + 100);
                next += 100;
                reader = open(&journald, &store);
                (reader.numbers, reader.texts) = (numbers, texts);
            }
        }
        journald.write(next..next + 10);
        next += 10;
        reader.read(next as usize);
    }
    reader.is_all(0..next);
    // Archives that were read go away.
    let dir = journald.journal().to_string_lossy().replace(&*journald.root.to_string_lossy(), "");
    journald.run(&format!("rm {dir}/*/*@*"));
    journald.write(next..next + 5);
    reader.read(next as usize + 5);
    assert!(!reader.store.0.values().next().unwrap().0.contains("done"), "{:?}", reader.store.0);
}

#[test]
fn a_journal_that_moves_to_disk_is_not_counted_again() {
    let Some(mut journald) = Journald::start("Storage=auto\n") else { return };
    // Both journals under one roof, as /run/log/journal and /var/log/journal are for the host's own.
    let (volatile, lasting) = ("a".repeat(32), "b".repeat(32));
    journald.run(&format!(
        "mkdir -p /run/both/{volatile} /run/both/{lasting} /var/log/journal/$(cat /etc/machine-id)
         mount --bind /run/log/journal/$(cat /etc/machine-id) /run/both/{volatile}
         mount --bind /var/log/journal/$(cat /etc/machine-id) /run/both/{lasting}"
    ));
    let what = Wanted::Journal {
        directory: Some(journald.root.join("run/both")),
        matches: vec![vec![pair("SYSLOG_IDENTIFIER", "sshd")]],
    };
    let mut reader = open_wanted(what, &Store::default());
    journald.write(0..20);
    reader.read(20);
    journald.signal("USR1");
    let lasting = journald.root.join("run/both").join(lasting).join("system.journal");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lasting.exists() {
        assert!(Instant::now() < deadline, "journald does not move its journal");
        reader.step(Duration::from_millis(10));
    }
    journald.write(20..30);
    reader.read(30);
    reader.is_all(0..30);
}

#[test]
fn long_compressed_and_broken_messages_are_read() {
    let Some(journald) = Journald::start("Storage=volatile\nCompress=yes\n") else { return };
    let mut reader = open(&journald, &Store::default());
    let send = |message: &[u8]| {
        journald.send(&[("MESSAGE", message), ("SYSLOG_IDENTIFIER", b"sshd"), ("UNIT", b"ssh.service")]);
    };
    send("x".repeat(5000).as_bytes());
    send(b"two\nlines \xff\x00 end");
    send("0123456789abcdef".repeat(10_000).as_bytes());
    reader.read(3);
    assert!(reader.texts[0].ends_with(&format!(": {}", "x".repeat(5000))));
    assert!(reader.texts[1].ends_with(": two lines \u{fffd}\0 end"));
    assert_eq!(reader.texts[2].len(), crate::sources::MAX_LINE_BYTES);
}

#[test]
fn entries_come_soon_when_idle_and_at_once_when_something_goes_on() {
    let Some(journald) = Journald::start("Storage=volatile\n") else { return };
    journald.write(0..1);
    let mut reader = open(&journald, &Store::default());
    reader.read(1);
    let begin = Instant::now();
    journald.write(1..2);
    reader.read(2);
    eprintln!("idle journal: {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let mut latencies = Vec::new();
    for number in 2..42 {
        let begin = Instant::now();
        journald.write(number..number + 1);
        while reader.texts.len() <= number as usize {
            reader.step(Duration::from_secs(5));
        }
        latencies.push(begin.elapsed());
    }
    latencies.sort();
    eprintln!("lively journal: p50 {:?}, worst {:?}", latencies[20], latencies[39]);
    // The kernel alone would tell of half of them later than that.
    assert!(latencies[20] < Duration::from_millis(250), "{latencies:?}");
}
