//! `[notify.NAME]`, `[report.NAME]` and `[rdap]`: what is sent, and where. Secrets stand in files that are named here.

mod mail;
mod notify;
mod report;

use crate::config::outgoing::Rdap;
use crate::config::raw::Value;
use crate::outgoing::Url;
use crate::time::Span;

use super::section::Section;
use super::values::{path, text};
use super::wall::line;
use super::{Misfit, Misfits, Row};

pub(super) use notify::{KEYS as NOTIFY_KEYS, read as notify};
pub(super) use report::{KEYS as REPORT_KEYS, read as report};

/// The keys of `[rdap]`.
pub(super) const RDAP_KEYS: &[Row] = &[
    ("url", "a server that knows the registries; https://rdap.org if unset"),
    ("ca_file", "certificates that are trusted in the place of the host's"),
];

/// `[rdap]`.
pub(super) fn rdap(value: &Value) -> Result<Rdap, Misfits> {
    let mut section =
        Section::new(value, "write [rdap] and url = \"https://rdap.example.net\" below it", RDAP_KEYS)?;
    let url = section.take("url", url);
    let ca_file = section.take("ca_file", path);
    let usual = Rdap::default();
    section.finish(Some(Rdap { url: url.unwrap_or(usual.url), ca_file }))
}

fn url(value: &Value) -> Result<Url, Misfit> {
    Url::parse(text(value)?)
        .map_err(|why| Misfit(why.into(), "write for example \"https://example.net/path\""))
}

/// A line for people.
fn words(value: &Value) -> Result<String, Misfit> {
    line(text(value)?).map_err(|what| Misfit(what, "shorten it"))
}

/// An address of mail, as far as it matters here: whether it is deliverable the server says.
fn address(value: &Value) -> Result<String, Misfit> {
    let text = text(value)?;
    is_address(text).then(|| text.to_owned()).ok_or_else(|| {
        Misfit(format!("{text:?} is no address of mail"), "write for example \"abuse@example.net\"")
    })
}

/// True for `user@host` in plain letters.
pub fn is_address(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let Some((user, host)) = text.rsplit_once('@') else { return false };
    text.len() <= 254
        && !user.is_empty()
        && user.bytes().all(is_fine)
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn span(value: &Value) -> Result<Span, Misfit> {
    Span::parse(text(value)?).map_err(|error| Misfit(error.to_string(), ""))
}

/// A whole number from 1 on.
fn number(value: &Value) -> Result<u32, Misfit> {
    let number = text(value)?.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| Misfit("is no whole number from 1 to 1000000".into(), "write for example 10"))
}

#[cfg(test)]
mod tests;
