//! Configuration in three steps: text -> [`raw::RawConfig`] (what the file says, with lines) -> [`Config`] (only
//! valid values can be built) -> kinds opened, by the daemon. Every problem is collected, then all are reported.
//! [`fail2ban`] reads a fail2ban directory instead.

pub mod fail2ban;
mod growth;
pub mod keys;
pub mod outgoing;
pub mod problem;
pub mod raw;
pub mod resolve;

use std::collections::BTreeMap;

use crate::event::{JailName, Points};
use crate::filter::FilterSpec;
use crate::jail::lines::LineRules;
use crate::jail::policy::Policy;
use crate::jail::secret::Percent;
use crate::machine::ScopeRule;
use crate::net::{Prefix, PrefixSet};
use crate::time::Span;
use crate::wall::Rules;

pub use fail2ban::native::{Block, Way};
pub use outgoing::Outgoing;
pub use problem::Problem;

/// Everything that is configured, valid and complete.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses and networks that are never banned.
    pub ignoreip: Vec<Prefix>,
    /// DNS names whose addresses are never banned.
    pub ignoreip_names: Vec<String>,
    /// Accounts whose owners mistype: half a point.
    pub goodusers: Vec<String>,
    /// True if a failure for one of them never counts.
    pub goodusers_never_ban: bool,
    /// Proxies in front of this host.
    pub trusted_proxies: Vec<Prefix>,
    /// Share of names without an account that are judged as if they had one.
    pub decoys: Percent,
    /// Which traffic of a banned source is dropped.
    pub scope: ScopeRule,
    /// Name of the kind of action, or `auto`.
    pub banaction: String,
    /// What happens to the bans in the kernel when the daemon stops.
    pub on_stop: OnStop,
    /// How long attempts and history are kept.
    pub retention: Span,
    /// So many prefixes the jails may ban within a minute before the fuse blows; 0 is off.
    pub fuse: u32,
    /// Where whoever is banned may call with a code; nothing for nowhere.
    pub rescue: Option<u16>,
    /// Databases that say whose an address is, and where.
    pub geo: Geo,
    /// Whether the daemon gives up every right that it does not need, once it has started.
    pub sandbox: bool,
    /// What is shown in public.
    pub wall: Wall,
    /// What is sent to the owner and to others.
    pub outgoing: Outgoing,
    /// Where the dashboard is served; nothing for nowhere.
    pub web: Option<Web>,
    /// Ports that only some may connect to.
    pub restrict: Vec<Restriction>,
    /// Jails that ban networks of neighbours, each with the innocent addresses that all of these may hit at once.
    pub widen: BTreeMap<JailName, u64>,
    /// A fail2ban directory from which the jails come.
    pub fail2ban: Option<std::path::PathBuf>,
    /// At most so many bytes the store takes: what is oldest is forgotten before `retention` says so.
    pub state_max: u64,
    /// Where warnings stand for the next login, in a file of their own.
    pub motd: Option<std::path::PathBuf>,
    /// A log that gets a line for each failure, ban and unban as fail2ban writes them, for whoever reads it.
    pub ban_log: Option<std::path::PathBuf>,
    /// The jails, sorted by name.
    pub jails: Vec<JailConfig>,
}

/// Ports that only some may connect to (`[restrict.ssh]`); who is never banned always may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restriction {
    /// Its name, for people and for the kernel's sets.
    pub name: String,
    /// Names or numbers of its ports.
    pub port: Vec<String>,
    /// Who may connect.
    pub allow: Vec<Prefix>,
    /// DNS names of others who may.
    pub allow_names: Vec<String>,
}

/// Databases of networks (`[geo]`), as MaxMind DB files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geo {
    /// Says which operator an address belongs to.
    pub asn: Option<std::path::PathBuf>,
    /// Says which country it is used in.
    pub country: Option<std::path::PathBuf>,
}

impl Geo {
    /// All that there are.
    pub fn files(&self) -> impl Iterator<Item = &std::path::Path> {
        self.asn.iter().chain(&self.country).map(std::path::PathBuf::as_path)
    }
}

/// What of the offenders is shown in public (`[wall]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wall {
    /// Where the daemon keeps the pages; nothing for nowhere.
    pub out: Option<std::path::PathBuf>,
    /// Where people write who want to be left out: an address of mail, of the web, or words. Without it nothing is shown.
    pub contact: Option<String>,
    /// What stands above it; nothing for the usual words.
    pub title: Option<String>,
    /// Who is shown, and how exactly.
    pub rules: Rules,
    /// Who asked to be left out.
    pub unlisted: Vec<Prefix>,
}

/// The dashboard (`[web]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// Where it is served.
    pub listen: Listen,
    /// A file with the token that actions need; without it there are none.
    pub token_file: Option<std::path::PathBuf>,
    /// Names by which it is reached beside those of loopback, in small letters.
    pub hosts: Vec<String>,
}

/// Where the dashboard is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// At a TCP port of one address, or of all.
    Tcp(std::net::SocketAddr),
    /// At a socket file, for who may open it.
    Unix(std::path::PathBuf),
}

impl Web {
    /// True if even reading needs the token: others than this host's own users can reach it.
    pub fn needs_token(&self) -> bool {
        !self.hosts.is_empty() || matches!(self.listen, Listen::Tcp(addr) if !addr.ip().is_loopback())
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(addr) => addr.fmt(f),
            Listen::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What happens to the bans in the kernel when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// They stay and end by themselves.
    Keep,
    /// They are lifted.
    Lift,
}

/// Whether a jail runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// The configuration says so.
    Yes,
    /// The configuration says not.
    No,
    /// If its service is found on this host.
    Auto,
}

/// From what a jail reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The best that is there: journal, then log file, then btmp.
    Auto,
    /// The systemd journal.
    Journal,
    /// Log files.
    File,
    /// A btmp file.
    Btmp,
}

/// One jail.
#[derive(Debug, Clone)]
pub struct JailConfig {
    /// Its name.
    pub name: JailName,
    /// Whether it runs.
    pub enabled: Enabled,
    /// From what it reads.
    pub backend: Backend,
    /// Its log files as configured (globs allowed); empty means those of the filter.
    pub logpath: Vec<String>,
    /// Its filter.
    pub filter: FilterSpec,
    /// Its counting.
    pub policy: Policy,
    /// Names or numbers of its ports; empty means found from the service's sockets, else the filter's.
    pub port: Vec<String>,
    /// What becomes of an offender's packets to these ports.
    pub block: Block,
    /// Which packets to these ports are looked at.
    pub way: Way,
    /// What a jail says that was read from a fail2ban directory; nothing for all others.
    pub lines: Option<LineJail>,
}

/// What a jail that was read from a fail2ban directory says beyond the rest: it counts as fail2ban does.
#[derive(Debug, Clone)]
pub struct LineJail {
    /// How it counts and bans.
    pub rules: LineRules,
    /// How its filter reads lines, but for the year, which only the daemon knows.
    pub options: crate::filter::fail2ban::Options,
    /// A command that says of an address, by its exit status 0, that it is not to be banned.
    pub ignorecommand: Option<String>,
    /// How long its answers hold.
    pub ignorecache: Option<fail2ban::IgnoreCache>,
    /// Actions that run their own commands.
    pub commands: Vec<fail2ban::F2bAction>,
}

impl JailConfig {
    /// Programs of the service, by their file names; empty if the filter knows none.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.filter.program.iter().map(String::as_str)
    }
}

impl Config {
    /// The trusted proxies as a set.
    pub fn proxy_set(&self) -> PrefixSet {
        PrefixSet::new(self.trusted_proxies.iter().copied())
    }
}

/// The largest `maxretry`, in points: more cannot be kept in a window.
pub const MAX_MAXRETRY: Points = Points(100_000);

#[cfg(test)]
mod tests;
