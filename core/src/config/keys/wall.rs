//! `[wall]`: what of the offenders is shown in public.

use crate::config::Wall;
use crate::config::raw::Value;
use crate::net::Prefix;
use crate::time::Span;

use super::section::no_key;
use super::values::{boolean, path, positive_span, text, texts};
use super::{Misfit, Misfits, Row};

/// The keys.
pub(super) const KEYS: &[Row] = &[
    ("out", "a folder where the daemon keeps the pages fresh; unset: only pillory wall makes some"),
    ("contact", "where people write who want to be left out; without it nothing is shown"),
    ("title", "what stands above it"),
    ("mask", "show the network of an address: /24, IPv6 /48; true if unset"),
    ("delay", "how late an offender is shown; 24h if unset"),
    ("keep", "how long after its last attempt an offender is shown; 30d if unset"),
    ("min_attempts", "so many attempts an offender has at least; 10 if unset"),
    ("unlisted", "addresses and networks that asked to be left out"),
];

/// More would not fit a page's head.
const MAX_TEXT_BYTES: usize = 200;

/// The section; every problem of it is told.
pub(super) fn read(value: &Value) -> Result<Wall, Misfits> {
    let Value::Table(rows) = value else {
        let cure = "write [wall] and contact = \"abuse@example.net\" below it";
        return Err(Misfit("is no table".into(), cure).into());
    };
    let (mut wall, mut misfits) = (Wall::default(), Vec::new());
    for (name, value) in rows {
        if let Err(Misfits(found)) = set(&mut wall, name, value) {
            misfits
                .extend(found.into_iter().map(|Misfit(what, cure)| Misfit(format!("{name}: {what}"), cure)));
        }
    }
    if misfits.is_empty() && wall.out.is_some() && wall.contact.is_none() {
        let cure = "add contact = \"abuse@example.net\", for who is listed must know where to write";
        misfits.push(Misfit("out is set without a contact".into(), cure));
    }
    Misfits::none(misfits).map(|()| wall)
}

fn set(wall: &mut Wall, name: &str, value: &Value) -> Result<(), Misfits> {
    match name {
        "out" => wall.out = Some(path(value)?),
        "contact" => wall.contact = Some(short(value)?),
        "title" => wall.title = Some(short(value)?),
        "mask" => wall.rules.mask = boolean(value)?,
        "delay" => wall.rules.delay = span(value)?,
        "keep" => wall.rules.keep = positive_span(value)?,
        "min_attempts" => {
            let number = text(value)?.parse().ok().filter(|number| *number > 0);
            wall.rules.min_attempts =
                number.ok_or_else(|| Misfit("is no whole number above 0".into(), "write for example 10"))?;
        }
        "unlisted" => {
            let parse = |item: String| item.parse::<Prefix>().map_err(|error| Misfit(error.to_string(), ""));
            let (known, wrong): (Vec<_>, Vec<_>) =
                texts(value)?.into_iter().map(parse).partition(Result::is_ok);
            wall.unlisted = known.into_iter().flatten().collect();
            return Misfits::none(wrong.into_iter().filter_map(Result::err).collect());
        }
        _ => return Err(no_key(name, KEYS.iter().map(|(name, _)| *name)).into()),
    }
    Ok(())
}

fn span(value: &Value) -> Result<Span, Misfit> {
    Span::parse(text(value)?).map_err(|error| Misfit(error.to_string(), "write for example \"24h\""))
}

fn short(value: &Value) -> Result<String, Misfit> {
    let words = line(text(value)?);
    words.map_err(|what| Misfit(what, "shorten it"))
}

/// A line for people.
/// # Errors
/// What is wrong with it, in words.
pub fn line(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.contains(char::is_control) {
        return Err(format!("is no line of 1 to {MAX_TEXT_BYTES} bytes"));
    }
    Ok(text.to_owned())
}
