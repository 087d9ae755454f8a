//! The wall of shame as it would be published now.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::bounded;

use pillory_core::wall::Wall;

use crate::clock::Stopwatch;
use crate::control::Request as Order;
use crate::control::server::Desk;
use crate::outputs::publisher;
use crate::outputs::wall::{self, Site};

use super::response::{Response, Status};
use super::routes::PATIENCE;

/// So long a wall is shown at least, unless somebody is left out meanwhile: making one reads the whole store.
const FRESH: Duration = Duration::from_secs(10);

/// And so many times as long as it took to make: readers have no more than this part of a processor.
const PART: u32 = 20;

/// A file that is longer is made for no reader: many at once would take the memory of the host.
const LONGEST: usize = 8 << 20;

/// Who is to be asked while nobody is named.
const NO_CONTACT: &str = "not set yet: contact under [wall] in the configuration";

const TOO_LONG: &str = "this is too long to be made for a reader; `out` under [wall] in the configuration has it made as a file\n";

/// The wall that was made last.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Made>>);

/// See [`Kept`].
#[derive(Debug)]
struct Made {
    /// Since when there is this one.
    since: Stopwatch,
    /// For how long it is shown.
    fresh: Duration,
    /// After how many reviews of who is shown it was begun.
    reviews: u64,
    site: Site,
    wall: Wall,
    /// The lists, which all readers share; nothing for one that is too long.
    lists: HashMap<String, Option<Arc<Vec<u8>>>>,
}

impl Kept {
    /// A file of the wall. They are made one at a time: a crowd of readers has no more than one processor.
    pub(super) fn page(&self, desk: &Desk, file: &str) -> Response {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match fresh(&mut kept, desk) {
            Ok(made) => made,
            Err(problem) => {
                let said = Response::data("text/plain; charset=utf-8", format!("{problem}\n"));
                return said.with_status(Status::UNAVAILABLE);
            }
        };
        made.file(if file.is_empty() { "index.html" } else { file })
    }
}

impl Made {
    fn file(&mut self, name: &str) -> Response {
        let body = match self.lists.get(name) {
            Some(body) => body.clone(),
            None => match wall::file(&self.site, &self.wall, name) {
                Ok(Some(body)) => {
                    let body = (body.len() <= LONGEST).then(|| Arc::new(body));
                    if is_list(name) {
                        self.lists.insert(name.to_owned(), body.clone());
                    }
                    body
                }
                Ok(None) => return Response::refusal(Status::NOT_FOUND),
                Err(_) => return Response::refusal(Status::FAULT),
            },
        };
        match body {
            Some(body) => Response::shared(kind(name), body),
            None => Response::data("text/plain; charset=utf-8", TOO_LONG).with_status(Status::UNAVAILABLE),
        }
    }
}

/// What grows with who is listed.
fn is_list(name: &str) -> bool {
    name.starts_with("feeds/") || name == "offenders.json"
}

/// The one that is shown now, made anew if it is time.
fn fresh<'k>(kept: &'k mut Option<Made>, desk: &Desk) -> Result<&'k mut Made, String> {
    let reviews = desk.reviews.load(Ordering::SeqCst);
    let is_fresh = |made: &Made| made.since.elapsed() < made.fresh && made.reviews == reviews;
    if !kept.as_ref().is_some_and(is_fresh) {
        // The memory of the one before is free for it.
        *kept = None;
        *kept = Some(made(desk, reviews)?);
    }
    kept.as_mut().ok_or_else(String::new)
}

fn made(desk: &Desk, reviews: u64) -> Result<Made, String> {
    let begun = Stopwatch::start();
    let (to, handed) = bounded(1);
    let reply = desk.ask_within(Order::Edition(to), Some(PATIENCE));
    let edition = handed.try_recv().map_err(|_| reply.message)?;
    let wall = publisher::look(&edition, &desk.state_dir).map_err(|error| error.to_string())?;
    let configured = &edition.wall;
    let contact = configured.contact.as_deref().unwrap_or(NO_CONTACT);
    let site = Site::new(configured.title.as_deref(), contact, configured.rules.clone());
    let fresh = FRESH.max(begun.elapsed() * PART);
    Ok(Made { since: Stopwatch::start(), fresh, reviews, site, wall, lists: HashMap::new() })
}

fn kind(file: &str) -> &'static str {
    match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("atom") => "application/atom+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::wall::tests::{offender, site, wall};

    fn made(offenders: u32) -> Made {
        let addr = |number: u32| std::net::Ipv4Addr::from_bits(0x3C00_0000 + number);
        let wall =
            wall((0..offenders).map(|number| offender(&format!("{}/32", addr(number)), false)).collect());
        Made {
            since: Stopwatch::start(),
            fresh: FRESH,
            reviews: 0,
            site: site(),
            wall,
            lists: HashMap::new(),
        }
    }

    #[test]
    fn readers_share_a_list_and_get_none_that_would_take_the_memory_of_the_host() {
        let mut few = made(3);
        for name in ["offenders.json", "feeds/offenders.txt"] {
            assert_eq!(few.file(name).status, Status::OK);
            let kept = few.lists[name].clone().unwrap();
            assert_eq!(few.file(name).status, Status::OK);
            // The map's, this one, and no other: the answers are gone, and none was made anew.
            assert_eq!(Arc::strong_count(&kept), 2);
        }
        assert_eq!(few.file("o/60.0.0.2.html").status, Status::OK);
        assert_eq!(few.file("o/60.0.0.3.html").status, Status::NOT_FOUND);
        assert_eq!(few.lists.len(), 2, "what does not grow is not kept");
        let mut many = made(20_000);
        assert_eq!(many.file("offenders.json").status, Status::OK);
        assert_eq!(many.file("feeds/offenders.stix.json").status, Status::UNAVAILABLE);
        assert_eq!(many.lists["feeds/offenders.stix.json"], None);
        assert_eq!(many.file("page-2.html").status, Status::OK);
    }
}
