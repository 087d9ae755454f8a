//! The bans in force, searched, sorted and by the page.

use askama::Template;
use crossbeam_channel::bounded;
use serde_json::Value;

use pillory_core::net::Prefix;

use crate::control::server::Desk;
use crate::control::{Request as Order, short};
use crate::escape::word;

use super::overview::time;
use super::request::Fields;
use super::response::Response;
use super::routes::{Frame, PATIENCE, unanswered};

/// Rows of a page.
const ROWS: usize = 100;

/// More bans are neither sorted nor searched by what is not their prefix: all of them would have to be fetched.
const MOST_SORTED: usize = 10_000;

/// So many are asked for at a time.
const PIECE: usize = 256;

/// The columns: key, title, and whether the first click sorts it downwards.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("prefix", "Address", false),
    ("jail", "Jail", false),
    ("since", "Since (UTC)", true),
    ("until", "Until (UTC)", true),
    ("failures", "Attempts", true),
    ("reason", "Why", false),
];

#[derive(Template)]
#[template(path = "web/bans.html")]
struct Bans<'a> {
    frame: &'a Frame,
    wanted: &'a Wanted,
    columns: Vec<Column>,
    rows: Vec<Row>,
    found: usize,
    all: usize,
    pages: usize,
    /// There are too many to sort.
    is_long: bool,
}

impl Bans<'_> {
    fn before(&self) -> String {
        self.wanted.page_href(self.wanted.page - 1)
    }

    fn after(&self) -> String {
        self.wanted.page_href(self.wanted.page + 1)
    }
}

struct Column {
    title: &'static str,
    href: String,
    sorted: Option<&'static str>,
}

struct Row {
    prefix: String,
    href: String,
    jail: String,
    since: String,
    until: String,
    failures: String,
    reason: String,
}

/// What is asked for.
struct Wanted {
    search: String,
    sort: &'static str,
    is_down: bool,
    page: usize,
}

impl Wanted {
    fn of(query: &Fields) -> Wanted {
        let column = COLUMNS.iter().find(|(key, ..)| *key == query.get("sort")).unwrap_or(&COLUMNS[0]);
        let page = query.get("page").parse().unwrap_or(1);
        Wanted { search: query.get("q").to_owned(), sort: column.0, is_down: query.get("down") == "1", page }
    }

    fn href(&self, sort: &str, is_down: bool, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.search).append_pair("sort", sort);
        query.append_pair("down", if is_down { "1" } else { "0" }).append_pair("page", &page.to_string());
        format!("/bans?{}", query.finish())
    }

    /// Where another page of the same is.
    fn page_href(&self, page: usize) -> String {
        self.href(self.sort, self.is_down, page)
    }

    fn words(&self) -> Vec<String> {
        self.search.to_lowercase().split_whitespace().map(str::to_owned).collect()
    }
}

/// The page.
pub(super) fn page(frame: &Frame, desk: &Desk, query: &Fields) -> Response {
    let mut wanted = Wanted::of(query);
    let (to, banned) = bounded(1);
    let reply = desk.ask_within(Order::Banned(to), Some(PATIENCE));
    let Ok(mut prefixes) = banned.try_recv() else { return unanswered(frame, &reply.message) };
    let (all, is_long) = (prefixes.len(), prefixes.len() > MOST_SORTED);
    if is_long {
        (wanted.sort, wanted.is_down) = (COLUMNS[0].0, false);
        let words = wanted.words();
        prefixes.retain(|prefix| {
            let text = prefix.short();
            words.iter().all(|word| text.contains(word))
        });
    }
    let first = |found: usize, page: usize| (page.clamp(1, found.div_ceil(ROWS).max(1)) - 1) * ROWS;
    let (found, rows) = match is_long {
        true => {
            let from = first(prefixes.len(), wanted.page);
            let shown: Vec<Prefix> = prefixes.iter().skip(from).take(ROWS).copied().collect();
            (prefixes.len(), bans_of(desk, &shown))
        }
        false => {
            let mut bans = bans_of(desk, &prefixes);
            let words = wanted.words();
            bans.retain(|ban| fits(ban, &words));
            sort(&mut bans, &wanted);
            let from = first(bans.len(), wanted.page);
            (bans.len(), bans.into_iter().skip(from).take(ROWS).collect())
        }
    };
    let pages = found.div_ceil(ROWS).max(1);
    wanted.page = wanted.page.clamp(1, pages);
    let columns = COLUMNS.iter().map(|column| head(column, &wanted, is_long)).collect();
    let rows = rows.iter().map(row).collect();
    Response::page(&Bans { frame, wanted: &wanted, columns, rows, found, all, pages, is_long })
}

fn bans_of(desk: &Desk, prefixes: &[Prefix]) -> Vec<Value> {
    let piece = |piece: &[Prefix]| {
        let reply = desk.ask_within(Order::BansOf(piece.to_vec()), Some(PATIENCE));
        reply.value.as_array().cloned().unwrap_or_default()
    };
    prefixes.chunks(PIECE).flat_map(piece).collect()
}

fn fits(ban: &Value, words: &[String]) -> bool {
    let short = short(&ban["prefix"]);
    let told = ["jail", "reason", "origin"].map(|key| ban[key].as_str().unwrap_or_default().to_lowercase());
    words.iter().all(|word| short.contains(word) || told.iter().any(|told| told.contains(word)))
}

fn sort(bans: &mut [Value], wanted: &Wanted) {
    match wanted.sort {
        // They come in this order.
        "prefix" => {}
        "failures" => bans.sort_by_key(|ban| ban["failures"].as_u64()),
        // What never ends ends last.
        key => bans.sort_by_cached_key(|ban| (ban[key].is_null(), ban[key].as_str().map(str::to_lowercase))),
    }
    if wanted.is_down {
        bans.reverse();
    }
}

fn head(
    &(key, title, begins_down): &(&'static str, &'static str, bool),
    wanted: &Wanted,
    is_long: bool,
) -> Column {
    let is_sorted = wanted.sort == key;
    let is_down = if is_sorted { !wanted.is_down } else { begins_down };
    let sorted = is_sorted.then_some(if wanted.is_down { "descending" } else { "ascending" });
    let href = if is_long { String::new() } else { wanted.href(key, is_down, 1) };
    Column { title, href, sorted }
}

fn row(ban: &Value) -> Row {
    let prefix = short(&ban["prefix"]);
    let forced = match (ban["forced"] == true, ban["spared"] == true) {
        (true, _) => " (forced)",
        (_, true) => " (without effect: it is never banned)",
        _ => "",
    };
    Row {
        href: address_href(&prefix),
        prefix,
        jail: word(&ban["jail"]),
        since: time(&ban["since"]),
        until: if ban["until"].is_null() { "forever".to_owned() } else { time(&ban["until"]) },
        failures: word(&ban["failures"]),
        reason: format!("{}{forced}", word(&ban["reason"])),
    }
}

/// Where the story of an address is.
pub(super) fn address_href(prefix: &str) -> String {
    format!("/address?{}", form_urlencoded::Serializer::new(String::new()).append_pair("ip", prefix).finish())
}
