//! The control socket: commands from root, the daemon's own user and its group, by peer credentials only.
//!
//! One JSON object a line each way. A request is a [`Request`]; the answer is one or more [`Reply`] lines and then
//! the end of the stream.

pub(crate) mod client;
pub(crate) mod glance;
mod listing;
pub(crate) mod past;
pub(crate) mod room;
pub(crate) mod server;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, End, Span, Timestamp};

use crate::allowed::Who;
use crate::cli::configfile::Policy;
use crate::clock;
use crate::escape::escape;
use crate::outputs::publisher::Edition;
use crate::seat::Seat;
use crate::store::query::Wanted;

/// What a client asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", content = "with", rename_all = "snake_case")]
pub(crate) enum Request {
    /// How the daemon is doing.
    Status,
    /// The same with the last hour at a glance, in the place of the effect so far.
    Glance,
    /// The bans in force.
    List,
    /// Who is banned, by prefix, as the first part of an answer to [`Request::List`]; no client asks this.
    #[serde(skip)]
    Banned(Sender<Vec<Prefix>>),
    /// The bans of these prefixes, which is the other part.
    #[serde(skip)]
    BansOf(Vec<Prefix>),
    /// What the wall's pages are made of now; no client asks this.
    #[serde(skip)]
    Edition(Sender<Edition>),
    /// Ban by hand or from a list.
    Ban(Vec<BanOrder>, BanOptions),
    /// Lift bans: of these prefixes, or all.
    Unban {
        /// Nothing means every ban.
        prefixes: Option<Vec<Prefix>>,
        /// Of one jail only.
        jail: Option<JailName>,
    },
    /// Enforce nothing until `on`, or for so long.
    Off {
        /// Nothing means until `on`.
        span: Option<Span>,
    },
    /// Enforce again.
    On,
    /// Why a prefix is banned or not.
    Explain(Prefix),
    /// Read the configuration again.
    Reload,
    /// Never ban these from now on, for so long or until they are removed; or no longer.
    Allow {
        /// Whom.
        who: Vec<Who>,
        /// Nothing means until they are removed.
        span: Option<Span>,
        /// Removes them.
        remove: bool,
    },
    /// Leave these out of the wall from now on, or no longer; none lists who is.
    Unlist {
        /// Whom.
        prefixes: Vec<Prefix>,
        /// No longer.
        remove: bool,
    },
    /// Make so many rescue codes.
    RescueCodes(usize),
    /// Run another policy, and take it back unless it is confirmed within this time.
    Apply(Policy, Span),
    /// Keep the policy that is on trial, or take it back at once.
    Confirm {
        /// Take it back.
        take_back: bool,
        /// Where the client sees itself: the daemon may not look into the environment of others, nor, in some units, see
        /// them at all. A client that does not tell the truth deceives its own user only.
        #[serde(default)]
        seat: Seat,
        /// Who asks: a process, by the kernel's word and not by the client's.
        #[serde(skip)]
        peer: Option<u32>,
    },
    /// Rows of `attempts`; with `follow`, new ones as they come.
    Attempts(Wanted, bool),
    /// Rows of `history`; with `follow`, new ones as they come.
    History(Wanted, bool),
}

/// One ban to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BanOrder {
    /// Whom.
    pub(crate) prefix: Prefix,
    /// Why, in the words of who orders it.
    pub(crate) reason: String,
    /// Stood on a list at that time, too long ago to be banned for it: goes to the history only.
    #[serde(default)]
    pub(crate) listed: Option<Timestamp>,
    /// It is in force elsewhere already: begins and ends as there, whatever the options say.
    #[serde(default)]
    pub(crate) kept: Option<KeptBan>,
}

/// When a ban that is taken over began and ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct KeptBan {
    /// It began.
    pub(crate) since: Timestamp,
    /// It ends.
    pub(crate) until: End,
}

/// How the ordered bans are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BanOptions {
    /// For which jail; nothing means `manual` or `import`.
    pub(crate) jail: Option<JailName>,
    /// For how long.
    pub(crate) bantime: BanTime,
    /// Bans even what would lock the owner out.
    pub(crate) force: bool,
    /// From a list: refusals are reported one by one and the rest is taken.
    pub(crate) import: bool,
    /// Says what would be done and does nothing.
    pub(crate) dry_run: bool,
    /// Address of the caller's own ssh session, if there is one; never banned without `force`.
    pub(crate) caller: Option<std::net::IpAddr>,
}

/// What the daemon answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// Exit status for the client: 0 done, 1 the answer is no, 2 refused as wrong, 77 not allowed.
    pub(crate) exit: u8,
    /// What people are told, or the reason of a refusal.
    pub(crate) message: String,
    /// The data.
    pub(crate) value: Value,
}

impl Reply {
    /// Done, with data.
    pub(crate) fn data(value: Value) -> Reply {
        Reply { exit: 0, message: String::new(), value }
    }

    /// An answer in words with its exit status.
    pub(crate) fn say(exit: u8, message: impl Into<String>) -> Reply {
        Reply { exit, message: message.into(), value: Value::Null }
    }
}

/// When something shows in the JSON of `list`, by the wall clock: seconds are enough.
pub(crate) fn stamp(at: Timestamp) -> Value {
    Value::String(clock::read().on_the_wall(at).to_string())
}

/// A prefix out of an answer as people write it: a single address without its length.
pub(crate) fn short(prefix: &Value) -> String {
    let text = prefix.as_str().unwrap_or_default();
    text.parse::<Prefix>().map_or_else(|_| escape(text), Prefix::short)
}
