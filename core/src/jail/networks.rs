//! Whose network an address belongs to, as far as the host has a database that says it. The core only asks.

use std::fmt::Debug;
use std::net::IpAddr;

/// A database of networks.
pub trait Networks: Debug + Send + Sync {
    /// The number of the autonomous system (AS) that announces an address; nothing if it is not known.
    fn asn(&self, addr: IpAddr) -> Option<u32>;

    /// The name of its operator, for people.
    fn operator(&self, addr: IpAddr) -> Option<String>;
}
