//! What `[notify.NAME]`, `[report.NAME]` and `[rdap]` say: where something is sent, and how much.

use std::path::PathBuf;

use crate::outgoing::{Kind, Pace, Url};
use crate::time::Span;

/// Everything that is sent; nothing unless configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// Who is told what happens here.
    pub notify: Vec<Notify>,
    /// Who is told of attackers.
    pub reports: Vec<Destination>,
    /// Who knows whose network an address is in.
    pub rdap: Rdap,
}

impl Outgoing {
    /// True if the daemon sends anything.
    pub fn is_any(&self) -> bool {
        !(self.notify.is_empty() && self.reports.is_empty())
    }
}

/// A section `[notify.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Its name.
    pub name: String,
    /// What it is told of.
    pub on: Vec<Kind>,
    /// How often.
    pub pace: Pace,
    /// By what way.
    pub way: Way,
}

/// By what way somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By mail.
    Mail(Mail),
    /// By a request over HTTP.
    Webhook(Webhook),
    /// By a line of syslog for each event.
    Syslog(Syslog),
    /// By a program with its arguments; what is to be said is on its standard input.
    Command(Vec<String>),
}

/// How mail is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Who writes.
    pub from: String,
    /// To whom; empty for reports, which go to whom they concern.
    pub to: Vec<String>,
    /// With what name and which file for a password to log in.
    pub login: Option<(String, PathBuf)>,
    /// A file with the certificates that are trusted in the place of the host's.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte.
    Wrapped,
    /// By STARTTLS, or not at all used.
    StartTls,
    /// Not.
    None,
}

/// A request over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub place: WebPlace,
    /// What is sent.
    pub form: Form,
    /// More header fields.
    pub headers: Vec<(String, String)>,
    /// A file with a token that is sent as `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// See [`Mail::ca_file`].
    pub ca_file: Option<PathBuf>,
}

/// An address of the web, or a file that holds it because it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebPlace {
    /// It is known.
    Known(Url),
    /// It stands in this file.
    File(PathBuf),
}

/// What a webhook is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// All that is known, as JSON.
    Json,
    /// JSON with `{subject}`, `{text}`, `{host}`, `{kind}`, `{count}` and `{id}` in its strings.
    Template(String),
    /// A message of ntfy, published as JSON.
    Ntfy,
    /// An incoming webhook of Slack, or of what takes the same.
    Slack,
    /// An event of a Matrix room.
    Matrix,
    /// A webhook of Discord.
    Discord,
}

/// Where lines of syslog go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syslog {
    /// To this socket of this host.
    Local(PathBuf),
    /// To a host's port, a datagram each.
    Udp(String, u16),
    /// To a host's port, over a connection.
    Tcp(String, u16),
}

/// A section `[report.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// How many reports a day, and how failures are dealt with.
    pub pace: Pace,
    /// So long after a report of an address there is no other one of it.
    pub cool_down: Span,
    /// Who is told.
    pub to: Receiver,
}

/// Who is told of attackers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// AbuseIPDB, by version 2 of its interface.
    AbuseIpDb {
        /// Where that is.
        url: Url,
        /// A file with the key.
        key_file: PathBuf,
        /// From so many waiting reports on they go as one file; nothing for never.
        bulk: Option<u32>,
    },
    /// blocklist.de.
    BlocklistDe {
        /// Where that is.
        url: Url,
        /// A file with the key.
        key_file: PathBuf,
        /// The address of mail under which this host is known there.
        server: String,
    },
    /// The abuse contact of the network, by mail in X-ARF.
    Xarf {
        /// How it is sent.
        mail: Mail,
        /// Who reports: a name for people.
        organisation: String,
    },
}

impl Destination {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.to {
            Receiver::AbuseIpDb { .. } => "abuseipdb",
            Receiver::BlocklistDe { .. } => "blocklist-de",
            Receiver::Xarf { .. } => "xarf",
        }
    }
}

/// Who is asked whose network an address is in (`[rdap]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdap {
    /// A server that knows, or knows who knows.
    pub url: Url,
    /// See [`Mail::ca_file`].
    pub ca_file: Option<PathBuf>,
}

/// A server that leads on to the registry whose network it is.
const RDAP: &str = "https://rdap.org";

impl Default for Rdap {
    fn default() -> Rdap {
        // Invariant: the constant is an address, which a test holds.
        let url = Url::parse(RDAP).unwrap_or_else(|_| unreachable!());
        Rdap { url, ca_file: None }
    }
}
