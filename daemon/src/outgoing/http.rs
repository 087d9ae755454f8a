//! Requests over HTTP, with rustls and the host's own certificates. Answers are hostile: bounded in size and time.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, http};

use pillory_core::outgoing::Setback;
use pillory_core::time::{Span, Timestamp};

use crate::escape::escape;
use crate::{clock, names, privilege};

use super::Failed;

/// So long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// So long finding a host's address may take.
const RESOLVE: Duration = Duration::from_secs(10);

/// So much of an answer is read, and so much of one that refuses is shown.
const MOST_BYTES: u64 = 1024 * 1024;
const SHOWN_CHARS: usize = 200;

/// What answers a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// For how long the server wants to be left alone.
    retry_after: Option<Span>,
    /// The beginning of what it said.
    pub(crate) body: Vec<u8>,
}

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Web {
    agent: Agent,
}

impl Web {
    /// One that follows so many redirects, to `https://` only unless `is_open`. `ca_file`: certificates that are trusted
    /// in the place of the host's.
    /// # Errors
    /// [`Failed`] if the certificates cannot be read.
    pub(crate) fn new(ca_file: Option<&Path>, redirects: u32, is_open: bool) -> Result<Web, Failed> {
        // On a host without any, only requests without TLS can be made, and TLS says that it trusts nobody.
        let trusted = match certificates(ca_file) {
            Ok(trusted) => trusted,
            Err(error) if ca_file.is_some() => return Err(error),
            Err(_) => Vec::new(),
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(
                trusted.iter().map(|one| Certificate::from_der(one.as_ref()).to_owned()),
            ))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(!is_open)
            .http_status_as_error(false)
            .max_redirects(redirects)
            .max_redirects_will_error(redirects > 0)
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .max_response_header_size(64 * 1024)
            .max_idle_connections(0)
            .user_agent(concat!("pillory/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Web { agent: Agent::with_parts(config, DefaultConnector::new(), Names) })
    }

    /// Sends a request and reads what answers it.
    /// # Errors
    /// [`Failed`] if nothing does; never with the address in it, which may be secret.
    pub(crate) fn ask(&self, request: http::Request<Vec<u8>>) -> Result<Answer, Failed> {
        let answer = match request.method() {
            &http::Method::GET => self.agent.run(request.map(|_| ())),
            _ => self.agent.run(request),
        };
        let mut answer = answer.map_err(|error| failed(&error))?;
        let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
        let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        // What it says beside its status matters only to who asked something.
        Ok(Answer { status, retry_after, body: body.unwrap_or_default() })
    }
}

impl Answer {
    /// Whether it was taken.
    /// # Errors
    /// [`Failed`] with the begin of what was said, and with what is to be done.
    pub(crate) fn taken(&self) -> Result<(), Failed> {
        let text = String::from_utf8_lossy(&self.body);
        let begin: String = text.trim().chars().take(SHOWN_CHARS).collect();
        let said = if begin.is_empty() { String::new() } else { format!(": {}", escape(&begin)) };
        let why = format!("the server answered {}{said}", self.status);
        match self.status {
            200..=299 => Ok(()),
            300..=399 => Err(Failed::lasting(format!("{why}; it leads elsewhere: name that address"))),
            400 | 413 | 415 | 422 => Err(Failed::content(why)),
            408 | 425 | 429 | 500..=599 => {
                let setback = Setback { retry_after: self.retry_after, is_lasting: false };
                Err(Failed { setback, ..Failed::passing(why) })
            }
            _ => Err(Failed::lasting(format!("{why}; look at the address and at the key or token"))),
        }
    }
}

fn failed(error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::Io(error) => Failed::passing(connection_words(error)),
        ureq::Error::Timeout(_) => Failed::passing(format!("no answer within {} s", LIMIT.as_secs())),
        ureq::Error::HostNotFound => {
            Failed::passing("the host's name has no address, or no name server answers")
        }
        ureq::Error::TooManyRedirects => Failed::lasting("it leads elsewhere too often"),
        ureq::Error::RequireHttpsOnly(_) => {
            Failed::lasting("it leads to an address that is not protected by TLS")
        }
        // These have the address in them.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Failed::lasting("the address or a header field is none")
        }
        other => Failed::passing(escape(&other.to_string())),
    }
}

/// What went wrong with a connection, and what to do if the unit forbids them.
pub(super) fn connection_words(error: &std::io::Error) -> String {
    let cure = privilege::network_cure(error).unwrap_or_default();
    let unknown = error.to_string().contains("UnknownIssuer");
    let trust = if unknown { "; name the certificate that signed it with ca_file" } else { "" };
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!(
                "connecting was not permitted ({error}); restart the daemon if the port is a new one{cure}"
            )
        }
        _ => format!("{}{trust}{cure}", escape(&error.to_string())),
    }
}

/// In seconds or as a date.
fn retry_after(answer: &http::Response<Body>) -> Option<Span> {
    let text = answer.headers().get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Span::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Timestamp::from_millis(date.as_millisecond()).since(clock::read().wall))
}

/// The certificates of a file, or those that this host trusts; those that make no sense are left out.
/// # Errors
/// [`Failed`] if there are none.
pub(super) fn certificates(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Failed> {
    let known = match file {
        Some(file) => {
            let bytes = std::fs::read(file).unwrap_or_default();
            CertificateDer::pem_slice_iter(&bytes).flatten().collect()
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let is_usable = |one: &CertificateDer<'static>| rustls::RootCertStore::empty().add(one.clone()).is_ok();
    let usable: Vec<CertificateDer<'static>> = known.into_iter().filter(is_usable).collect();
    if !usable.is_empty() {
        return Ok(usable);
    }
    Err(match file {
        Some(file) => Failed::lasting(format!("{} holds no certificate that can be read", file.display())),
        None => {
            Failed::lasting("this host trusts no certificates; install ca-certificates, or name a ca_file")
        }
    })
}

/// Addresses by our own resolver: the C library's does not work in a static binary.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual));
        let mut found = self.empty();
        // It holds sixteen.
        for addr in addresses(host.trim_matches(['[', ']'])).into_iter().take(16) {
            found.push(SocketAddr::new(addr, port));
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}

/// The addresses of a host.
pub(super) fn addresses(host: &str) -> Vec<IpAddr> {
    match host.parse() {
        Ok(addr) => vec![addr],
        Err(_) => match names::resolve(host, RESOLVE) {
            found if found.is_empty() && host == "localhost" => vec![[127, 0, 0, 1].into()],
            found => found,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        Answer { status, retry_after: retry_after.map(Span::from_secs), body: b" \x1b[31mno ".to_vec() }
    }

    #[test]
    fn a_status_says_what_is_to_be_done() {
        assert_eq!(answer(204, None).taken(), Ok(()));
        let slow = answer(429, Some(7)).taken().unwrap_err();
        assert_eq!(slow.setback, Setback { retry_after: Some(Span::from_secs(7)), is_lasting: false });
        assert!(answer(401, None).taken().unwrap_err().setback.is_lasting);
        assert!(answer(301, None).taken().unwrap_err().setback.is_lasting);
        assert!(!answer(503, None).taken().unwrap_err().setback.is_lasting);
        let content = answer(422, None).taken().unwrap_err();
        assert!(content.is_about_content);
        // What it said cannot do anything on a terminal.
        assert_eq!(content.why, "the server answered 422: \\u{1b}[31mno");
    }

    #[test]
    fn an_answer_may_be_asked_for_later_in_seconds_or_by_a_date() {
        let of = |text: &str| {
            let answer = http::Response::builder().header("retry-after", text);
            retry_after(&answer.body(Body::builder().data("")).unwrap())
        };
        assert_eq!(of("120"), Some(Span::from_secs(120)));
        assert!(of("Wed, 21 Oct 2099 07:28:00 GMT").is_some_and(|span| span > Span::from_secs(86_400)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Span::default()));
        assert_eq!(of("soon"), None);
    }
}
