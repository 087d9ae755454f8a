//! What the owner of the host can be told of.

use serde::{Deserialize, Serialize};

use crate::net::Prefix;
use crate::time::Timestamp;

/// Kinds of events, as `on` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something is wrong, or right again.
    Warning,
    /// What no single source shows began or is over: an outage, a campaign, guessing at accounts in use.
    Alarm,
    /// A network of neighbours was banned.
    Widen,
    /// A jail, or somebody by hand, banned an address.
    Ban,
    /// A ban ended.
    Unban,
    /// The daemon started.
    Start,
    /// The daemon stops.
    Stop,
    /// `pillory notify --test`.
    Test,
}

impl Kind {
    /// Every kind that can be asked for, with its name; the most important first.
    pub const ALL: [(Kind, &'static str); 7] = [
        (Kind::Alarm, "alarm"),
        (Kind::Warning, "warning"),
        (Kind::Widen, "widen"),
        (Kind::Ban, "ban"),
        (Kind::Unban, "unban"),
        (Kind::Start, "start"),
        (Kind::Stop, "stop"),
    ];

    /// What is told unless the configuration says otherwise: not each ban.
    pub const USUAL: [Kind; 3] = [Kind::Alarm, Kind::Warning, Kind::Widen];

    /// Its name.
    pub fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).map_or("test", |(_, name)| name)
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// Something that happened, in words that may leave the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// Of which kind.
    pub kind: Kind,
    /// Whom it is about, if it is about an address or a network.
    pub prefix: Option<Prefix>,
    /// What is to be said: one line, with hostile characters escaped, and without names that may be mistyped passwords.
    pub text: String,
}
