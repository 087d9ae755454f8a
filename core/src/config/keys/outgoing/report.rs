//! `[report.NAME]`: who is told of attackers. The names are those of the receivers that there are.

use crate::config::outgoing::{Destination, Receiver};
use crate::config::raw::Value;
use crate::outgoing::{Pace, Url};
use crate::time::Span;

use super::super::section::{Section, each};
use super::super::values::positive_span;
use super::super::{Misfit, Misfits, Row};
use super::{address, mail, number, path, span, url, words};
use crate::suggest::did_you_mean;

const CURE: &str = "write sections such as [report.abuseipdb] with key_file";

/// So many reports a day, none of an address again for so long, and each so late that what was a mistake can be undone.
const DAILY: u32 = 200;
const COOL_DOWN: Span = Span::from_secs(86_400);
const DELAY: Span = Span::from_secs(300);
const RETRY: Span = Span::from_secs(60);

/// AbuseIPDB takes none of an address again within a quarter of an hour.
/// Source: its documentation of the endpoint `report`.
const SHORTEST_COOL_DOWN: Span = Span::from_secs(900);

/// From so many on a file is kinder than a request each.
const BULK: u32 = 50;

const ABUSEIPDB: &str = "https://api.abuseipdb.com/api/v2";
const BLOCKLIST_DE: &str = "https://www.blocklist.de/en/httpreports.html";

/// The keys, of all receivers.
pub(in super::super) const KEYS: &[Row] = &[
    ("key_file", "of abuseipdb and blocklist-de: a file with the key of your account"),
    ("budget", "so many reports a day; 200 if unset"),
    ("cool_down", "so long before an address is reported again; 1d if unset"),
    ("delay", "so long after a ban, which may be lifted meanwhile if it was a mistake; 5m if unset"),
    ("retry", "after a failure it is tried again after so long, doubled up to an hour; 1m if unset"),
    ("bulk", "of abuseipdb: from so many waiting on they go as one file; 50 if unset, 0 is never"),
    ("url", "of abuseipdb and blocklist-de: another place of their interface"),
    (
        "server",
        "of blocklist-de: the address of mail under which this server is known there; of xarf: smtps://host, or smtp://host for STARTTLS",
    ),
    ("organisation", "of xarf: who reports"),
    ("from", "of xarf: who writes"),
    ("tls", "of xarf: starttls, or none for neither"),
    ("user", "of xarf: the name to log in with"),
    ("password_file", "of xarf: a file with the password"),
    ("ca_file", "of xarf: certificates that are trusted in the place of the host's"),
];

const RECEIVERS: [&str; 3] = ["abuseipdb", "blocklist-de", "xarf"];

/// All sections; every problem of each is told.
pub(in super::super) fn read(value: &Value) -> Result<Vec<Destination>, Misfits> {
    each(value, CURE, section)
}

fn section(name: &str, value: &Value) -> Result<Destination, Misfits> {
    let mut section = Section::new(value, CURE, KEYS)?;
    let pace = Pace {
        gather: section.take("delay", span).unwrap_or(DELAY),
        hourly: None,
        daily: Some(section.take("budget", number).unwrap_or(DAILY)),
        retry: section.take("retry", positive_span).unwrap_or(RETRY),
    };
    let cool_down = section.take("cool_down", cool_down).unwrap_or(COOL_DOWN);
    let to = match name {
        "abuseipdb" => abuseipdb(&mut section),
        "blocklist-de" => blocklist_de(&mut section),
        "xarf" => xarf(&mut section),
        _ => {
            let close = did_you_mean(name, RECEIVERS);
            let what = format!("there is nobody of that name to report to{close}");
            return Err(Misfit(what, "use abuseipdb, blocklist-de or xarf").into());
        }
    };
    section.finish(to.map(|to| Destination { pace, cool_down, to }))
}

fn abuseipdb(section: &mut Section<'_>) -> Option<Receiver> {
    let key_file = section.need("key_file", "name a file that holds the key of your account", path);
    let url = place(section, ABUSEIPDB);
    let bulk = section.take("bulk", bulk).unwrap_or(Some(BULK));
    Some(Receiver::AbuseIpDb { url: url?, key_file: key_file?, bulk })
}

fn blocklist_de(section: &mut Section<'_>) -> Option<Receiver> {
    let key_file = section.need("key_file", "name a file that holds the key of this server", path);
    let cure = "write the address under which this server is known there";
    let server = section.need("server", cure, address);
    let url = place(section, BLOCKLIST_DE);
    Some(Receiver::BlocklistDe { url: url?, key_file: key_file?, server: server? })
}

fn xarf(section: &mut Section<'_>) -> Option<Receiver> {
    let organisation = section.need("organisation", "write who reports: a name for people", words);
    let mail = mail::read(section, false);
    Some(Receiver::Xarf { mail: mail?, organisation: organisation? })
}

/// Where it is; nobody's key goes over an open line.
fn place(section: &mut Section<'_>, usual: &str) -> Option<Url> {
    let named = section.take("url", url);
    if named.as_ref().is_some_and(Url::is_open) {
        section.refuse("url would send the key in the open".into(), "use https://");
    }
    named.or_else(|| Url::parse(usual).ok())
}

fn cool_down(value: &Value) -> Result<Span, Misfit> {
    let span = span(value)?;
    match span >= SHORTEST_COOL_DOWN {
        true => Ok(span),
        false => Err(Misfit("is too short".into(), "use \"15m\" or more")),
    }
}

fn bulk(value: &Value) -> Result<Option<u32>, Misfit> {
    match super::text(value)? {
        "0" => Ok(None),
        _ => number(value).map(|bulk| Some(bulk.max(2))),
    }
}
