//! Which set an element lives in, what the set is called, and how a prefix becomes a key and back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pillory_core::event::{JailName, Scope};
use pillory_core::hash::stable;
use pillory_core::net::Prefix;

use crate::actions::Element;

/// Kernels before 4.14 take names of at most 31 bytes.
const MAX_NAME_BYTES: usize = 31;

/// The five kinds of sets; each exists once for all ports and once for each jail that is limited to ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SetKind {
    /// IPv4 addresses.
    Ban4,
    /// IPv6 addresses.
    Ban6,
    /// IPv6 /64s, as addresses whose lower half is zero.
    Ban6n,
    /// Other IPv4 prefixes.
    Net4,
    /// Other IPv6 prefixes.
    Net6,
}

impl SetKind {
    /// All kinds, in the order of their rules: the common ones first.
    pub(super) const ALL: [SetKind; 5] =
        [SetKind::Ban4, SetKind::Ban6n, SetKind::Ban6, SetKind::Net4, SetKind::Net6];

    /// The name of its set for all ports.
    pub(super) fn name(self) -> &'static str {
        match self {
            SetKind::Ban4 => "ban4",
            SetKind::Ban6 => "ban6",
            SetKind::Ban6n => "ban6n",
            SetKind::Net4 => "net4",
            SetKind::Net6 => "net6",
        }
    }

    /// True for IPv4.
    pub(super) fn is_ipv4(self) -> bool {
        matches!(self, SetKind::Ban4 | SetKind::Net4)
    }

    /// True if elements are intervals, a start and an end key each.
    pub(super) fn is_interval(self) -> bool {
        matches!(self, SetKind::Net4 | SetKind::Net6)
    }

    /// Bytes of a key.
    pub(super) fn key_bytes(self) -> usize {
        if self.is_ipv4() { 4 } else { 16 }
    }

    fn of(prefix: Prefix) -> SetKind {
        match (prefix.is_ipv4(), prefix.prefix_len()) {
            (true, 32) => SetKind::Ban4,
            (true, _) => SetKind::Net4,
            (false, 128) => SetKind::Ban6,
            (false, 64) => SetKind::Ban6n,
            (false, _) => SetKind::Net6,
        }
    }

    /// The prefix that a key of a hash set stands for.
    pub(super) fn prefix_of_key(self, key: &[u8]) -> Option<Prefix> {
        let addr = crate::netlink::decode::addr(key).filter(|addr| addr.is_ipv4() == self.is_ipv4())?;
        match self {
            SetKind::Ban6n => Prefix::new(addr, 64).ok(),
            _ => Some(Prefix::host(addr)),
        }
    }
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SetId {
    /// Its kind.
    pub(super) kind: SetKind,
    /// For which jail's ports; nothing for all ports.
    pub(super) jail: Option<JailName>,
}

impl SetId {
    /// The set that an element lives in.
    pub(super) fn of(element: &Element) -> SetId {
        let jail = match &element.scope {
            // The projection holds nothing that the kernel shall not do.
            Scope::All | Scope::Nothing => None,
            Scope::Ports(jail) => Some(jail.clone()),
        };
        SetId { kind: SetKind::of(element.prefix), jail }
    }

    /// All five sets of a jail, or those for all ports.
    pub(super) fn all(jail: Option<&JailName>) -> impl Iterator<Item = SetId> + use<> {
        let jail = jail.cloned();
        SetKind::ALL.into_iter().map(move |kind| SetId { kind, jail: jail.clone() })
    }

    /// Which traffic its elements shut out.
    pub(super) fn scope(&self) -> Scope {
        self.jail.clone().map_or(Scope::All, Scope::Ports)
    }

    /// What its comment says, from which the jail can be told whatever became of the name.
    pub(super) fn comment(&self) -> Option<String> {
        self.jail.as_ref().map(|jail| format!("{COMMENT_START}{jail}"))
    }

    /// The set of this name and comment; nothing if it is none of ours.
    ///
    /// `known`: jails to look for where a kernel kept no comment.
    pub(super) fn from_kernel(name: &str, comment: Option<&str>, known: &[JailName]) -> Option<SetId> {
        if let Some(kind) = SetKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return Some(SetId { kind, jail: None });
        }
        let (start, _) = name.split_once('_')?;
        let kind = SetKind::ALL.into_iter().find(|kind| kind.name() == start)?;
        let named = comment.and_then(|text| text.strip_prefix(COMMENT_START));
        let named = named.and_then(|text| JailName::new(text).ok());
        let ours = |jail: &JailName| SetId { kind, jail: Some(jail.clone()) }.to_string() == name;
        named.iter().chain(known).find(|jail| ours(jail)).map(|jail| SetId { kind, jail: Some(jail.clone()) })
    }
}

const COMMENT_START: &str = "jail ";

/// The set's name: `ban4`, `net6_nginx-http-auth`.
///
/// What nft could not read back, or what is too long, is replaced and told apart by a short hash.
impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        let Some(jail) = &self.jail else { return f.write_str(kind) };
        let jail = jail.as_str();
        let room = MAX_NAME_BYTES - kind.len() - 1;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if jail.len() <= room && jail.bytes().all(legal) {
            return write!(f, "{kind}_{jail}");
        }
        let start: String =
            jail.bytes().take(room - 9).map(|b| if legal(b) { char::from(b) } else { '_' }).collect();
        write!(f, "{kind}_{start}_{:08x}", stable(jail.as_bytes()))
    }
}

/// The key of a prefix's first address.
pub(super) fn start_key(prefix: Prefix) -> Key {
    Key::from(prefix.addr())
}

/// The key after a prefix's last address; nothing if the prefix reaches the end of all addresses.
pub(super) fn end_key(prefix: Prefix) -> Option<Key> {
    let (_, last) = prefix.range();
    if prefix.is_ipv4() {
        let after = u32::try_from(last).ok()?.checked_add(1)?;
        Some(Key::from(IpAddr::V4(Ipv4Addr::from_bits(after))))
    } else {
        Some(Key::from(IpAddr::V6(Ipv6Addr::from_bits(last.checked_add(1)?))))
    }
}

/// A set key without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    bytes: [u8; 16],
    len: usize,
}

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl From<IpAddr> for Key {
    fn from(addr: IpAddr) -> Key {
        match addr {
            IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&v4.octets());
                Key { bytes, len: 4 }
            }
            IpAddr::V6(v6) => Key { bytes: v6.octets(), len: 16 },
        }
    }
}

/// The prefixes that an interval set's keys stand for, each with what its start carries.
///
/// `keys`: in any order; `None` marks an interval's end. A range that is no prefix (somebody else's doing)
/// is taken apart into prefixes.
pub(super) fn intervals<T: Copy>(keys: Vec<(IpAddr, Option<T>)>) -> Vec<(Prefix, T)> {
    let mut keys = keys;
    // Where one interval ends and the next begins, the end comes first.
    keys.sort_by_key(|(addr, start)| (*addr, start.is_some()));
    let mut found = Vec::new();
    let mut open: Option<(IpAddr, T)> = None;
    for (addr, start) in keys {
        if let Some((first, carried)) = open.take() {
            split_range(first, Some(addr), |prefix| found.push((prefix, carried)));
        }
        open = start.map(|carried| (addr, carried));
    }
    if let Some((first, carried)) = open {
        split_range(first, None, |prefix| found.push((prefix, carried)));
    }
    found
}

/// Hands out the fewest prefixes that cover `first` up to, without it, `end` (or all that follow).
fn split_range(first: IpAddr, end: Option<IpAddr>, mut each: impl FnMut(Prefix)) {
    let width: u8 = if first.is_ipv4() { 32 } else { 128 };
    let number = |addr: IpAddr| match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let max = if first.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
    let last = match end {
        Some(end) => number(end).saturating_sub(1),
        None => max,
    };
    let mut at = number(first);
    while at <= last {
        let addr = if first.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from_bits(at as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(at))
        };
        let aligned = (at.trailing_zeros() as u8).min(width);
        let fits = (0..=aligned).rev().find_map(|bits| {
            let prefix = Prefix::new(addr, width - bits).ok()?;
            let (start, prefix_last) = prefix.range();
            (start == at && prefix_last <= last).then_some((prefix, prefix_last))
        });
        let Some((prefix, prefix_last)) = fits else { return };
        each(prefix);
        let Some(next) = prefix_last.checked_add(1) else { return };
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn set_names_fit_old_kernels_and_stay_apart() {
        let long = "a-jail-with-a-name-of-more-than-thirty-bytes";
        let mut names: Vec<String> = ["sshd", "my+jail", "my=jail", long, &format!("{long}2")]
            .into_iter()
            .map(|jail| SetId { kind: SetKind::Ban6n, jail: Some(JailName::new(jail).unwrap()) }.to_string())
            .collect();
        assert_eq!(names[0], "ban6n_sshd");
        assert!(names.iter().all(|name| name.len() <= MAX_NAME_BYTES), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_set_is_recognised_by_its_comment() {
        let jail = JailName::new("my+jail").unwrap();
        let set = SetId { kind: SetKind::Net4, jail: Some(jail.clone()) };
        let (name, comment) = (set.to_string(), set.comment());
        assert_eq!(SetId::from_kernel(&name, comment.as_deref(), &[]), Some(set.clone()));
        assert_eq!(SetId::from_kernel(&name, None, &[jail]), Some(set));
        assert_eq!(SetId::from_kernel(&name, None, &[]), None);
        assert_eq!(SetId::from_kernel("other", None, &[]), None);
    }

    #[test]
    fn intervals_become_the_prefixes_again() {
        let prefixes =
            ["0.0.0.0/8", "10.0.0.0/25", "10.0.0.128/26", "192.0.2.0/24", "255.0.0.0/8"].map(prefix);
        let mut keys = Vec::new();
        for (n, prefix) in prefixes.iter().enumerate().rev() {
            keys.push((prefix.addr(), Some(n)));
            keys.extend(
                end_key(*prefix).map(|key| (crate::netlink::decode::addr(key.bytes()).unwrap(), None)),
            );
        }
        let found = intervals(keys);
        assert_eq!(found, prefixes.into_iter().enumerate().map(|(n, p)| (p, n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_range_that_is_no_prefix_is_taken_apart() {
        let keys = vec![("10.0.0.1".parse().unwrap(), Some(())), ("10.0.0.4".parse().unwrap(), None)];
        let found: Vec<String> = intervals(keys).into_iter().map(|(p, ())| p.to_string()).collect();
        assert_eq!(found, ["10.0.0.1/32", "10.0.0.2/31"]);
        let all = intervals(vec![("::".parse().unwrap(), Some(()))]);
        assert_eq!(all, [(prefix("::/0"), ())]);
    }
}
