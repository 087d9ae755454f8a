//! The values that flow: `Line -> Event -> Attempt -> Decision`.
//!
//! A line is bytes of one record; a filter turns it into an [`Event`] (a failed or a good login); a jail turns
//! events into [`Attempt`]s, counts them, and answers with [`Decision`]s.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::net::Prefix;
use crate::reason::Reason;
use crate::time::{End, Timestamp};

/// One record of a source, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The record's bytes: a text line without its newline, or one raw btmp record.
    pub bytes: &'a [u8],
    /// When the source recorded it, if it says so outside the text (the journal does).
    pub stamp: Option<Timestamp>,
}

/// The name of a jail: not empty, printable ASCII without blanks, quotes and slashes; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JailName(Arc<str>);

impl JailName {
    /// # Errors
    /// [`JailNameError`] if the text is empty, longer than 64 bytes, or holds other characters.
    pub fn new(text: &str) -> Result<JailName, JailNameError> {
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'/' | b'\\');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err(JailNameError { text: text.to_owned() });
        }
        Ok(JailName(Arc::from(text)))
    }

    /// Names under which bans stand that no jail made: by hand, from a list, found in the kernel.
    pub const OF_NO_JAIL: [&str; 3] = ["manual", "import", "kernel"];

    /// The name of a jail that somebody sets up.
    /// # Errors
    /// As [`JailName::new`], and if it is one of [`JailName::OF_NO_JAIL`].
    pub fn of_jail(text: &str) -> Result<JailName, JailNameError> {
        let error = || JailNameError { text: text.to_owned() };
        if JailName::OF_NO_JAIL.contains(&text) { Err(error()) } else { JailName::new(text) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text cannot name a jail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name a jail; {}", name_cure(.text))]
pub struct JailNameError {
    /// What was written.
    pub text: String,
}

fn name_cure(text: &str) -> &'static str {
    if JailName::OF_NO_JAIL.contains(&text) {
        "bans that no jail made have this name"
    } else {
        "use up to 64 letters, digits, dots, dashes or underscores"
    }
}

impl fmt::Display for JailName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<JailName> for String {
    fn from(name: JailName) -> String {
        name.0.to_string()
    }
}

impl TryFrom<String> for JailName {
    type Error = JailNameError;
    fn try_from(text: String) -> Result<JailName, JailNameError> {
        JailName::new(&text)
    }
}

/// What kind of failure a line shows; it carries the points (`points` in the configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// An unknown name that is notorious, or that a source banned since then tried here. Given by the jail only.
    BadUser,
    /// A name that no account here has.
    UnknownUser,
    /// The superuser.
    Root,
    /// An account of this host, or a name of which that is not known.
    KnownUser,
    /// One of `goodusers`. Given by the jail only.
    GoodUser,
    /// A key or a method was tried without a guess at a password.
    Probe,
    /// No login at all: a scan of the port, a garbled banner.
    Scan,
    /// The service itself punished the source, so one line stands for several tries.
    Penalty,
    /// A request that only an attacker sends to a web server.
    Web,
}

impl Class {
    /// Every class with its name in configuration and filters.
    pub const ALL: [(Class, &'static str); 9] = [
        (Class::BadUser, "bad_user"),
        (Class::UnknownUser, "unknown_user"),
        (Class::Root, "root"),
        (Class::KnownUser, "known_user"),
        (Class::GoodUser, "good_user"),
        (Class::Probe, "probe"),
        (Class::Scan, "scan"),
        (Class::Penalty, "penalty"),
        (Class::Web, "web"),
    ];

    /// The name as configuration and filters write it.
    pub fn name(self) -> &'static str {
        Class::ALL.iter().find(|(class, _)| *class == self).map_or("known_user", |(_, name)| name)
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.iter().find(|(_, known)| *known == name).map(|(class, _)| *class)
    }
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A login failed, or something that only attackers do.
    Failure {
        /// As the filter sees it; the jail may know better.
        class: Class,
        /// Which kind of line it is (the index of its failregex): lines of one kind count attempts.
        kind: u16,
        /// How many attempts the line stands for, at least 1.
        attempts: u32,
    },
    /// A login succeeded.
    Success,
}

/// What ties the lines of one connection together; the source's address always belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The host that wrote the line, where one file holds the lines of many; hashed.
    pub host: u64,
    /// The process that served the connection.
    pub pid: Option<u32>,
    /// The client's port.
    pub port: Option<u16>,
}

/// A failed or a good login, as a filter read it from one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened by the line's own stamp; nothing if it carries none.
    pub stamp: Option<Timestamp>,
    /// Who did it: canonical, parsed by code, never a name.
    pub addr: IpAddr,
    /// The user as the line shows it; hostile text, at most [`MAX_USER_BYTES`] long.
    pub user: Option<UserName>,
    /// Failure or success.
    pub outcome: Outcome,
    /// The connection, where the line tells.
    pub connection: Option<Connection>,
    /// Addresses of a real-IP or X-Forwarded-For field, the last of the field first: each was written by the
    /// machine before it, so only those count that a trusted proxy wrote. Empty if the line has no such field.
    pub forwarded: Vec<IpAddr>,
}

/// A user's name as it was tried. Names of up to 23 bytes, nearly all, lie in the value itself: one is copied several
/// times for each line of a flood.
pub type UserName = SmolStr;

/// Longer user names are cut; no system has longer ones.
pub const MAX_USER_BYTES: usize = 256;

/// A counted attempt: what the windows hold, the store keeps and `attempts` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was judged to have happened.
    pub time: Timestamp,
    /// The jail that counted it.
    pub jail: JailName,
    /// The source's single address.
    pub addr: IpAddr,
    /// The user that was tried.
    pub user: Option<UserName>,
    /// Its class after the jail has looked at the user; nothing for a good login.
    pub class: Option<Class>,
    /// Points of all its tries together.
    pub points: Points,
    /// How many tries it stands for.
    pub tries: u32,
    /// The connection it belongs to, where the line told.
    pub connection: Option<Shown>,
}

/// What a connection has shown when an attempt was counted: enough to go on counting it after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The connection's identity as a number.
    pub connection: u64,
    /// The kind of line that brought the attempt.
    pub kind: u16,
    /// The connection's attempts so far.
    pub attempts: u32,
}

/// Points in hundredths, so that sums are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Points(pub u32);

impl Points {
    /// From a decimal number as the configuration writes it, rounded to hundredths; nothing below 0 or above 1e6.
    pub fn from_decimal(number: f64) -> Option<Points> {
        (0.0..=1e6).contains(&number).then(|| Points((number * 100.0).round() as u32))
    }

    /// The sum of `tries` times these points.
    pub fn times(self, tries: u32) -> Points {
        Points(self.0.saturating_mul(tries))
    }

    /// The sum of both.
    pub fn plus(self, other: Points) -> Points {
        Points(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 100.0)
    }
}

/// Where a ban came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A jail of this host.
    Local,
    /// `pillory ban`.
    Manual,
    /// `pillory import`.
    Import,
    /// Another host of the fleet.
    Fleet,
}

impl Origin {
    /// Every origin with its name in JSON and in the store.
    pub const ALL: [(Origin, &'static str); 4] = [
        (Origin::Local, "local"),
        (Origin::Manual, "manual"),
        (Origin::Import, "import"),
        (Origin::Fleet, "fleet"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Origin::ALL.iter().find(|(origin, _)| *origin == self).map_or("local", |(_, name)| name)
    }

    /// The origin of that name.
    pub fn from_name(name: &str) -> Option<Origin> {
        Origin::ALL.iter().find(|(_, known)| *known == name).map(|(origin, _)| *origin)
    }
}

/// Which traffic of a banned prefix is dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of it.
    All,
    /// Only what goes to the ports of this jail.
    Ports(JailName),
    /// None by the kernel: the jail's commands do whatever is done.
    Nothing,
}

/// A jail's decision to ban a prefix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Whom.
    pub prefix: Prefix,
    /// For which jail.
    pub jail: JailName,
    /// From when; the time of the event that decided.
    pub since: Timestamp,
    /// Until when.
    pub until: End,
    /// Attempts that led to it.
    pub failures: u32,
    /// The evidence in words.
    pub reason: Reason,
    /// Who decided.
    pub origin: Origin,
    /// Which traffic.
    pub scope: Scope,
    /// Somebody insisted: it holds for who is never banned, too.
    #[serde(default)]
    pub forced: bool,
}
