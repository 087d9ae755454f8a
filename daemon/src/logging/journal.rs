//! The journal's own protocol, for a daemon whose standard error the service manager has tied to the journal: an entry a
//! line, with its fields, in the place of a line of text.
//!
//! An entry is one datagram of lines `FIELD=value` (systemd, "Native Journal Protocol"). Text in a log is escaped, so no
//! value has a newline; one that had would be sent as a blank. The socket is opened before the daemon gives up its rights.

use std::fmt::Write as _;
use std::io::Result;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const SOCKET: &str = "/run/systemd/journal/socket";

/// What the entries are known by, as a line of text would be.
const IDENT: &str = "pillory";

/// The open socket, if the log goes there.
static OPEN: OnceLock<UnixDatagram> = OnceLock::new();

/// Uses the journal from now on if standard error is tied to it; true if so.
pub(super) fn begin() -> bool {
    if is_on() {
        return true;
    }
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    if !is_stream(&named) {
        return false;
    }
    let open = || -> Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(socket)
    };
    // A journal without a socket takes lines of text, too.
    open().is_ok_and(|socket| OPEN.set(socket).is_ok())
}

/// True if entries are sent.
pub(super) fn is_on() -> bool {
    OPEN.get().is_some()
}

/// True if `named`, as in `$JOURNAL_STREAM`, is standard error: a service may have tied it to something else since.
fn is_stream(named: &str) -> bool {
    let Some((device, inode)) = named.split_once(':') else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| device == stat.st_dev.to_string() && inode == stat.st_ino.to_string())
}

/// Sends an entry.
/// # Errors
/// The system's. A journal that was replaced is found again.
pub(super) fn send(entry: &[u8]) -> Result<()> {
    let Some(socket) = OPEN.get() else { return Ok(()) };
    match socket.send(entry) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            socket.connect(SOCKET)?;
            socket.send(entry).map(drop)
        }
        sent => sent.map(drop),
    }
}

/// An entry of a line that is no event of the logger.
pub(super) fn entry(level: Level, message: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = String::new();
    for (name, value) in fields {
        put(&mut entry, &field_name(name), value);
    }
    finish(&mut entry, level, message);
    entry.into_bytes()
}

/// Makes an entry of each event.
#[derive(Debug)]
pub(super) struct Entries;

impl<S, N> FormatEvent<S, N> for Entries
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, shown, mut entry } = fields;
        finish(&mut entry, *event.metadata().level(), &format!("{message}{shown}"));
        writer.write_str(&entry)
    }
}

/// The fields of an event: as they follow its message, and as they stand in the entry.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    shown: String,
    entry: String,
}

impl Fields {
    fn take(&mut self, name: &str, value: &str, shown: &str) {
        if name == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a text does not fail.
            let _ = write!(self.shown, " {name}={shown}");
            put(&mut self.entry, &field_name(name), value);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value, &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        self.take(field.name(), &value, &value);
    }
}

/// `jail` is `PILLORY_JAIL`; what the log calls `ip` may be a network.
fn field_name(name: &str) -> String {
    let name = if name == "ip" { "prefix" } else { name };
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PILLORY_{}", name.chars().map(letter).collect::<String>())
}

fn finish(entry: &mut String, level: Level, message: &str) {
    // syslog(3).
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    };
    put(entry, "PRIORITY", priority);
    put(entry, "SYSLOG_IDENTIFIER", IDENT);
    put(entry, "MESSAGE", message);
}

fn put(entry: &mut String, name: &str, value: &str) {
    entry.push_str(name);
    entry.push('=');
    entry.extend(value.chars().map(|c| if c == '\n' { ' ' } else { c }));
    entry.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_bring_a_field_of_its_own() {
        let entry = entry(Level::WARN, "a\nPRIORITY=0", &[("ip", "192.0.2.7"), ("jail", "sshd\nX=1")]);
        let text = String::from_utf8(entry).unwrap();
        let expected = "PILLORY_PREFIX=192.0.2.7\nPILLORY_JAIL=sshd X=1\nPRIORITY=4\nSYSLOG_IDENTIFIER=pillory\nMESSAGE=a PRIORITY=0\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn only_standard_error_itself_is_the_stream() {
        let stat = rustix::fs::fstat(std::io::stderr()).unwrap();
        assert!(is_stream(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        for other in [format!("{}:{}", stat.st_dev, stat.st_ino + 1), String::new(), "7".into()] {
            assert!(!is_stream(&other), "{other}");
        }
    }
}
