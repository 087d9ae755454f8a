//! The log where somebody looks on: a line of the time of day here, what happened, and its fields, with those in quotes
//! that have blanks. What the first screen says as well is not said before it.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::escape::escape;

/// Whether the first screen is yet to come.
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// True if somebody looks on.
pub(super) fn is_on() -> bool {
    std::io::stderr().is_terminal()
}

/// From now on only what is wrong is said, until the first screen is there.
pub(crate) fn hold() {
    IS_HELD.store(true, Ordering::Relaxed);
}

/// The first screen is there, or will not come.
pub(crate) fn go_on() {
    IS_HELD.store(false, Ordering::Relaxed);
}

/// Makes a line of each event.
#[derive(Debug)]
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
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
        let level = *event.metadata().level();
        if level > Level::WARN && IS_HELD.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::from_millisecond(clock::read().wall.millis()).unwrap_or_default();
        let time = now.to_zoned(clock::zone()).strftime("%H:%M:%S");
        writeln!(writer, "{time} {level:>5} {}{}", fields.message, fields.shown)
    }
}

/// The message of an event, and what follows it.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    shown: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a text does not fail.
        let mut value = format!("{value:?}");
        if value.contains(char::is_control) {
            value = escape(&value);
        }
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name if value.is_empty() || value.contains(' ') => {
                write!(self.shown, " {name}=\"{}\"", value.replace('"', "'"))
            }
            name => write!(self.shown, " {name}={value}"),
        };
    }
}
