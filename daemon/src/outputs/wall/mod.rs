//! The wall of shame as a folder of pages: `index.html` and its further pages, `o/` with a page for each offender,
//! `unlist.html`, `feed.atom`, `feeds/` with lists for other programs, `offenders.json` for the search, and what pages need to look well.
//!
//! Everything is made here and now, without scripts it works all the same, and nothing is fetched from elsewhere. What has
//! not changed is not written, so that a web server's ETags stay.

mod charts;
mod crew;
mod files;
mod pages;
mod single;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod world;

use std::path::Path;

use askama::Template;
use serde_json::{Map, json};

use pillory_core::wall::{Offender, Rules, Wall};

use crate::outputs::feed;
pub(crate) use files::{Folder, FolderError, Stop, Written, make_room};
use pages::{Atom, Feeds, Index, OffenderPage, Row, Stamp, Unlist};
pub(crate) use single::file;

/// Rows of a page: with them it is some 100 kB long, 10 compressed.
const ROWS: usize = 500;

/// Entries of the Atom feed, the newest.
const ENTRIES: usize = 100;

/// What stands above the wall if nobody says otherwise.
const TITLE: &str = "Wall of shame";

/// What can be made beside other parts.
enum Part<'a> {
    Feed(&'static feed::Format),
    /// What the search reads.
    Listing,
    Offender(&'a Row),
}

/// What all pages tell beside who is listed.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// What stands above it.
    pub(crate) title: String,
    /// Where people write who want to be left out.
    pub(crate) contact: String,
    /// Who is shown, and how exactly.
    pub(crate) rules: Rules,
}

impl Site {
    /// With the usual title unless there is one.
    pub(crate) fn new(title: Option<&str>, contact: &str, rules: Rules) -> Site {
        Site { title: title.unwrap_or(TITLE).to_owned(), contact: contact.to_owned(), rules }
    }

    /// Where a link to the contact leads, if it can be one.
    fn link(&self) -> Option<String> {
        let contact = &self.contact;
        let is_word = !contact.contains(char::is_whitespace);
        match contact.split_once("://") {
            Some(("http" | "https", _)) if is_word => Some(contact.clone()),
            None if is_word && contact.starts_with("mailto:") => Some(contact.clone()),
            None if is_word && contact.contains('@') => Some(format!("mailto:{contact}")),
            _ => None,
        }
    }
}

/// Makes the pages. `is_owed`: somebody who asked to be left out may be on those that are there, so none of them stays.
/// # Errors
/// [`FolderError`]
pub(crate) fn build(
    folder: Folder<'_>,
    site: &Site,
    wall: &Wall,
    is_owed: bool,
) -> Result<Written, FolderError> {
    let rows: Vec<Row> = wall.offenders.iter().map(Row::of).collect();
    let made = put_all(&folder, site, wall, &rows);
    folder.finish(made, rows.iter().map(page_of), is_owed)
}

/// Removes the pages in `directory`, if there are some.
/// # Errors
/// [`FolderError`]
pub(crate) fn take_down(directory: &Path) -> Result<(), FolderError> {
    if !files::is_ours(directory) {
        return Ok(());
    }
    Folder::open(directory, &|| false)?.finish(Ok(()), [], true).map(drop)
}

/// The file of an offender's page.
fn page_of(row: &Row) -> String {
    format!("o/{}.html", row.file)
}

fn put_all(folder: &Folder<'_>, site: &Site, wall: &Wall, rows: &[Row]) -> Result<(), FolderError> {
    let (now, day) = (Stamp::at(wall.made), Stamp::of_day(wall.made));
    folder.put("style.css", include_bytes!("../../../templates/wall/style.css"))?;
    folder.put("wall.js", include_bytes!("../../../templates/wall/wall.js"))?;
    let entries = entries(wall);
    let list = feed::Feed { head: Some(head(site, wall)), entries: &entries };
    // Those that take longest come first.
    let feeds = feed::FORMATS.iter().rev().map(Part::Feed);
    let parts: Vec<Part> = feeds.chain([Part::Listing]).chain(rows.iter().map(Part::Offender)).collect();
    crew::each(&parts, |part| match part {
        Part::Feed(format) => folder.put(&format!("feeds/{}", format.file), (format.write)(&list).as_bytes()),
        Part::Listing => folder.put("offenders.json", listing(&now, rows).as_bytes()),
        Part::Offender(row) => {
            let page = OffenderPage { site, root: "../", stamp: &day, offender: row };
            folder.put(&page_of(row), render(&page)?.as_bytes())
        }
    })?;
    folder.put("unlist.html", render(&Unlist { site, root: "", stamp: &day })?.as_bytes())?;
    let newest = rows.get(..ENTRIES).unwrap_or(rows);
    folder.put("feed.atom", render(&Atom { site, stamp: &now, offenders: newest })?.as_bytes())?;
    folder.put(
        "feeds.html",
        render(&Feeds { site, root: "", stamp: &day, formats: feed::FORMATS })?.as_bytes(),
    )?;
    // The pages that lead to all others come last, and the first one at the very end.
    let pages = rows.len().div_ceil(ROWS).max(1);
    let put_page = |number: &usize| {
        let offenders = rows.chunks(ROWS).nth(number - 1).unwrap_or(&[]);
        let page = Index::of(site, wall, &now, (*number, pages), offenders);
        folder.put(&pages::page_name(*number), render(&page)?.as_bytes())
    };
    crew::each(&(2..=pages).rev().collect::<Vec<usize>>(), put_page)?;
    put_page(&1)
}

/// The same as people keep such lists by hand: `203.0.113.7 – 11/2026. 14 ssh attempts`, a line each.
pub(crate) fn text(wall: &Wall) -> String {
    let stamp = Stamp::at(wall.made);
    let head = format!("# Made {}, valid until {}\n", stamp.made, stamp.until);
    let line = |offender: &Offender| {
        let last = offender.last.to_string();
        let (year, month) = (last.get(..4).unwrap_or_default(), last.get(5..7).unwrap_or_default());
        let what = pages::attempts(offender.attempts, offender.services);
        format!("{} – {}/{year}. {what}\n", offender.name(), month.trim_start_matches('0'))
    };
    std::iter::once(head).chain(wall.offenders.iter().map(line)).collect()
}

/// Who is on the lists for other programs: those who are shown as they are, for nobody acts on an address that is hidden.
fn entries(wall: &Wall) -> Vec<feed::Entry> {
    let shown = wall.offenders.iter().filter(|offender| !offender.is_masked);
    let mut entries: Vec<feed::Entry> = shown
        .map(|offender| feed::Entry {
            prefix: offender.prefix,
            first: offender.first,
            last: offender.last,
            attempts: offender.attempts,
            what: offender.services.words(),
        })
        .collect();
    entries.sort_by_key(|entry| entry.prefix);
    entries
}

fn head<'s>(site: &'s Site, wall: &Wall) -> feed::Head<'s> {
    let valid_until = wall.made + pages::VALID;
    feed::Head { title: &site.title, contact: &site.contact, made: wall.made, valid_until }
}

/// What the search reads: rows as `[name, file, first, last, attempts, services]`.
fn listing(stamp: &Stamp, rows: &[Row]) -> String {
    let mut told = Map::new();
    told.insert("made".into(), stamp.made.as_str().into());
    told.insert("valid_until".into(), stamp.until.as_str().into());
    let row = |row: &Row| json!([row.name, row.file, row.first, row.last, row.attempts, row.services]);
    feed::with_list(told, "offenders", rows.iter().map(row))
}

fn render(page: &impl Template) -> Result<String, FolderError> {
    page.render().map_err(|error| FolderError::Page { reason: error.to_string() })
}
