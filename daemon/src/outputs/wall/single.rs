//! One file of the wall, made when somebody asks for it.

use pillory_core::wall::{Offender, Wall};

use crate::outputs::feed;

use super::pages::{self, Atom, Feeds, Index, OffenderPage, Row, Stamp, Unlist};
use super::{ENTRIES, FolderError, ROWS, Site, entries, head, listing, render};

/// The file of that name as it is in the folder that [`build`](super::build) makes; nothing if it has none.
/// # Errors
/// [`FolderError::Page`]
pub(crate) fn file(site: &Site, wall: &Wall, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
    let (now, day) = (Stamp::at(wall.made), Stamp::of_day(wall.made));
    let rows = |from: usize, count: usize| -> Vec<Row> {
        wall.offenders.iter().skip(from).take(count).map(Row::of).collect()
    };
    let text = match name {
        "style.css" => include_str!("../../../templates/wall/style.css").to_owned(),
        "wall.js" => include_str!("../../../templates/wall/wall.js").to_owned(),
        "unlist.html" => render(&Unlist { site, root: "", stamp: &day })?,
        "feeds.html" => render(&Feeds { site, root: "", stamp: &day, formats: feed::FORMATS })?,
        "feed.atom" => render(&Atom { site, stamp: &now, offenders: &rows(0, ENTRIES) })?,
        "offenders.json" => listing(&now, &rows(0, usize::MAX)),
        _ if name.starts_with("o/") => {
            let named = |offender: &&Offender| format!("o/{}.html", pages::file_of(offender)) == name;
            let Some(offender) = wall.offenders.iter().find(named) else { return Ok(None) };
            render(&OffenderPage { site, root: "../", stamp: &day, offender: &Row::of(offender) })?
        }
        _ => {
            let format = feed::FORMATS.iter().find(|format| name.strip_prefix("feeds/") == Some(format.file));
            if let Some(format) = format {
                let list = feed::Feed { head: Some(head(site, wall)), entries: &entries(wall) };
                return Ok(Some((format.write)(&list).into_bytes()));
            }
            let count = wall.offenders.len().div_ceil(ROWS).max(1);
            let Some(number) = (1..=count).find(|number| pages::page_name(*number) == name) else {
                return Ok(None);
            };
            render(&Index::of(site, wall, &now, (number, count), &rows((number - 1) * ROWS, ROWS)))?
        }
    };
    Ok(Some(text.into_bytes()))
}
