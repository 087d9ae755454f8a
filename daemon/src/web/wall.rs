//! The wall of shame as it would be published now.

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

/// Who is to be asked while nobody is named.
const NO_CONTACT: &str = "not set yet: contact under [wall] in the configuration";

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
    wall: Arc<(Site, Wall)>,
}

impl Kept {
    /// A file of the wall.
    pub(super) fn page(&self, desk: &Desk, file: &str) -> Response {
        let made = match self.made(desk) {
            Ok(made) => made,
            Err(problem) => {
                let said = Response::data("text/plain; charset=utf-8", format!("{problem}\n"));
                return said.with_status(Status::UNAVAILABLE);
            }
        };
        let file = if file.is_empty() { "index.html" } else { file };
        match wall::file(&made.0, &made.1, file) {
            Ok(Some(body)) => Response::data(kind(file), body),
            Ok(None) => Response::refusal(Status::NOT_FOUND),
            Err(_) => Response::refusal(Status::FAULT),
        }
    }

    /// Made once for all who ask meanwhile.
    fn made(&self, desk: &Desk) -> Result<Arc<(Site, Wall)>, String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reviews = desk.reviews.load(Ordering::SeqCst);
        let is_fresh = |made: &&Made| made.since.elapsed() < made.fresh && made.reviews == reviews;
        if let Some(made) = kept.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(&made.wall));
        }
        let begun = Stopwatch::start();
        let (to, handed) = bounded(1);
        let reply = desk.ask_within(Order::Edition(to), Some(PATIENCE));
        let edition = handed.try_recv().map_err(|_| reply.message)?;
        let shown = publisher::look(&edition, &desk.state_dir).map_err(|error| error.to_string())?;
        let configured = &edition.wall;
        let contact = configured.contact.as_deref().unwrap_or(NO_CONTACT);
        let site = Site::new(configured.title.as_deref(), contact, configured.rules.clone());
        let wall = Arc::new((site, shown));
        let fresh = FRESH.max(begun.elapsed() * PART);
        *kept = Some(Made { since: Stopwatch::start(), fresh, reviews, wall: Arc::clone(&wall) });
        Ok(wall)
    }
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
