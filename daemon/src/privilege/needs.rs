//! What a policy needs on this host: the files that are read and written, commands.

use std::path::{Path, PathBuf};

use pillory_core::config::Config;

use crate::cli::configfile::Place;
use crate::sources::{self, Feed, Wanted};

use super::nearest;

/// What every daemon reads: accounts, name servers, the zone, sessions, and logs wherever they may appear. Directories
/// rather than files, for a file that is replaced is another one.
const READ: [&str; 8] =
    ["/etc", "/proc", "/sys", "/usr/share/zoneinfo", "/var/log", "/run/log", "/run/systemd", "/run/utmp"];

/// Where files below /etc/ssl lead to.
const CERTIFICATES: [&str; 3] =
    ["/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/var/lib/ca-certificates"];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Files and directories to be read, with all that is in them.
    pub(super) reads: Vec<PathBuf>,
    /// Directories to be written in.
    pub(super) writes: Vec<PathBuf>,
    /// Files that are appended to, in directories where nothing else is to be written.
    pub(super) appends: Vec<PathBuf>,
    /// TCP ports to connect to, besides those of name servers.
    pub(super) ports: Vec<u16>,
}

impl Needs {
    /// What this policy needs with these feeds.
    pub(crate) fn of(config: &Config, place: &Place, feeds: &[Feed]) -> Needs {
        let mut reads: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
        reads.extend(place.path().parent().map(Path::to_owned));
        reads.extend(nearest(place.path()));
        reads.extend(place.fail2ban.as_ref().or(config.fail2ban.as_ref()).cloned());
        reads.extend(config.geo.files().filter_map(nearest));
        reads.extend(feeds.iter().flat_map(|feed| directories(&feed.what)));
        let beside = config.motd.as_deref().and_then(Path::parent).map(Path::to_owned);
        let writes = config.wall.out.iter().cloned().chain(beside).collect();
        Needs { reads, writes, appends: config.ban_log.iter().cloned().collect(), ports: Vec::new() }
    }

    /// What the process needs that sends: it reads what every daemon reads, certificates and these directories, writes in
    /// the state directory, and connects to these ports.
    pub(crate) fn of_sender(directories: Vec<PathBuf>, state_dir: &Path, ports: &[u16]) -> Needs {
        let usual = READ.iter().filter(|path| !path.starts_with("/var/log") && !path.starts_with("/run/log"));
        let mut reads: Vec<PathBuf> = usual.chain(&CERTIFICATES).map(PathBuf::from).collect();
        reads.extend(directories);
        Needs { reads, writes: vec![state_dir.to_owned()], appends: Vec::new(), ports: ports.to_vec() }
    }

    /// The fail2ban directory whose commands are to be run, if some are.
    pub(crate) fn commands(config: &Config, place: &Place) -> Option<PathBuf> {
        let mut lines = config.jails.iter().filter_map(|jail| jail.lines.as_ref());
        let executes = lines.any(|lines| !lines.commands.is_empty() || lines.ignorecommand.is_some());
        place.fail2ban.as_ref().or(config.fail2ban.as_ref()).filter(|_| executes).cloned()
    }

    /// The same for a policy that writes where the one in force does: whatever became of that.
    pub(crate) fn writing_as_before(self) -> Needs {
        Needs { writes: Vec::new(), ..self }
    }

    /// The same for one that appends to what the one in force does.
    pub(crate) fn appending_as_before(self) -> Needs {
        Needs { appends: Vec::new(), ..self }
    }

    /// With more directories that the daemon writes in.
    pub(crate) fn writing(self, directories: [Option<&Path>; 2]) -> Needs {
        let named = |path: &Path| if path == Path::new("") { PathBuf::from(".") } else { path.to_owned() };
        let mut needs = self;
        needs.writes.extend(directories.into_iter().flatten().map(named));
        needs
    }

    /// What is read and there, as real paths.
    pub(super) fn real_reads(&self) -> Vec<PathBuf> {
        real(&self.reads)
    }

    /// The directories of files that are appended to, as real paths.
    pub(super) fn real_appends(&self) -> Vec<PathBuf> {
        let directories: Vec<PathBuf> =
            self.appends.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        real(&directories)
    }

    /// What is written in and there, as real paths.
    pub(super) fn real_writes(&self) -> Vec<PathBuf> {
        real(&self.writes)
    }
}

fn real(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    all.sort();
    all.dedup();
    all
}

/// Where the files of a feed are and may appear, links followed.
fn directories(what: &Wanted) -> Vec<PathBuf> {
    match what {
        Wanted::Journal { directory: Some(directory), .. } => vec![directory.clone()],
        // It may come later, on a host where not even its directory is there yet.
        Wanted::Journal { directory: None, .. } => {
            nearest(Path::new("/run/log/journal")).into_iter().collect()
        }
        Wanted::Btmp(path) => [nearest(path), nearest_of_parent(path)].into_iter().flatten().collect(),
        Wanted::Lines(pattern) => {
            let found = sources::expand(pattern);
            let places = found.places.iter().filter_map(|place| nearest(&place.dir));
            found.paths.iter().filter_map(|path| nearest(path)).chain(places).collect()
        }
    }
}

fn nearest_of_parent(path: &Path) -> Option<PathBuf> {
    path.parent().and_then(nearest)
}
