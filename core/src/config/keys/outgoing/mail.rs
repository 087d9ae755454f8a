//! How mail is handed over, for notifications and for reports.

use crate::config::outgoing::{Mail, MailTls};
use crate::config::raw::Value;
use crate::outgoing::url::{host_and_port, is_loopback};

use super::super::Misfit;
use super::super::section::Section;
use super::super::values::{list, text};
use super::{address, path, words};

const SERVER: &str = "write for example server = \"smtps://mail.example.net\", or smtp:// for STARTTLS";

/// Reads the keys of mail from a section that may have others. `writes_to`: whether it says to whom.
pub(super) fn read(section: &mut Section<'_>, writes_to: bool) -> Option<Mail> {
    let server = section.need("server", SERVER, server);
    let wants_none = section.take("tls", tls).unwrap_or(false);
    let from = section.need("from", "write for example from = \"pillory@example.net\"", address);
    let to = match writes_to {
        true => section.need("to", "write for example to = \"root@example.net\"", addresses),
        false => Some(Vec::new()),
    };
    let (user, password_file) = (section.take("user", words), section.take("password_file", path));
    if user.is_some() != password_file.is_some() {
        section.refuse("user and password_file belong together".into(), "write both or neither");
    }
    let ca_file = section.take("ca_file", path);
    let (host, port, tls) = server?;
    let tls = if wants_none { MailTls::None } else { tls };
    if tls == MailTls::None && user.is_some() && !is_loopback(&host) {
        section.refuse(
            "tls = \"none\" would send the password in the open".into(),
            "remove it, or name no user",
        );
    }
    Some(Mail { host, port, tls, from: from?, to: to?, login: user.zip(password_file), ca_file })
}

fn server(value: &Value) -> Result<(String, u16, MailTls), Misfit> {
    let text = text(value)?;
    let (rest, port, tls) = match (text.strip_prefix("smtps://"), text.strip_prefix("smtp://")) {
        (Some(rest), _) => (rest, 465, MailTls::Wrapped),
        (_, Some(rest)) => (rest, 587, MailTls::StartTls),
        _ => return Err(Misfit(format!("{text:?} begins neither with smtps:// nor with smtp://"), SERVER)),
    };
    let (host, named) = host_and_port(rest.trim_end_matches('/'))
        .ok_or_else(|| Misfit(format!("{text:?} names no host, or a port that is none"), SERVER))?;
    Ok((host, named.unwrap_or(port), tls))
}

/// True for none at all.
fn tls(value: &Value) -> Result<bool, Misfit> {
    match text(value)? {
        "none" => Ok(true),
        "starttls" => Ok(false),
        other => Err(Misfit(format!("{other:?} is not known"), "use starttls or none, or write smtps://")),
    }
}

fn addresses(value: &Value) -> Result<Vec<String>, Misfit> {
    let all = list(value)?.into_iter().map(address).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(Misfit("names nobody".into(), "name somebody")) } else { Ok(all) }
}
