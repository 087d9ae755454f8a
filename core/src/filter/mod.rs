//! Filters: from a line to an [`Event`], in fail2ban's filter language.
//!
//! [`catalog`] holds the built-in filters, [`FilterSpec`] is one filter as written, [`Filter`] the compiled form.
//! [`ini`], [`settings`] and [`spec`] read filter files, [`regex`] understands Python's regular expressions,
//! [`datepattern`] finds and cuts the date, [`dates`] does so by fail2ban's rules, [`header`] reads what syslog writes
//! before a message, [`Needles`] tells which lines of a buffer need be looked at, [`Heads`] who need not look at a line,
//! `beginnings` which expression it can be, [`judge`] puts them together and counts attempts, [`fail2ban`] judges lines
//! as fail2ban does; [`Filter`] is either of the two, and counts attempts in any case; [`btmp`] decodes login records,
//! which need no expression.

mod addr;
mod beginnings;
pub mod btmp;
pub mod catalog;
mod dated;
pub mod datepattern;
pub mod dates;
mod either;
pub mod fail2ban;
pub mod header;
mod heads;
pub mod ini;
pub mod judge;
mod needles;
mod opening;
mod own;
mod program;
pub mod regex;
pub mod settings;
mod shapes;
pub mod spec;
mod whole;
mod word;

use crate::event::{Class, Event};
use crate::time::Timestamp;

pub use dates::DatePatternError;
pub use either::Filter;
pub use heads::Heads;
pub use judge::{FilterError, Finding};
pub use needles::Needles;
pub use regex::RegexError;
pub use spec::{SpecError, SpecProblem};

/// A filter as written: the values of a `filter.d` file after includes and interpolation, before compilation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterSpec {
    /// Its name: `sshd`.
    pub name: String,
    /// Applied first; its `F-CONTENT` group is what the other expressions see.
    pub prefregex: Option<String>,
    /// Lines that show a failure, in order; the first that matches wins.
    pub failregex: Vec<String>,
    /// Lines that are to be passed over although a failregex matches.
    pub ignoreregex: Vec<String>,
    /// Lines that show a good login (ours; fail2ban ignores the key).
    pub successregex: Vec<String>,
    /// Class of each failregex by its index (ours: `failclass = 0:unknown_user 3:scan`); others are `KnownUser`.
    pub failclass: Vec<(usize, Class)>,
    /// Date patterns by the rules of [`dates`], one a line; nothing means that the usual stamps are found by themselves.
    pub datepattern: Option<String>,
    /// How many lines an expression may span; 0 is 1. More only if the filter is an operator's own.
    pub maxlines: usize,
    /// True for an operator's own expressions: lines are matched by fail2ban's rules in all things.
    pub own: bool,
    /// Journal entries to read: alternatives of `FIELD=value` pairs.
    pub journalmatch: Vec<Vec<(String, String)>>,
    /// Log files where the service usually writes (ours: `logpath = ..`, several, globs allowed).
    pub logpath: Vec<String>,
    /// Programs of the service, by their file names (ours: `program = nginx`): the jail runs by itself if one is
    /// installed. Empty: the log alone shows that the service is there.
    pub program: Vec<String>,
    /// True if the service's users are the public (ours: `audience = public`): its bans begin shorter.
    pub public: bool,
    /// Names of the service's ports, for bans limited to them (ours: `port = ssh`).
    pub port: Vec<String>,
    /// What ties lines to one connection (ours: `connection = pid`, `port` or `source`).
    pub connection: ConnectionKey,
}

/// What ties the lines of one connection together, besides the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionKey {
    /// The client's port, where an expression captures it (`F-PORT`). The process serves many connections.
    #[default]
    Port,
    /// The process of the line's `ident[pid]:` too: it serves one connection only.
    Process,
    /// Nothing but the address: several programs write of one attempt, and no field ties their lines together.
    /// The largest count of any one kind of line is then right for the address as a whole. A good login is tied to
    /// nothing, as it says nothing of the other connections.
    Source,
}

/// What a filter says of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// No expression matches.
    Miss,
    /// A failregex matches, but so does an ignoreregex.
    Ignored,
    /// A login failed or succeeded.
    Event(Event),
}

/// The clock that a filter reads stamps against.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Now; completes stamps without a year or a date.
    pub now: Timestamp,
    /// Zone of stamps that carry none.
    pub zone: jiff::tz::TimeZone,
}
