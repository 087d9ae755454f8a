//! What a caller gets.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;

use crate::clock::Stopwatch;

/// How long a caller may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body no longer than that goes out with its head; a longer one is not copied for it.
const SMALL: usize = 64 * 1024;

/// What holds for every answer: nothing of elsewhere is fetched, nobody frames it, no script but our own runs.
const ALWAYS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n\
X-Content-Type-Options: nosniff\r\n\
Referrer-Policy: same-origin\r\n\
Cross-Origin-Opener-Policy: same-origin\r\n\
Cross-Origin-Resource-Policy: same-origin\r\n\
Cache-Control: no-store\r\n\
Connection: close\r\n";

/// A status of HTTP with its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(u16, &'static str);

impl Status {
    pub(super) const OK: Status = Status(200, "OK");
    pub(super) const SEE_OTHER: Status = Status(303, "See Other");
    pub(super) const BAD: Status = Status(400, "Bad Request");
    pub(super) const UNAUTHORIZED: Status = Status(401, "Unauthorized");
    pub(super) const FORBIDDEN: Status = Status(403, "Forbidden");
    pub(super) const NOT_FOUND: Status = Status(404, "Not Found");
    pub(super) const METHOD: Status = Status(405, "Method Not Allowed");
    pub(super) const TIMEOUT: Status = Status(408, "Request Timeout");
    pub(super) const CONFLICT: Status = Status(409, "Conflict");
    pub(super) const LENGTH: Status = Status(411, "Length Required");
    pub(super) const LARGE: Status = Status(413, "Content Too Large");
    pub(super) const MISDIRECTED: Status = Status(421, "Misdirected Request");
    pub(super) const MANY: Status = Status(429, "Too Many Requests");
    pub(super) const HEADERS: Status = Status(431, "Request Header Fields Too Large");
    pub(super) const FAULT: Status = Status(500, "Internal Server Error");
    pub(super) const UNAVAILABLE: Status = Status(503, "Service Unavailable");

    pub(super) fn code(self) -> u16 {
        self.0
    }

    pub(super) fn words(self) -> &'static str {
        self.1
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: Status,
    kind: &'static str,
    body: Arc<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
}

impl Response {
    /// Data of a kind.
    pub(super) fn data(kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response::shared(kind, Arc::new(body.into()))
    }

    /// Data that others get as well.
    pub(super) fn shared(kind: &'static str, body: Arc<Vec<u8>>) -> Response {
        Response { status: Status::OK, kind, body, headers: Vec::new() }
    }

    /// A page.
    pub(super) fn page(page: &impl Template) -> Response {
        match page.render() {
            Ok(text) => Response::data("text/html; charset=utf-8", text),
            Err(_) => Response::refusal(Status::FAULT),
        }
    }

    /// A status and no more, in a line of text.
    pub(super) fn refusal(status: Status) -> Response {
        let words = format!("{}\n", status.words());
        Response { status, ..Response::data("text/plain; charset=utf-8", words) }
    }

    /// Somewhere else on this site.
    pub(super) fn see_other(to: String) -> Response {
        Response { status: Status::SEE_OTHER, ..Response::data("text/plain", "") }.with("Location", to)
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Response {
        self.headers.push((name, value));
        self
    }

    pub(super) fn with_status(self, status: Status) -> Response {
        Response { status, ..self }
    }

    /// Sends it; a caller that does not read loses the connection.
    pub(super) fn send(&self, stream: &UnixStream, is_head: bool) -> std::io::Result<()> {
        let mut text = head(self.status, self.kind);
        text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            // What stands here is ours or was parsed; a line end in it would be a header of somebody else's.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if self.body.len() <= SMALL && !is_head {
            bytes.extend_from_slice(&self.body);
        }
        write(stream, &bytes, PATIENCE)?;
        match self.body.len() > SMALL && !is_head {
            true => write(stream, &self.body, PATIENCE),
            false => Ok(()),
        }
    }
}

/// Begins an answer without an end.
pub(super) fn begin_events(stream: &UnixStream) -> std::io::Result<()> {
    let head = format!("{}\r\n", head(Status::OK, "text/event-stream; charset=utf-8"));
    write(stream, head.as_bytes(), PATIENCE)
}

fn head(status: Status, kind: &str) -> String {
    format!("HTTP/1.1 {} {}\r\nContent-Type: {kind}\r\n{ALWAYS}", status.code(), status.words())
}

/// Writes all of it within so much time.
/// # Errors
/// The system's; `WouldBlock` or `TimedOut` if the other end does not read.
pub(super) fn write(mut stream: &UnixStream, mut bytes: &[u8], patience: Duration) -> std::io::Result<()> {
    let since = Stopwatch::start();
    while !bytes.is_empty() {
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
