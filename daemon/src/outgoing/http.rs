//! Requests over HTTP, with rustls and the host's own certificates. Answers are hostile: bounded in size and time.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, http};

use pillory_core::net::{Prefix, canonical};
use pillory_core::outgoing::Setback;
use pillory_core::time::{Span, Timestamp};

use crate::escape::escape;
use crate::kernelfacts::HostFacts;
use crate::{clock, names, privilege};

use super::Failed;

/// So long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// So long finding a host's address may take.
pub(super) const RESOLVE: Duration = Duration::from_secs(10);

/// Addresses of this host, of networks that others cannot reach, and of nobody. Source: the registries of special-purpose
/// addresses, RFC 6890; RFC 5771, RFC 4291. Where an IPv4 address is inside one of IPv6 and a gateway may take it out
/// again: RFC 8215, RFC 3056, RFC 4380 and, of the translated ones, RFC 2765.
const NOT_PUBLIC: [&str; 20] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Its last 32 bits are an IPv4 address, which a NAT64 gateway goes to. Source: RFC 6052, section 2.1.
const NAT64: &str = "64:ff9b::/96";

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
    /// What it said; why not, if it did not get to an end or was too much.
    pub(crate) body: Result<Vec<u8>, Failed>,
}

/// Sends a request.
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
        Web::within(LIMIT, ca_file, redirects, is_open)
    }

    fn within(limit: Duration, ca_file: Option<&Path>, redirects: u32, is_open: bool) -> Result<Web, Failed> {
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
            .timeout_global(Some(limit))
            .max_response_header_size(64 * 1024)
            .max_idle_connections(0)
            .user_agent(concat!("pillory/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Web { agent: Agent::with_parts(config, DefaultConnector::new(), Names::default()) })
    }

    /// Sends a request and reads what answers it.
    /// # Errors
    /// [`Failed`] if nothing does; never with the address in it, which may be secret.
    pub(crate) fn ask(self, request: http::Request<Vec<u8>>) -> Result<Answer, Failed> {
        let answer = match request.method() {
            &http::Method::GET => self.agent.run(request.map(|_| ())),
            _ => self.agent.run(request),
        };
        let mut answer = answer.map_err(|error| failed(&error))?;
        let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
        let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        // What it says beside its status matters only to who asked something.
        Ok(Answer { status, retry_after, body: body.map_err(|error| failed(&error)) })
    }
}

impl Answer {
    /// Whether it was taken.
    /// # Errors
    /// [`Failed`] with the begin of what was said, and with what is to be done.
    pub(crate) fn taken(&self) -> Result<(), Failed> {
        let text = String::from_utf8_lossy(self.body.as_deref().unwrap_or_default());
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
        ureq::Error::BodyExceedsLimit(_) => {
            Failed::passing(format!("the answer is larger than {} MiB", MOST_BYTES >> 20))
        }
        ureq::Error::Other(error) => Failed::passing(escape(&error.to_string())),
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

/// Addresses by our own resolver, for one request: the C library's does not work in a static binary. It sees where
/// redirects lead, and lets none of them lead into a network that the server could not reach by itself.
#[derive(Debug, Default)]
struct Names {
    /// Where the request goes that was made, which may be anywhere.
    home: OnceLock<(String, u16)>,
    /// TLS protected it so far.
    is_protected: AtomicBool,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &http::Uri,
        _: &ureq::config::Config,
        left: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let is_open = uri.scheme_str() == Some("http");
        if self.is_protected.fetch_or(!is_open, Ordering::Relaxed) && is_open {
            return Err(ureq::Error::RequireHttpsOnly(String::new()));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_open { 80 } else { 443 });
        let mut known = addresses(&host, RESOLVE.min(*left.after));
        if known.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        let here = (host, port);
        if *self.home.get_or_init(|| here.clone()) != here {
            let own = own_addresses()?;
            known.retain(|addr| is_public(*addr, &own));
        }
        let mut found = self.empty();
        // It holds sixteen.
        for addr in known.into_iter().take(16) {
            found.push(SocketAddr::new(addr, port));
        }
        let inside = "it leads to an address that is not public, where nobody may lead this host; name that place yourself if it is meant";
        if found.is_empty() { Err(ureq::Error::Other(inside.into())) } else { Ok(found) }
    }
}

/// True if the way to this address leads out of this host and its networks. `own`: this host's addresses.
fn is_public(addr: IpAddr, own: &[IpAddr]) -> bool {
    let addr = reached(addr);
    let mut ranges = NOT_PUBLIC.iter().filter_map(|range| range.parse::<Prefix>().ok());
    !own.contains(&addr) && !ranges.any(|range| range.contains_addr(addr))
}

/// What a connection to this address leads to in the end.
fn reached(addr: IpAddr) -> IpAddr {
    match canonical(addr) {
        IpAddr::V6(inside) if NAT64.parse::<Prefix>().is_ok_and(|net| net.contains_addr(addr)) => {
            IpAddr::from(std::net::Ipv4Addr::from_bits(inside.to_bits() as u32))
        }
        other => other,
    }
}

/// This host's addresses, some of which may be public ones; services there may believe whoever comes from the host itself.
fn own_addresses() -> Result<Vec<IpAddr>, ureq::Error> {
    let listed = HostFacts::open().and_then(|mut facts| facts.addresses());
    let listed = listed.map_err(|error| {
        let said =
            format!("this host's own addresses cannot be listed ({error}), and nobody may lead it to itself");
        ureq::Error::Other(said.into())
    })?;
    Ok(listed.into_iter().map(|own| own.addr).collect())
}

/// The addresses of a host, found within this time.
pub(super) fn addresses(host: &str, limit: Duration) -> Vec<IpAddr> {
    match host.parse() {
        Ok(addr) => vec![addr],
        Err(_) => match names::resolve(host, limit) {
            found if found.is_empty() && host == "localhost" => vec![[127, 0, 0, 1].into()],
            found => found,
        },
    }
}

#[cfg(test)]
mod tests;
