//! `[restrict.<name>]`: a port, and who may connect to it.

use crate::config::Restriction;
use crate::config::raw::Value;
use crate::event::JailName;
use crate::net::Prefix;

use super::section::no_key;
use super::values::{PORTS, is_host_name, is_port, texts};
use super::{Misfit, Misfits, Row};

/// The keys.
pub(super) const KEYS: &[Row] = &[
    (
        "port",
        "ports that only some may connect to: 22, \"8000-8010\", \"ssh\", \"1194/udp\"; TCP unless it says otherwise",
    ),
    ("allow", "addresses, networks and DNS names that may connect"),
];

/// Longer names do not fit the kernel's sets.
const MAX_NAME_BYTES: usize = 16;

/// All sections; every problem of each is told.
pub(super) fn read(value: &Value) -> Result<Vec<Restriction>, Misfits> {
    let Value::Table(sections) = value else {
        let cure = "write sections such as [restrict.ssh] with port and allow";
        return Err(Misfit("is no table".into(), cure).into());
    };
    let (mut all, mut misfits) = (Vec::new(), Vec::new());
    for (name, keys) in sections {
        match section(name, keys) {
            Ok(restriction) => all.push(restriction),
            Err(Misfits(found)) => {
                misfits.extend(
                    found.into_iter().map(|Misfit(what, cure)| Misfit(format!("{name}: {what}"), cure)),
                );
            }
        }
    }
    Misfits::none(misfits).map(|()| all)
}

fn section(name: &str, value: &Value) -> Result<Restriction, Misfits> {
    let mut restriction = Restriction { name: name.to_owned(), ..Restriction::default() };
    let mut misfits = Vec::new();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if JailName::new(name).is_err() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
        misfits.push(Misfit(
            "cannot name a section".into(),
            "use up to 16 letters, digits, dashes and underscores",
        ));
    }
    let Value::Table(keys) = value else {
        return Err(Misfit("is no table".into(), "write port and allow in it").into());
    };
    for (key, value) in keys {
        let outcome = match key.as_str() {
            "port" => ports(value, &mut restriction),
            "allow" => allowed(value, &mut restriction),
            _ => Err(no_key(key, KEYS.iter().map(|(name, _)| *name)).into()),
        };
        misfits.extend(outcome.err().into_iter().flat_map(|Misfits(found)| found));
    }
    if misfits.is_empty() && restriction.port.is_empty() {
        misfits.push(Misfit("no port is named".into(), "write for example port = 22"));
    }
    if misfits.is_empty() && restriction.allow.is_empty() && restriction.allow_names.is_empty() {
        misfits.push(Misfit("allow names nobody".into(), "list the networks and names that may connect"));
    }
    Misfits::none(misfits).map(|()| restriction)
}

fn ports(value: &Value, restriction: &mut Restriction) -> Result<(), Misfits> {
    let mut misfits = Vec::new();
    for port in texts(value)? {
        match is_port(&port) {
            true => restriction.port.push(port),
            false => misfits.push(Misfit(format!("{port:?} is no port"), PORTS)),
        }
    }
    Misfits::none(misfits)
}

fn allowed(value: &Value, restriction: &mut Restriction) -> Result<(), Misfits> {
    let mut misfits = Vec::new();
    for item in texts(value)? {
        match item.parse::<Prefix>() {
            Ok(prefix) if prefix.prefix_len() == 0 => misfits.push(Misfit(
                format!("{item:?} is every address there is"),
                "take the section out to let everybody connect",
            )),
            Ok(prefix) => restriction.allow.push(prefix),
            Err(_) if is_host_name(&item) => restriction.allow_names.push(item),
            Err(error) => misfits.push(Misfit(error.to_string(), "or a DNS name")),
        }
    }
    Misfits::none(misfits)
}
