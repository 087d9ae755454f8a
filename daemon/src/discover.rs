//! What runs on this host: which jails have a service here, and what each jail reads best.
//!
//! The best source is the journal, then a log file, then btmp (for sshd). Every choice is said aloud.

use std::path::{Path, PathBuf};

use pillory_core::config::{Backend, Config, Enabled, JailConfig};

use crate::sources::Wanted;

/// A jail that runs, with what it reads.
#[derive(Debug)]
pub(crate) struct ActiveJail {
    /// Its configuration.
    pub(crate) config: JailConfig,
    /// What it reads; empty only for a jail that counts the bans of others.
    pub(crate) wanted: Vec<Wanted>,
    /// The choice in words: `journal`, `/var/log/auth.log`.
    pub(crate) reads: String,
    /// Why just that.
    pub(crate) why: &'static str,
}

/// Where to look; the host's own places but in tests.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Root of all paths looked at.
    pub(crate) root: PathBuf,
}

impl Places {
    /// This host.
    pub(crate) fn host() -> Places {
        Places { root: PathBuf::from("/") }
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }

    /// True if journald runs here and keeps a journal that can be read. Its socket alone proves nothing: with
    /// `Storage=none` it keeps none. One that runs has a file from the first message of the boot on, long before us.
    pub(crate) fn has_journal(&self) -> bool {
        self.exists("/run/systemd/journal/socket")
            && ["/var/log/journal", "/run/log/journal"].iter().any(|directory| {
                let machines = std::fs::read_dir(self.root.join(directory.trim_start_matches('/')));
                machines.into_iter().flatten().flatten().any(|machine| {
                    let files = std::fs::read_dir(machine.path()).into_iter().flatten().flatten();
                    let is_journal = |path: &Path| path.extension().is_some_and(|ext| ext == "journal");
                    files.into_iter().any(|file| is_journal(&file.path()) && may_read(&file.path()))
                })
            })
    }

    /// True for a file that this process may read; a pattern's files are looked at when they are opened.
    fn may_read(&self, wanted: &Wanted) -> bool {
        let path = match wanted {
            Wanted::Lines(path) => path.as_str().into(),
            Wanted::Btmp(path) => path.to_string_lossy(),
            Wanted::Journal { .. } => return true,
        };
        path.contains(['*', '?', '[']) || may_read(&self.root.join(path.trim_start_matches('/')))
    }

    fn has_program(&self, name: &str) -> bool {
        const DIRECTORIES: [&str; 7] = [
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
            "/usr/local/sbin",
            "/usr/lib/openssh",
            "/usr/libexec/openssh",
        ];
        DIRECTORIES.iter().any(|directory| self.exists(&format!("{directory}/{name}")))
    }
}

fn may_read(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// The jails that run on this host; and of those that were asked for and cannot, in words, why.
pub(crate) fn active_jails(config: &Config, places: &Places) -> (Vec<ActiveJail>, Vec<String>) {
    let mut idle = Vec::new();
    let wanted = config.jails.iter().filter(|jail| jail.enabled != Enabled::No);
    let active = wanted.filter_map(|jail| {
        let found = active(jail, places);
        if found.is_none() && jail.enabled == Enabled::Yes {
            idle.push(format!(
                "jail {} is enabled and does not run: nothing that it could read is here; give it a logpath",
                jail.name
            ));
        }
        found
    });
    (active.collect(), idle)
}

fn active(jail: &JailConfig, places: &Places) -> Option<ActiveJail> {
    if jail.lines.as_ref().is_some_and(|lines| !lines.rules.bans_of.is_empty()) {
        let (reads, why) = ("bans of other jails".to_owned(), "it counts them as they are made");
        return Some(ActiveJail { config: jail.clone(), wanted: Vec::new(), reads, why });
    }
    let wanted = match jail.backend {
        Backend::Auto => best(jail, places, jail.enabled == Enabled::Yes)?,
        Backend::Journal => vec![journal(jail)?],
        Backend::File => files(jail),
        Backend::Btmp => vec![btmp(jail)],
    };
    let reads = wanted.iter().map(in_words).collect::<Vec<_>>().join(", ");
    let why = why(jail, &wanted, places);
    (!wanted.is_empty()).then(|| ActiveJail { config: jail.clone(), wanted, reads, why })
}

/// Why a jail reads what it reads, in words.
fn why(jail: &JailConfig, wanted: &[Wanted], places: &Places) -> &'static str {
    match wanted.first() {
        _ if jail.backend != Backend::Auto => "its backend is set",
        _ if !jail.logpath.is_empty() => "its logpath is set",
        Some(Wanted::Journal { .. }) => "journald keeps a journal here",
        Some(Wanted::Btmp(_)) => "no journal and no log file is here that may be read",
        Some(Wanted::Lines(_)) if !wanted.iter().any(|wanted| is_there(wanted, places)) => {
            "no journal is here that may be read, and no log file yet: waited for"
        }
        _ if places.has_journal() => "the journal is not asked for it, its log file is here",
        _ => "no journal is here that may be read, but its log file",
    }
}

fn best(jail: &JailConfig, places: &Places, sure: bool) -> Option<Vec<Wanted>> {
    // Whoever names log files means them.
    if !jail.logpath.is_empty() {
        return Some(files(jail));
    }
    // sshd is what most hosts are attacked by, wherever its program lies; its jail always runs.
    let is_sshd = jail.filter.name == "sshd";
    let programs: Vec<&str> = jail.programs().collect();
    let has_service = sure || is_sshd || programs.iter().any(|name| places.has_program(name));
    if has_service
        && places.has_journal()
        && let Some(journal) = journal(jail)
    {
        return Some(vec![journal]);
    }
    let there: Vec<Wanted> = files(jail).into_iter().filter(|wanted| is_there(wanted, places)).collect();
    let open: Vec<Wanted> = there.iter().filter(|wanted| places.may_read(wanted)).cloned().collect();
    // Where no program is known, the log itself shows the service.
    let shows = has_service || programs.is_empty();
    if !open.is_empty() && shows {
        return Some(open);
    }
    let btmp = btmp(jail);
    if is_sshd && is_there(&btmp, places) && (there.is_empty() || places.may_read(&btmp)) {
        return Some(vec![btmp]);
    }
    // What may not be read is better than nothing: it is said, and read once it may be.
    if !there.is_empty() && shows {
        return Some(there);
    }
    // A log that does not exist yet is waited for, if there is a service to write it.
    has_service.then(|| files(jail)).filter(|files| !files.is_empty())
}

fn is_there(wanted: &Wanted, places: &Places) -> bool {
    match wanted {
        Wanted::Lines(pattern) if pattern.contains(['*', '?', '[']) => {
            let fixed = pattern.split(['*', '?', '[']).next().unwrap_or("/");
            places.exists(fixed.rsplit_once('/').map_or("/", |(directory, _)| directory))
        }
        Wanted::Lines(path) => places.exists(path),
        Wanted::Btmp(path) => places.exists(&path.to_string_lossy()),
        Wanted::Journal { .. } => true,
    }
}

fn files(jail: &JailConfig) -> Vec<Wanted> {
    let paths = if jail.logpath.is_empty() { &jail.filter.logpath } else { &jail.logpath };
    paths.iter().cloned().map(Wanted::Lines).collect()
}

fn journal(jail: &JailConfig) -> Option<Wanted> {
    let matches = jail.filter.journalmatch.clone();
    (!matches.is_empty()).then_some(Wanted::Journal { directory: None, matches })
}

fn btmp(jail: &JailConfig) -> Wanted {
    Wanted::Btmp(jail.logpath.first().map_or_else(|| PathBuf::from("/var/log/btmp"), PathBuf::from))
}

fn in_words(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Lines(pattern) => pattern.clone(),
        Wanted::Btmp(path) => format!("btmp {}", path.display()),
        Wanted::Journal { directory: Some(directory), .. } => format!("journal {}", directory.display()),
        Wanted::Journal { directory: None, .. } => "journal".to_owned(),
    }
}
