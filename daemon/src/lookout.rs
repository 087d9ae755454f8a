//! Looks after what nobody reads a log for: file systems that fill up, other tools that ban. One thread looks once a minute
//! and tells the engine what it sees; it also keeps the file of `motd`, for no ban waits for a disk.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::clock::{self, Stopwatch};
use crate::findings::disk::{self, Gauge, Space};
use crate::findings::{Host, rivals};
use crate::outfile;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// Where logs are on every host.
const LOGS: &str = "/var/log";

/// Warnings in words, by what each is about.
pub(crate) type Seen = BTreeMap<String, String>;

/// What the engine asks for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Logs are in these directories, too.
    Logs(Vec<PathBuf>),
    /// This is what the file says from now on; without a text there is none.
    Motd(PathBuf, Option<String>),
}

/// Works until the engine hangs up, and then takes its file away. `tell`: tells the engine; false if it is gone.
pub(crate) fn run(orders: &Receiver<Order>, tell: impl Fn(Seen) -> bool) {
    let mut lookout = Lookout::new();
    let mut told = None;
    loop {
        if lookout.is_due() {
            lookout.look();
        }
        let seen = lookout.seen();
        if told.as_ref() != Some(&seen) {
            if !tell(seen.clone()) {
                break;
            }
            told = Some(seen);
        }
        match orders.recv_timeout(lookout.patience()) {
            Ok(order) => lookout.order(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    lookout.leave();
}

struct Lookout {
    since: Stopwatch,
    last: Option<Stopwatch>,
    logs: Vec<PathBuf>,
    gauges: HashMap<u64, Gauge>,
    on_host: Seen,
    /// The file that was written, and why it could not be.
    motd: Option<PathBuf>,
    trouble: Option<String>,
}

impl Lookout {
    fn new() -> Lookout {
        Lookout {
            since: Stopwatch::start(),
            last: None,
            logs: Vec::new(),
            gauges: HashMap::new(),
            on_host: Seen::new(),
            motd: None,
            trouble: None,
        }
    }

    fn is_due(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.elapsed() >= EVERY)
    }

    fn patience(&self) -> Duration {
        self.last.as_ref().map_or(Duration::ZERO, |last| EVERY.saturating_sub(last.elapsed()))
    }

    fn look(&mut self) {
        self.last = Some(Stopwatch::start());
        let host = Host { root: "/".into(), now: clock::now() };
        self.on_host = self.disks(&host);
        for rival in rivals::running(&host) {
            let name = rival.what.split(' ').next().unwrap_or_default().to_owned();
            self.on_host.insert(format!("rival {name}"), rival.words());
        }
    }

    /// The file systems with logs that fill up.
    fn disks(&mut self, host: &Host) -> Seen {
        let directories: Vec<PathBuf> = [LOGS.into()].into_iter().chain(self.logs.iter().cloned()).collect();
        let spaces: BTreeMap<u64, Space> = directories
            .iter()
            .filter_map(|directory| Space::of(directory).map(|space| (space.device, space)))
            .collect();
        self.gauges.retain(|device, _| spaces.contains_key(device));
        let seconds = self.since.elapsed().as_secs();
        let mut seen = Seen::new();
        for (device, space) in spaces {
            if let Some(days) = self.gauges.entry(device).or_default().look(seconds, &space) {
                let words = disk::finding(host, &space, days, &directories).words();
                seen.insert(format!("disk {}", space.mount.display()), words);
            }
        }
        seen
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Logs(directories) => {
                self.logs = directories;
                self.last = None;
            }
            Order::Motd(path, text) => {
                if self.motd.as_ref() != Some(&path) {
                    self.leave();
                }
                let done = write(&path, text.as_deref());
                self.trouble = done.err().map(|error| {
                    let directory = path.parent().unwrap_or(Path::new("/")).display();
                    format!(
                        "cannot write the warnings for who logs in to {}: {error}; let the daemon write in {directory}, or set motd = \"/run/pillory/motd\"",
                        path.display()
                    )
                });
                self.motd = Some(path);
            }
        }
    }

    fn seen(&self) -> Seen {
        let mut seen = self.on_host.clone();
        seen.extend(self.trouble.clone().map(|trouble| ("motd".to_owned(), trouble)));
        seen
    }

    /// What it wrote is about a daemon that runs.
    fn leave(&mut self) {
        if let Some(path) = self.motd.take() {
            // Whoever may not write there has left nothing.
            let _ = write(&path, None);
        }
    }
}

/// The file with this text, or none.
fn write(path: &Path, text: Option<&str>) -> std::io::Result<()> {
    match text {
        Some(text) => outfile::replace(path, text.as_bytes(), 0o644),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
    }
}
