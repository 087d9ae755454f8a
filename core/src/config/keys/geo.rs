//! `[geo]`: databases that say whose an address is, and where.

use crate::config::Geo;
use crate::config::raw::Value;

use super::Misfits;
use super::section::Section;
use super::values::path;

/// The section; every problem of it is told.
pub(super) fn read(value: &Value) -> Result<Geo, Misfits> {
    let mut section = Section::new(value, "write [geo] and asn = \"/path/asn.mmdb\" below it")?;
    let (asn, country) = (section.take("asn", path), section.take("country", path));
    section.finish(Some(Geo { asn, country }))
}
