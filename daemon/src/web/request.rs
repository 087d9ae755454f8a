//! What a caller asks, in HTTP: bounded in bytes and in time, and refused in doubt.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::clock::Stopwatch;

use super::response::Status;

/// How long a caller may take to ask.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The longest head, and the most fields in it.
const MOST_HEAD_BYTES: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;

/// The longest form.
const MOST_FORM_BYTES: usize = 4 * 1024;

/// What proxies add to what they pass on; and whatever else begins like `X-Forwarded-For`. Source: RFC 7239, RFC 9110
/// section 7.6.3, RFC 8586; the manuals of nginx, Apache, HAProxy, Envoy and of those who run proxies for others.
const FORWARDED: [&str; 15] = [
    "forwarded",
    "via",
    "cdn-loop",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-envoy-external-address",
    "x-original-host",
    "x-original-url",
    "x-original-forwarded-for",
    "x-proxyuser-ip",
];
const FORWARDED_BEGIN: &str = "x-forwarded";

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
}

/// Fields of a query or a form, decoded; hostile text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(bytes: &[u8]) -> Fields {
        Fields(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first of that name, without blanks around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// As it was sent: nothing that is served needs an escape.
    pub(super) path: String,
    pub(super) query: Fields,
    pub(super) form: Fields,
    /// What the caller takes this host for.
    pub(super) host: String,
    pub(super) origin: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) accept: Option<String>,
    /// From where a browser says that a request comes.
    pub(super) fetch_site: Option<String>,
    /// What a browser says that it wants it for.
    pub(super) fetch_dest: Option<String>,
    /// A proxy says that it passes this on.
    pub(super) is_forwarded: bool,
}

impl Request {
    /// True if the caller wants no body.
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::Head
    }
}

/// Hears a caller out.
/// # Errors
/// The system's; that the caller went away or took too long.
pub(super) fn read(mut stream: &UnixStream) -> std::io::Result<Result<Request, Status>> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let since = Stopwatch::start();
    let (mut bytes, mut part) = (Vec::new(), [0; 2048]);
    loop {
        match parse(&bytes) {
            Parsed::Whole(request) => return Ok(Ok(*request)),
            Parsed::Refused(status) => return Ok(Err(status)),
            Parsed::Part => {}
        }
        let left = PATIENCE.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Ok(Err(Status::TIMEOUT));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Err(Status::TIMEOUT)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What so many bytes make.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole(Box<Request>),
    /// More is to come.
    Part,
    Refused(Status),
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes.get(..MOST_HEAD_BYTES).unwrap_or(bytes)) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= MOST_HEAD_BYTES => {
            return Parsed::Refused(Status::HEADERS);
        }
        Ok(httparse::Status::Partial) => return Parsed::Part,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Status::HEADERS),
        Err(_) => return Parsed::Refused(Status::BAD),
    };
    let (request, body_bytes) = match understand(&head) {
        Ok(understood) => understood,
        Err(status) => return Parsed::Refused(status),
    };
    match bytes.get(length..length + body_bytes) {
        None => Parsed::Part,
        Some(body) => Parsed::Whole(Box::new(Request { form: Fields::of(body), ..request })),
    }
}

/// A request without its body, and how long that is.
fn understand(head: &httparse::Request<'_, '_>) -> Result<(Request, usize), Status> {
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => return Err(Status::METHOD),
    };
    let target = head.path.filter(|target| target.starts_with('/')).ok_or(Status::BAD)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let host = one(head, "host")?.filter(|host| !host.is_empty()).ok_or(Status::BAD)?;
    if one(head, "transfer-encoding")?.is_some() {
        return Err(Status::LENGTH);
    }
    let length = one(head, "content-length")?.unwrap_or_else(|| "0".to_owned());
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Status::BAD);
    }
    let body_bytes = length.parse().ok().filter(|length| *length <= MOST_FORM_BYTES).ok_or(Status::LARGE)?;
    let request = Request {
        method,
        path: path.to_owned(),
        query: Fields::of(query.as_bytes()),
        form: Fields::default(),
        host,
        origin: one(head, "origin")?,
        cookie: one(head, "cookie")?,
        authorization: one(head, "authorization")?,
        accept: one(head, "accept")?,
        fetch_site: one(head, "sec-fetch-site")?,
        fetch_dest: one(head, "sec-fetch-dest")?,
        is_forwarded: head.version == Some(0) || head.headers.iter().any(|header| is_of_proxy(header.name)),
    };
    Ok((request, body_bytes))
}

/// True if only a proxy adds a field of that name.
fn is_of_proxy(name: &str) -> bool {
    let begin = name.get(..FORWARDED_BEGIN.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(FORWARDED_BEGIN))
        || FORWARDED.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A field of the head; one that stands twice means two things.
fn one(head: &httparse::Request<'_, '_>, name: &str) -> Result<Option<String>, Status> {
    let mut found = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let (first, second) = (found.next(), found.next());
    if second.is_some() {
        return Err(Status::BAD);
    }
    let text = |header: &httparse::Header<'_>| {
        std::str::from_utf8(header.value).map(|text| text.trim().to_owned()).map_err(|_| Status::BAD)
    };
    first.map(text).transpose()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod whatever {
    /// Reads bytes as a request, in whatever pieces: what a part was refused for, the whole is.
    pub(crate) fn request(data: &[u8]) {
        let whole = super::parse(data);
        let half = super::parse(data.get(..data.len() / 2).unwrap_or_default());
        assert!(!matches!(half, super::Parsed::Refused(_)) || !matches!(whole, super::Parsed::Whole(_)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Whole(request) => *request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_form_comes_with_its_request() {
        let request = whole(
            "POST /ban?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 21\r\nOrigin: http://localhost\r\n\r\nprefix=a%20b&for=1d++",
        );
        assert_eq!(
            (request.method, request.path.as_str(), request.query.get("x")),
            (Method::Post, "/ban", "1")
        );
        assert_eq!(
            (request.form.get("prefix"), request.form.get("for"), request.form.get("y")),
            ("a b", "1d", "")
        );
        assert_eq!(request.origin.as_deref(), Some("http://localhost"));
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        let refused = |text: &str| match parse(text.as_bytes()) {
            Parsed::Refused(status) => status.code(),
            other => panic!("{text:?}: {other:?}"),
        };
        for (text, code) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}\u{2}", 400),
        ] {
            assert_eq!(refused(text), code, "{text:?}");
        }
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9_000))), 431);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65))), 431);
    }

    #[test]
    fn whatever_a_proxy_adds_shows_that_there_is_one() {
        let is_forwarded =
            |field: &str| whole(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}: x\r\n\r\n")).is_forwarded;
        let fields = "X-Forwarded-For x-forwarded-host X-FORWARDED-PROTO Forwarded Via CDN-Loop X-Real-IP \
            X-Client-IP Client-IP True-Client-IP X-Cluster-Client-IP CF-Connecting-IP Fastly-Client-IP \
            X-Envoy-External-Address X-Original-Host X-Original-URL X-Original-Forwarded-For X-ProxyUser-Ip";
        for field in fields.split_whitespace() {
            assert!(is_forwarded(field), "{field}");
        }
        // No browser speaks the first version of HTTP; proxies do that add nothing.
        assert!(whole("GET / HTTP/1.0\r\nHost: a\r\n\r\n").is_forwarded);
        for field in ["X-Forward", "Referer", "Accept", "X-Requested-With"] {
            assert!(!is_forwarded(field), "{field}");
        }
    }

    #[test]
    fn a_part_is_waited_for() {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Parsed::Part, "{end}");
        }
        whole(text);
    }
}
