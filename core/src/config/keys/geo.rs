//! `[geo]`: databases that say whose an address is, and where.

use crate::config::Geo;
use crate::config::raw::Value;

use super::values::text;
use super::{Misfit, Misfits};

/// The section.
pub(super) fn read(value: &Value) -> Result<Geo, Misfits> {
    let Value::Table(rows) = value else {
        return Err(Misfit("is no table".into(), "write [geo] and asn = \"/path/asn.mmdb\" below it").into());
    };
    let mut geo = Geo::default();
    for (name, value) in rows {
        let place = match name.as_str() {
            "asn" => &mut geo.asn,
            "country" => &mut geo.country,
            _ => return Err(Misfit(format!("there is no key {name:?}"), "use asn or country").into()),
        };
        let path = text(value)?;
        if !path.starts_with('/') {
            return Err(Misfit(format!("{name} {path:?} is no absolute path"), "begin it with /").into());
        }
        *place = Some(path.into());
    }
    Ok(geo)
}
