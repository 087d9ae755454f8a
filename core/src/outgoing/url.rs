//! Where something is sent over HTTP: only what the rest must know of an address of the web.

use std::fmt;
use std::net::IpAddr;

/// An address of the web: `https://host/path`, or with `http` and a port. Without a user and without a fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    is_tls: bool,
    host: String,
    port: u16,
}

/// Longer ones are none.
const MOST_BYTES: usize = 2_000;

impl Url {
    /// # Errors
    /// Why it is none that something can be sent to; the text is not in it, for it may be secret.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if text.len() > MOST_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "is no address of the web: it is too long, or holds blanks or other letters than ASCII's",
            );
        }
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("begins neither with https:// nor with http://"),
        };
        if text.contains('#') {
            return Err("has a fragment (#), which is never sent");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = host_and_port(authority).ok_or("has no host, or a port that is none")?;
        Ok(Url { text: text.to_owned(), is_tls, host, port: port.unwrap_or(if is_tls { 443 } else { 80 }) })
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True if what is sent can be read by whoever is on the way.
    pub fn is_open(&self) -> bool {
        !self.is_tls && !is_loopback(&self.host)
    }

    /// The same address with more behind its path.
    pub fn join(&self, more: &str) -> String {
        format!("{}/{}", self.text.trim_end_matches('/'), more.trim_start_matches('/'))
    }
}

/// Paths may be secret: many services have their key there.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// As it may be logged: without what may be secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

/// True for this host itself.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// `host`, `host:port`, `[2001:db8::1]:port`; nothing for anything else, a user in front of it included.
pub fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').map_or((port.is_empty()).then_some(None), |port| Some(Some(port)))?)
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_fine) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_of_it_is_found() {
        let url = Url::parse("https://hooks.example.net/services/T0/SECRET").unwrap();
        assert_eq!((url.port(), url.is_open()), (443, false));
        assert_eq!(format!("{url} {url:?}"), "https://hooks.example.net:443 https://hooks.example.net:443");
        let url = Url::parse("http://[2001:db8::1]:8080").unwrap();
        assert_eq!(
            (url.port(), url.is_open(), url.to_string()),
            (8080, true, "http://[2001:db8::1]:8080".into())
        );
        assert!(!Url::parse("http://127.0.0.1:80/x").unwrap().is_open());
        assert_eq!(url.join("/ip/7"), "http://[2001:db8::1]:8080/ip/7");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ftp://example.net",
            "https://",
            "https:///path",
            "https://user@example.net/",
            "https://a:0/",
            "https://a:99999/",
            "https://a b/",
            "https://a/#x",
            "https://[::1/",
            "https://[::1]x/",
            "https://a\r\nb/",
            "https://[nonsense]/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }
}
