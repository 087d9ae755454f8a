//! `[geo]`: databases that say whose an address is, and where.

use crate::config::Geo;
use crate::config::raw::Value;

use super::section::Section;
use super::values::path;
use super::{Misfits, Row};

/// The keys.
pub(super) const KEYS: &[Row] = &[
    ("asn", "a database of whose network an address belongs to: campaigns are told by operator, too"),
    ("country", "a database of where an address is used: for explain, and a map on the wall"),
];

/// The section; every problem of it is told.
pub(super) fn read(value: &Value) -> Result<Geo, Misfits> {
    let mut section = Section::new(value, "write [geo] and asn = \"/path/asn.mmdb\" below it", KEYS)?;
    let (asn, country) = (section.take("asn", path), section.take("country", path));
    section.finish(Some(Geo { asn, country }))
}
