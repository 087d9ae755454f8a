//! The keys of sections and of tables that are values, for the manual: the other half of the key tables.

use super::outgoing::{NOTIFY_KEYS, RDAP_KEYS, REPORT_KEYS};
use super::{geo, restrict, wall, web};
use crate::config::growth;

/// A key's name, and one line for the manual.
pub type Row = (&'static str, &'static str);

/// What stands within a key of the tables, by that key's name.
pub const WITHIN: &[(&str, &[Row])] = &[
    ("fuse", FUSE),
    ("geo", geo::KEYS),
    ("growth", growth::KEYS),
    ("notify", NOTIFY_KEYS),
    ("points", POINTS),
    ("rdap", RDAP_KEYS),
    ("report", REPORT_KEYS),
    ("rescue", RESCUE),
    ("restrict", restrict::KEYS),
    ("wall", wall::KEYS),
    ("web", web::KEYS),
];

pub(super) const FUSE: &[Row] = &[("bans_per_minute", "the rate; 0 switches the fuse off")];

pub(super) const RESCUE: &[Row] = &[("port", "the TCP port")];

/// The classes of failures, in the order of [`crate::event::Class::ALL`].
const POINTS: &[Row] = &[
    ("bad_user", "a notorious name, or one that two banned sources tried"),
    ("unknown_user", "a name that no account here has"),
    ("root", "the superuser"),
    ("known_user", "an account of this host, or a name of which that is not known"),
    ("good_user", "one of goodusers"),
    ("probe", "a key or a method was tried without a guess at a password"),
    ("scan", "no login at all: a scan of the port, a garbled banner"),
    ("penalty", "the service itself punished the source"),
    ("web", "a request that only an attacker sends to a web server"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{JAIL_KEYS, POLICY_KEYS, TOP_KEYS};
    use crate::event::Class;

    #[test]
    fn every_class_is_described() {
        let described: Vec<&str> = POINTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(described, Class::ALL.map(|(_, name)| name));
    }

    #[test]
    fn what_stands_within_a_key_belongs_to_one_that_there_is() {
        let top = TOP_KEYS.iter().map(|key| key.name);
        let keys: Vec<&str> = POLICY_KEYS.iter().chain(JAIL_KEYS).map(|key| key.name).chain(top).collect();
        for (name, rows) in WITHIN {
            assert!(keys.contains(name) && !rows.is_empty(), "{name}");
        }
    }
}
