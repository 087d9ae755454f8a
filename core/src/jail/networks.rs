//! Whose network an address belongs to and where it is, as far as the host has databases that say it. The core only asks.

use std::fmt::{self, Debug, Display};
use std::net::IpAddr;

/// Databases of networks.
pub trait Networks: Debug + Send + Sync {
    /// The number of the autonomous system (AS) that announces an address; nothing if it is not known.
    fn asn(&self, addr: IpAddr) -> Option<u32>;

    /// The name of its operator, for people.
    fn operator(&self, addr: IpAddr) -> Option<String>;

    /// The country that an address is used in; nothing if it is not known.
    fn country(&self, _addr: IpAddr) -> Option<Country> {
        None
    }
}

/// A country by its two letters of ISO 3166-1, or what is written like one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Nothing if it is not two letters.
    pub fn parse(text: &str) -> Option<Country> {
        let letters = <[u8; 2]>::try_from(text.as_bytes()).ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Country(letters.map(|b| b.to_ascii_uppercase())))
    }
}

impl Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
