//! One address: its story, and the forms that ban and unban it. Each asks once more before anything is done.

use std::net::IpAddr;

use askama::Template;
use serde_json::Value;

use pillory_core::config::keys::line;
use pillory_core::net::Prefix;
use pillory_core::time::BanTime;

use crate::cli::screen::PROSE;
use crate::cli::{ban_text, explain, parse_bantime, unban_text};
use crate::control::glance::{HIDDEN, hide};
use crate::control::{BanOptions, BanOrder, Request as Order};
use crate::escape::escape;
use crate::store;
use crate::store::shared::SharedNames;

use super::access::Visitor;
use super::bans::address_href;
use super::request::{Fields, Request};
use super::response::{Response, Status};
use super::routes::{Frame, PATIENCE, Said, Site, unanswered};

/// What stands in the form at first.
const USUAL: (&str, &str) = ("1d", "by hand, at the dashboard");

#[derive(Template)]
#[template(path = "web/address.html")]
struct Address<'a> {
    frame: &'a Frame,
    prefix: String,
    story: String,
    is_banned: bool,
    usual: (&'static str, &'static str),
}

#[derive(Template)]
#[template(path = "web/confirm.html")]
struct Confirm<'a> {
    frame: &'a Frame,
    question: String,
    action: &'static str,
    fields: Vec<(&'static str, String)>,
    back: String,
}

/// What is to be done.
enum Act {
    Ban(Prefix, BanTime, String),
    Unban(Prefix),
}

impl Act {
    /// What a form says.
    fn of(what: &str, fields: &Fields) -> Result<Act, String> {
        let prefix: Prefix = fields.get("prefix").parse().map_err(|error| format!("{error}"))?;
        match what {
            "ban" => {
                let or = |name, usual| match fields.get(name) {
                    "" => usual,
                    given => given,
                };
                let bantime = parse_bantime(or("for", USUAL.0))?;
                let reason = line(or("reason", USUAL.1)).map_err(|what| format!("the reason {what}"))?;
                Ok(Act::Ban(prefix, bantime, reason))
            }
            "unban" => Ok(Act::Unban(prefix)),
            _ => Err("use ban or unban".to_owned()),
        }
    }
}

fn wrong(frame: &Frame, problem: &str) -> Response {
    let said = Said { frame, lines: vec![escape(problem)], next: ("/bans".to_owned(), "Bans") };
    Response::page(&said).with_status(Status::BAD)
}

/// The story of an address.
pub(super) fn address(frame: &Frame, site: &Site, request: &Request) -> Response {
    let prefix: Prefix = match request.query.get("ip").parse() {
        Ok(prefix) => prefix,
        Err(error) => return wrong(frame, &format!("{error}")),
    };
    let mut told = match site.ask(Order::Explain(prefix)) {
        Ok(told) => told,
        Err(reply) => return unanswered(frame, &reply.message),
    };
    match store::open_read_only(&site.desk.state_dir) {
        Ok(db) => hide_names(&mut told, SharedNames(&db)),
        Err(error) => return unanswered(frame, &error.to_string()),
    }
    let page = Address {
        frame,
        prefix: prefix.short(),
        is_banned: told["bans"].as_array().is_some_and(|bans| !bans.is_empty()),
        story: explain::story(prefix, &told, PROSE.0),
        usual: USUAL,
    };
    Response::page(&page)
}

/// Takes out the names that may be somebody's password.
fn hide_names(told: &mut Value, names: SharedNames<'_>) {
    if let Some(user) = told.pointer_mut("/last_good_login/user") {
        hide(user, names);
    }
    for row in told["evidence"].as_array_mut().into_iter().flatten() {
        hide(&mut row["user"], names);
    }
    if let Some(users) = told["seen"]["users"].as_array_mut() {
        let is_shown = |row: &Value| row["user"].as_str().is_none_or(|user| names.shows(user));
        let hidden: u64 =
            users.iter().filter(|row| !is_shown(row)).filter_map(|row| row["attempts"].as_u64()).sum();
        users.retain(is_shown);
        if hidden > 0 {
            users.push(serde_json::json!({"user": HIDDEN, "attempts": hidden}));
        }
    }
}

/// Asks once more.
pub(super) fn confirm(frame: &Frame, query: &Fields) -> Response {
    let (action, act) = match query.get("do") {
        "ban" => ("/ban", Act::of("ban", query)),
        other => ("/unban", Act::of(other, query)),
    };
    let act = match act {
        Ok(act) => act,
        Err(problem) => return wrong(frame, &problem),
    };
    let (question, prefix, mut fields) = match act {
        Act::Ban(prefix, bantime, reason) => {
            let length = match bantime {
                BanTime::Forever => "forever".to_owned(),
                BanTime::For(span) => format!("for {span}"),
            };
            let question = format!("Ban {} {length}? Reason: {}", prefix.short(), escape(&reason));
            (question, prefix, vec![("for", query.get("for").to_owned()), ("reason", reason)])
        }
        Act::Unban(prefix) => (format!("Lift the bans of {}?", prefix.short()), prefix, Vec::new()),
    };
    fields.push(("prefix", prefix.to_string()));
    Response::page(&Confirm { frame, question, action, fields, back: address_href(&prefix.short()) })
}

/// Does it. `peer`: where the visitor sits, who is not to shut himself out.
pub(super) fn act(
    frame: &Frame,
    site: &Site,
    request: &Request,
    (visitor, peer): (&Visitor, Option<IpAddr>),
) -> Response {
    let act = match Act::of(request.path.trim_start_matches('/'), &request.form) {
        Ok(act) => act,
        Err(problem) => return wrong(frame, &problem),
    };
    let (prefix, bantime, order) = match act {
        Act::Ban(prefix, bantime, reason) => {
            let order = BanOrder { prefix, reason, listed: None, kept: None };
            let caller = peer.filter(|peer| !peer.is_loopback());
            let options =
                BanOptions { jail: None, bantime, force: false, import: false, dry_run: false, caller };
            (prefix, Some(bantime), Order::Ban(vec![order], options))
        }
        Act::Unban(prefix) => (prefix, None, Order::Unban { prefixes: Some(vec![prefix]), jail: None }),
    };
    let reply = site.desk.ask_within(order, Some(PATIENCE));
    tracing::info!(%prefix, path = request.path, peer = ?peer, exit = reply.exit, "ordered at the dashboard");
    let status = if reply.exit == 0 { Status::OK } else { Status::CONFLICT };
    let wants_json = request.accept.as_deref().is_some_and(|kinds| kinds.contains("application/json"));
    if *visitor == Visitor::Script || wants_json {
        let value = serde_json::json!({"exit": reply.exit, "message": reply.message, "value": reply.value});
        return Response::data("application/json", format!("{value}\n")).with_status(status);
    }
    let back = address_href(&prefix.short());
    if reply.exit == 0 && reply.message.is_empty() {
        return Response::see_other(back);
    }
    let text = bantime.map_or_else(|| unban_text(&reply.value), |bantime| ban_text(&reply.value, bantime));
    let lines = text.lines().chain(reply.message.lines()).map(uncoloured).collect();
    Response::page(&Said { frame, lines, next: (back, "Back to the address") }).with_status(status)
}

/// What is printed in colours, without them.
fn uncoloured(line: &str) -> String {
    escape(&line.replace("\x1b[1;31m", "").replace("\x1b[0m", ""))
}
