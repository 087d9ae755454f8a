//! The daemon's side: a thread that puts into the outbox what the engine tells it, and wakes the process that delivers.
//! The engine never waits for it: what finds the queue full is counted and dropped. What the disk does not take is held
//! and tried again, for that the disk is full is what the owner has to be told.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{info, warn};

use pillory_core::config::Outgoing;
use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::outgoing::Event;
use pillory_core::time::Timestamp;

use crate::clock::{self, Stopwatch};

use super::Nudge;
use super::outbox::{Outbox, OutboxError};

/// So much waits for the thread at most.
pub(crate) const MOST_WAITING: usize = 10_000;

/// So much is held while the outbox takes nothing.
const MOST_HELD: usize = 10_000;

/// So many are written together.
const TOGETHER: usize = 1_000;

/// What the outbox did not take is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What the engine tells.
#[derive(Debug, Clone)]
pub(crate) enum Post {
    /// What is sent from now on.
    Configure(Box<Outgoing>),
    /// The configuration's file was read anew, by the process that delivers too.
    Reload,
    /// Something happened.
    Event(Event),
    /// A jail banned an attacker that others may be told of, then.
    Banned(Prefix, JailName, Timestamp),
    /// That ban was a mistake: nobody is to be told of it any more.
    Withdraw(Prefix),
    /// So many were dropped, for the queue was full.
    Lost(u64),
}

/// Puts in what comes until nobody tells anything any more.
pub(crate) fn run(state_dir: &Path, posts: &Receiver<Post>, nudge: &Nudge) {
    let mut poster = Poster::default();
    let mut goes_on = true;
    while goes_on {
        let (new, is_open) = next(posts, poster.held.is_empty());
        goes_on = is_open;
        if new.is_empty() && poster.held.is_empty() {
            continue;
        }
        let reloads = new.iter().any(|post| matches!(post, Post::Reload));
        let failed = poster.failed.is_some();
        poster.take(new);
        // A disk that takes nothing is not asked for each of many that come.
        if goes_on && poster.failed.as_ref().is_some_and(|since| since.elapsed() < RETRY) {
            continue;
        }
        match poster.put(state_dir) {
            Ok(()) if failed => {
                nudge.tell_trouble(false);
                info!("the outbox takes what is to be sent again");
            }
            Ok(()) => {}
            Err(error) => {
                nudge.tell_trouble(true);
                if !failed {
                    warn!(%error, most = MOST_HELD, "what is to be sent waits in memory until this is mended; bans go on");
                }
            }
        }
        if poster.held.is_empty() {
            nudge.nudge();
        }
        if reloads {
            nudge.reload();
        }
    }
}

/// What comes next, and whether more may come. Where nothing is held it `waits` for that; else it may be nothing.
fn next(posts: &Receiver<Post>, waits: bool) -> (Vec<Post>, bool) {
    let first = match waits {
        true => posts.recv().map_err(|_| RecvTimeoutError::Disconnected),
        false => posts.recv_timeout(RETRY),
    };
    match first {
        Ok(first) => (std::iter::once(first).chain(posts.try_iter().take(TOGETHER)).collect(), true),
        Err(RecvTimeoutError::Timeout) => (Vec::new(), true),
        Err(RecvTimeoutError::Disconnected) => (Vec::new(), false),
    }
}

#[derive(Default)]
struct Poster {
    outbox: Option<Outbox>,
    config: Option<Outgoing>,
    /// What the outbox has yet to take, in order.
    held: Vec<Post>,
    /// Since it did not take it.
    failed: Option<Stopwatch>,
}

impl Poster {
    /// Takes what is new, within bounds.
    fn take(&mut self, new: Vec<Post>) {
        // What is sent is known, whether the outbox can be used or not.
        for post in &new {
            if let Post::Configure(config) = post {
                self.config = Some((**config).clone());
            }
        }
        self.held.extend(new);
        self.bound();
    }

    /// Puts in what is held; what fails stays.
    fn put(&mut self, state_dir: &Path) -> Result<(), OutboxError> {
        let done = self.try_put(state_dir);
        match &done {
            Ok(()) => {
                let lost: u64 = self.held.iter().map(lost).sum();
                if lost > 0 {
                    warn!(number = lost, "events were not put into the outbox: too many at once");
                }
                (self.failed, self.held) = (None, Vec::new());
            }
            Err(_) => {
                (self.outbox, self.failed) = (None, Some(Stopwatch::start()));
            }
        }
        done
    }

    fn try_put(&mut self, state_dir: &Path) -> Result<(), OutboxError> {
        if self.outbox.is_none() {
            let mut outbox = Outbox::open(state_dir)?;
            self.config.as_ref().map_or(Ok(()), |config| outbox.configure(config))?;
            self.outbox = Some(outbox);
        }
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        outbox.together(|outbox| put_all(outbox, &self.config, &self.held, clock::now()))
    }

    /// Of what is held too much is dropped, the oldest first, and counted. What is withdrawn stays withdrawn for longer.
    fn bound(&mut self) {
        let mut more = (self.held.len() + 1).saturating_sub(MOST_HELD);
        if more <= 1 {
            return;
        }
        let mut gone = 0;
        self.held.retain(|post| {
            let goes = more > 0 && !matches!(post, Post::Withdraw(_));
            more -= usize::from(goes);
            gone += match post {
                Post::Event(_) | Post::Banned(..) if goes => 1,
                post if goes => lost(post),
                _ => 0,
            };
            !goes
        });
        self.held.drain(..more);
        self.held.insert(0, Post::Lost(gone));
    }
}

/// How many this says are lost.
fn lost(post: &Post) -> u64 {
    match post {
        Post::Lost(number) => *number,
        _ => 0,
    }
}

fn put_all(
    outbox: &mut Outbox,
    config: &Option<Outgoing>,
    posts: &[Post],
    now: Timestamp,
) -> Result<(), OutboxError> {
    let (mut events, mut is_banned) = (Vec::new(), false);
    for post in posts {
        match post {
            Post::Configure(new) => outbox.configure(new)?,
            Post::Event(event) => events.push(event.clone()),
            Post::Banned(prefix, jail, made) => {
                is_banned = true;
                for to in config.iter().flat_map(|config| &config.reports) {
                    outbox.intend((to, *prefix), jail, *made)?;
                }
            }
            Post::Withdraw(prefix) => outbox.withdraw(*prefix, now)?,
            Post::Lost(_) | Post::Reload => {}
        }
    }
    for to in config.iter().flat_map(|config| &config.reports).filter(|_| is_banned) {
        outbox.tidy(to, now)?;
    }
    if events.is_empty() { Ok(()) } else { outbox.put(&events, now) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::outgoing::Kind;

    #[test]
    fn what_the_disk_does_not_take_is_held_within_bounds_and_put_in_later() {
        let directory = std::env::temp_dir().join(format!("pillory-poster-{}", std::process::id()));
        let mut poster = Poster::default();
        let event = |number: usize| {
            let kind = Kind::Warning;
            Post::Event(Event { time: clock::now(), kind, prefix: None, text: number.to_string() })
        };
        poster.take(vec![Post::Withdraw("192.0.2.7".parse().unwrap())]);
        for number in 0..MOST_HELD + 10 {
            poster.take(vec![event(number)]);
        }
        assert!(poster.put(&directory).is_err() && poster.failed.is_some());
        assert_eq!(poster.held.len(), MOST_HELD);
        assert!(matches!(poster.held[..2], [Post::Lost(12), Post::Withdraw(_)]), "{:?}", &poster.held[..2]);
        // What is configured meanwhile is tried again, too: nothing else may come.
        let mut first = Poster::default();
        first.take(vec![Post::Configure(Box::default())]);
        assert!(first.put(&directory).is_err() && first.held.len() == 1);
        std::fs::create_dir_all(&directory).unwrap();
        poster.put(&directory).unwrap();
        assert!(poster.held.is_empty());
        let outbox = poster.outbox.take().unwrap();
        // Nobody wants them, so they are gone again.
        let count = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
        let put: i64 = outbox.connection().query_row(count, [], |row| row.get(0)).unwrap();
        drop(outbox);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(put, 9_998);
    }
}
