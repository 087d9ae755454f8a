//! `[notify.NAME]`: who is told what happens here.

use crate::config::outgoing::{Form, Notify, Syslog, Way, WebPlace, Webhook};
use crate::config::raw::Value;
use crate::event::JailName;
use crate::outgoing::url::host_and_port;
use crate::outgoing::{Kind, Pace};
use crate::time::Span;

use super::super::section::{Section, each};
use super::super::values::{list, positive_span, text};
use super::super::{Misfit, Misfits, Row};
use super::{mail, number, path, span, url};

const CURE: &str = "write sections such as [notify.owner] with kind and what it needs";

/// So long a message waits for more, so many an hour, and so long after a failure it is tried again.
const GATHER: Span = Span::from_secs(60);
const HOURLY: u32 = 12;
const RETRY: Span = Span::from_secs(30);

const KINDS: &str = "use alarm, warning, widen, ban, unban, start or stop";

/// The keys, of all kinds.
pub(in super::super) const KEYS: &[Row] = &[
    ("kind", "mail, webhook, syslog or command"),
    ("on", "what is told: alarm, warning, widen, ban, unban, start, stop; the first three if unset"),
    ("digest", "so long a message waits for more; 60s if unset"),
    ("limit", "so many messages an hour; what is beyond becomes one; 12 if unset"),
    ("retry", "after a failure it is tried again after so long, doubled up to an hour; 30s if unset"),
    (
        "server",
        "of mail: smtps://host, or smtp://host for STARTTLS; of syslog: a socket, udp://host:514 or tcp://host:601",
    ),
    ("tls", "of mail: starttls, or none for neither"),
    ("from", "of mail: who writes"),
    ("to", "of mail: a list of who is told"),
    ("user", "of mail: the name to log in with"),
    ("password_file", "of mail: a file with the password"),
    ("url", "of a webhook: where it is"),
    ("url_file", "of a webhook: a file with that, if it is secret"),
    ("preset", "of a webhook: json, ntfy, slack, matrix or discord; json if unset"),
    ("template", "of a webhook: JSON of your own, with {subject}, {text}, {count}, {host}, {kind} and {id}"),
    ("headers", "of a webhook: a table of header fields"),
    ("token_file", "of a webhook: a file with a token, sent as Authorization: Bearer"),
    ("ca_file", "of mail and webhooks: certificates that are trusted in the place of the host's"),
    ("command", "of a command: a list, the program by its path and its arguments; no shell is asked"),
];

/// All sections; every problem of each is told.
pub(in super::super) fn read(value: &Value) -> Result<Vec<Notify>, Misfits> {
    each(value, CURE, section)
}

fn section(name: &str, value: &Value) -> Result<Notify, Misfits> {
    let mut section = Section::new(value, CURE, KEYS)?;
    if JailName::new(name).is_err() || name.len() > 32 {
        section.refuse("cannot name a section".into(), "use up to 32 letters, digits, dashes or underscores");
    }
    let on = section.take("on", kinds).unwrap_or_else(|| Kind::USUAL.to_vec());
    let pace = Pace {
        gather: section.take("digest", span).unwrap_or(GATHER),
        hourly: Some(section.take("limit", number).unwrap_or(HOURLY)),
        daily: None,
        retry: section.take("retry", positive_span).unwrap_or(RETRY),
    };
    let kind =
        section.need("kind", "use mail, webhook, syslog or command", |value| text(value).map(str::to_owned));
    let way = match kind.as_deref() {
        Some("mail") => mail::read(&mut section, true).map(Way::Mail),
        Some("webhook") => webhook(&mut section).map(Way::Webhook),
        Some("syslog") => {
            let server = section.take("server", syslog);
            Some(Way::Syslog(server.unwrap_or_else(|| Syslog::Local("/dev/log".into()))))
        }
        Some("command") => {
            let cure = "write for example command = [\"/usr/local/bin/tell\", \"me\"]";
            section.need("command", cure, command).map(Way::Command)
        }
        Some(other) => {
            section.refuse(format!("kind {other:?} is not known"), "use mail, webhook, syslog or command");
            // What else stands there cannot be judged.
            return Err(section.finish::<()>(None).err().map_or(Misfits(Vec::new()), |Misfits(found)| {
                Misfits(
                    found
                        .into_iter()
                        .filter(|Misfit(what, _)| !what.starts_with("there is no key"))
                        .collect(),
                )
            }));
        }
        None => None,
    };
    section.finish(way.map(|way| Notify { name: name.to_owned(), on, pace, way }))
}

fn kinds(value: &Value) -> Result<Vec<Kind>, Misfit> {
    let mut kinds = Vec::new();
    for item in list(value)? {
        let name = text(item)?;
        let kind = Kind::from_name(name).ok_or_else(|| Misfit(format!("{name:?} is not known"), KINDS))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { Err(Misfit("is empty".into(), KINDS)) } else { Ok(kinds) }
}

fn webhook(section: &mut Section<'_>) -> Option<Webhook> {
    let (known, file) = (section.take("url", url), section.take("url_file", path));
    let preset = section.take("preset", preset);
    let template = section.take("template", template);
    let headers = section.take("headers", headers).unwrap_or_default();
    let (token_file, ca_file) = (section.take("token_file", path), section.take("ca_file", path));
    if section.has("url") == section.has("url_file") {
        section.refuse(
            "it needs one of url and url_file".into(),
            "write url = \"https://...\", or name a file that holds it if it is secret",
        );
    }
    if section.has("preset") && section.has("template") {
        section.refuse("preset and template exclude each other".into(), "remove one of them");
    }
    let is_open = known.as_ref().is_some_and(super::Url::is_open);
    if is_open && (token_file.is_some() || !headers.is_empty()) {
        section.refuse("url would send the token in the open".into(), "use https://");
    }
    let place = known.map(WebPlace::Known).or(file.map(WebPlace::File))?;
    let form = template.map(Form::Template).or(preset).unwrap_or(Form::Json);
    Some(Webhook { place, form, headers, token_file, ca_file })
}

fn preset(value: &Value) -> Result<Form, Misfit> {
    match text(value)? {
        "json" => Ok(Form::Json),
        "ntfy" => Ok(Form::Ntfy),
        "slack" => Ok(Form::Slack),
        "matrix" => Ok(Form::Matrix),
        "discord" => Ok(Form::Discord),
        other => Err(Misfit(format!("{other:?} is not known"), "use ntfy, slack, matrix, discord or json")),
    }
}

/// Whether it is JSON the daemon says, which can read that.
fn template(value: &Value) -> Result<String, Misfit> {
    let text = text(value)?;
    match text.len() <= 16_384 {
        true => Ok(text.to_owned()),
        false => Err(Misfit("is longer than 16 KiB".into(), "shorten it")),
    }
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, Misfit> {
    let Value::Table(rows) = value else {
        return Err(Misfit("is no table".into(), "write for example { X-Team = \"ops\" }"));
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let row = |(name, value): &(String, Value)| {
        let value = text(value)?;
        let is_fine = is_name(name) && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let why = || Misfit(format!("has {name:?}, which is no header field"), "use plain letters");
        is_fine.then(|| (name.clone(), value.to_owned())).ok_or_else(why)
    };
    rows.iter().map(row).collect()
}

fn syslog(value: &Value) -> Result<Syslog, Misfit> {
    const CURE: &str = "write a socket's path, \"udp://host:514\" or \"tcp://host:601\"";
    let text = text(value)?;
    let remote = |rest: &str, port: u16| {
        let (host, named) =
            host_and_port(rest).ok_or_else(|| Misfit(format!("{text:?} names no host and port"), CURE))?;
        Ok((host, named.unwrap_or(port)))
    };
    match (text.strip_prefix("udp://"), text.strip_prefix("tcp://")) {
        (Some(rest), _) => remote(rest, 514).map(|(host, port)| Syslog::Udp(host, port)),
        (_, Some(rest)) => remote(rest, 601).map(|(host, port)| Syslog::Tcp(host, port)),
        _ if text.starts_with('/') => Ok(Syslog::Local(text.into())),
        _ => Err(Misfit(format!("{text:?} is no place for lines of syslog"), CURE)),
    }
}

fn command(value: &Value) -> Result<Vec<String>, Misfit> {
    let words = list(value)?.into_iter().map(|word| text(word).map(str::to_owned));
    let words = words.collect::<Result<Vec<_>, _>>()?;
    match words.first() {
        Some(program) if program.starts_with('/') => Ok(words),
        _ => Err(Misfit("names no program by an absolute path".into(), "begin it with /; no shell is asked")),
    }
}
