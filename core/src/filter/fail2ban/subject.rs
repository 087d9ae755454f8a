//! Whom a failure is counted for, as fail2ban reads it: an address, a network, any other text, or a name.

use std::fmt;
use std::net::IpAddr;

use smol_str::SmolStr;

use crate::net::{Prefix, canonical};

/// Whom a failure is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An address or, where the expression captures a length (`<SUBNET>`, `<CIDR>`), a network.
    Net(Prefix),
    /// An identity that is no address: what `<F-ID>` captured, or digits that only look like an address.
    Id(SmolStr),
    /// A name (`<HOST>`, `<DNS>`): somebody has to resolve it, or to drop it.
    Name(SmolStr),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Net(prefix) => f.write_str(&prefix.short()),
            Subject::Id(text) | Subject::Name(text) => f.write_str(text),
        }
    }
}

/// An address with the length that was captured beside it. A length that its family does not have makes it text.
pub(super) fn network(addr: &str, length: Option<&str>) -> Subject {
    let Ok(parsed) = addr.parse::<IpAddr>() else { return Subject::Id(addr.into()) };
    match length.filter(|length| !length.is_empty()) {
        None => Subject::Net(Prefix::host(canonical(parsed))),
        Some(length) => match length.parse().map(|length| Prefix::new(parsed, length)) {
            Ok(Ok(prefix)) => Subject::Net(prefix),
            _ => Subject::Id(addr.into()),
        },
    }
}

/// What `<F-ID>` captured: an address, `ADDRESS/LENGTH`, either in brackets, or just text.
pub(super) fn identity(text: &str) -> Subject {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let bare = bare.filter(|inner| !inner.is_empty()).unwrap_or(text);
    match bare.split_once('/') {
        None => match bare.parse::<IpAddr>() {
            Ok(addr) => Subject::Net(Prefix::host(canonical(addr))),
            Err(_) => Subject::Id(bare.into()),
        },
        Some((addr, length)) => match network(addr, Some(length)) {
            net @ Subject::Net(_) => net,
            _ => Subject::Id(text.into()),
        },
    }
}

/// What `<HOST>` or `<DNS>` captured where no address stood: an address after all, or a name.
pub(super) fn host(text: &str) -> Subject {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(addr) => Subject::Net(Prefix::host(canonical(addr))),
        Err(_) => Subject::Name(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(subject: &Subject) -> (&'static str, String) {
        let kind = match subject {
            Subject::Net(_) => "net",
            Subject::Id(_) => "id",
            Subject::Name(_) => "name",
        };
        (kind, subject.to_string())
    }

    #[test]
    fn only_real_addresses_become_networks() {
        assert_eq!(shown(&network("192.0.2.7", None)), ("net", "192.0.2.7".into()));
        assert_eq!(shown(&network("192.030.0.6", None)), ("id", "192.030.0.6".into()));
        assert_eq!(shown(&network("192.0.2.7", Some("24"))), ("net", "192.0.2.0/24".into()));
        assert_eq!(shown(&network("192.0.2.7", Some("33"))), ("id", "192.0.2.7".into()));
        assert_eq!(shown(&network("::ffff:192.0.2.7", None)), ("net", "192.0.2.7".into()));
        assert_eq!(shown(&network("2001:DB8:0::1", None)), ("net", "2001:db8::1".into()));
    }

    #[test]
    fn identities_and_hosts_may_be_anything() {
        assert_eq!(shown(&identity("[2001:db8::1]")), ("net", "2001:db8::1".into()));
        assert_eq!(shown(&identity("192.0.2.7/24")), ("net", "192.0.2.0/24".into()));
        assert_eq!(shown(&identity("session/9")), ("id", "session/9".into()));
        assert_eq!(shown(&host("mail.example.net")), ("name", "mail.example.net".into()));
        assert_eq!(shown(&host("192.0.2.7")), ("net", "192.0.2.7".into()));
    }
}
