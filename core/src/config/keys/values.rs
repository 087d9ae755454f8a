//! What a value says: readers that several keys share, each with the misfit and its cure.

use std::path::PathBuf;

use super::Misfit;
use crate::config::raw::Value;
use crate::event::Points;
use crate::filter::spec;
use crate::jail::secret::Percent;
use crate::time::{BanTime, Span};

pub(in crate::config) fn text(value: &Value) -> Result<&str, Misfit> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(Misfit("is no text".into(), "put it in quotes")),
    }
}

/// The path of a file or directory, the same wherever the daemon is started.
pub(super) fn path(value: &Value) -> Result<PathBuf, Misfit> {
    absolute(text(value)?)
}

/// The same of a text that a list holds.
pub(super) fn absolute(text: &str) -> Result<PathBuf, Misfit> {
    let is_absolute = text.starts_with('/');
    is_absolute
        .then(|| text.into())
        .ok_or_else(|| Misfit(format!("{text:?} is no absolute path"), "begin it with /"))
}

pub(in crate::config) fn boolean(value: &Value) -> Result<bool, Misfit> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        _ => Err(Misfit("is neither true nor false".into(), "write true or false")),
    }
}

pub(super) fn list(value: &Value) -> Result<Vec<&Value>, Misfit> {
    match value {
        Value::List(values) => Ok(values.iter().collect()),
        Value::Table(_) => Err(Misfit("is a table".into(), "write a value or a list")),
        single => Ok(vec![single]),
    }
}

/// A list of texts, or one blank- or comma-separated text.
/// # Errors
/// [`Misfit`] for anything else.
pub fn texts(value: &Value) -> Result<Vec<String>, Misfit> {
    let mut all = Vec::new();
    for item in list(value)? {
        let words = text(item)?.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
        all.extend(words.map(str::to_owned));
    }
    Ok(all)
}

/// Together they are bounded in bytes anyway.
pub(in crate::config) const MAX_MAXLINES: usize = 1_000;

pub(super) const PORTS: &str =
    "write a number from 1 to 65535, a range like 8000:8010, or a name of /etc/services";

/// True for what can be a port: a number, a range of two, or a name, with `/tcp` or `/udp` behind or not. Whether a name
/// has a number is for the host to say.
pub(super) fn is_port(text: &str) -> bool {
    let (text, is_known) = match text.split_once('/') {
        Some((text, protocol)) => (text, matches!(protocol, "tcp" | "udp")),
        None => (text, true),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'-'));
    let range = || {
        let (first, last) = text.split_once([':', '-'])?;
        Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
    };
    is_known && !text.is_empty() && (!is_numeric || number(text).is_some() || range().is_some())
}

/// A list of texts, or one text with an expression a line.
pub(super) fn regexes(value: &Value) -> Result<Vec<String>, Misfit> {
    let mut all = Vec::new();
    for item in list(value)? {
        all.extend(text(item)?.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(all)
}

pub(super) fn decimal(value: &Value) -> Result<Points, Misfit> {
    let number: f64 =
        text(value)?.parse().map_err(|_| Misfit("is no number".into(), "write for example 5 or 0.5"))?;
    Points::from_decimal(number)
        .ok_or(Misfit(format!("{number} is out of range"), "use a number from 0 to 1000000"))
}

/// At most a half: with more of either a jail would not do what its other keys say.
pub(super) fn share(value: &Value) -> Result<Percent, Misfit> {
    let misfit = |points| Misfit(format!("{points} is out of range"), "use a number from 0 to 0.5");
    let points = decimal(value)?;
    u8::try_from(points.0).ok().filter(|share| *share <= 50).map(Percent).ok_or_else(|| misfit(points))
}

pub(in crate::config) fn positive_span(value: &Value) -> Result<Span, Misfit> {
    let span = Span::parse(text(value)?).map_err(|error| Misfit(error.to_string(), ""))?;
    if span.secs() == 0 {
        Err(Misfit("is no time at all".into(), "write for example \"1d\""))
    } else {
        Ok(span)
    }
}

/// A number of bytes with a unit of a thousand, at least [`LEAST_BYTES`].
pub(super) fn size(value: &Value) -> Result<u64, Misfit> {
    const CURE: &str = "write for example \"1GB\", \"500MB\" or a number of bytes, 10 MB at least";
    let text = text(value)?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => Some(1),
        "KB" | "K" => Some(1_000),
        "MB" | "M" => Some(1_000_000),
        "GB" | "G" => Some(1_000_000_000_u64),
        "TB" | "T" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
    let bytes = bytes.ok_or_else(|| Misfit(format!("{text:?} is no size"), CURE))?;
    if bytes < LEAST_BYTES {
        return Err(Misfit(format!("{text:?} is too little"), CURE));
    }
    Ok(bytes)
}

/// Less would not hold what a start needs.
const LEAST_BYTES: u64 = 10_000_000;

pub(super) fn bantime(value: &Value) -> Result<BanTime, Misfit> {
    match BanTime::parse(text(value)?).map_err(|error| Misfit(error.to_string(), ""))? {
        BanTime::For(span) if span.secs() == 0 => {
            Err(Misfit("is no time at all".into(), "write for example \"1d\" or \"forever\""))
        }
        bantime => Ok(bantime),
    }
}

pub(super) fn journalmatch(text: &str) -> Result<Vec<Vec<(String, String)>>, Misfit> {
    spec::journal_match(text).map_err(|problem| Misfit(problem.to_string(), ""))
}

/// True for what can be a DNS name.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.trim_end_matches('.').split('.').all(label)
}
