//! The daemon's side: a thread that puts into the outbox what the engine tells it, and wakes the process that delivers.
//! The engine never waits for it: what finds the queue full is counted and dropped.

use std::path::Path;

use crossbeam_channel::Receiver;
use tracing::{info, warn};

use pillory_core::config::Outgoing;
use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::outgoing::Event;
use pillory_core::time::Timestamp;

use crate::clock;

use super::Nudge;
use super::outbox::{Outbox, OutboxError};

/// So much waits for the thread at most.
pub(crate) const MOST_WAITING: usize = 10_000;

/// So many are written together.
const TOGETHER: usize = 1_000;

/// What the engine tells.
#[derive(Debug)]
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
    let mut poster = Poster { outbox: None, config: None, fails: false };
    while let Ok(first) = posts.recv() {
        let all: Vec<Post> = std::iter::once(first).chain(posts.try_iter().take(TOGETHER)).collect();
        let reloads = all.iter().any(|post| matches!(post, Post::Reload));
        match poster.put(state_dir, all) {
            Ok(()) if poster.fails => {
                poster.fails = false;
                nudge.tell_trouble(false);
                info!("the outbox takes what is to be sent again");
            }
            Ok(()) => {}
            Err(error) => {
                poster.outbox = None;
                nudge.tell_trouble(true);
                if !std::mem::replace(&mut poster.fails, true) {
                    warn!(%error, "what is to be sent is lost until this is mended; bans go on");
                }
            }
        }
        nudge.nudge();
        if reloads {
            nudge.reload();
        }
    }
}

struct Poster {
    outbox: Option<Outbox>,
    config: Option<Outgoing>,
    fails: bool,
}

impl Poster {
    fn put(&mut self, state_dir: &Path, posts: Vec<Post>) -> Result<(), OutboxError> {
        let now = clock::now();
        // What is sent is known, whether the outbox can be used or not.
        for post in &posts {
            if let Post::Configure(config) = post {
                self.config = Some((**config).clone());
            }
        }
        if self.outbox.is_none() {
            let mut outbox = Outbox::open(state_dir)?;
            self.config.as_ref().map_or(Ok(()), |config| outbox.configure(config))?;
            self.outbox = Some(outbox);
        }
        let (Some(outbox), config) = (&mut self.outbox, &self.config) else { return Ok(()) };
        outbox.together(|outbox| put_all(outbox, config, posts, now))
    }
}

fn put_all(
    outbox: &mut Outbox,
    config: &Option<Outgoing>,
    posts: Vec<Post>,
    now: Timestamp,
) -> Result<(), OutboxError> {
    let (mut events, mut is_banned) = (Vec::new(), false);
    for post in posts {
        match post {
            Post::Configure(new) => outbox.configure(&new)?,
            Post::Event(event) => events.push(event),
            Post::Banned(prefix, jail, made) => {
                is_banned = true;
                for to in config.iter().flat_map(|config| &config.reports) {
                    outbox.intend((to, prefix), &jail, made)?;
                }
            }
            Post::Withdraw(prefix) => outbox.withdraw(prefix, now)?,
            Post::Lost(number) => warn!(number, "events were not put into the outbox: too many at once"),
            Post::Reload => {}
        }
    }
    for to in config.iter().flat_map(|config| &config.reports).filter(|_| is_banned) {
        outbox.tidy(to, now)?;
    }
    if events.is_empty() { Ok(()) } else { outbox.put(&events, now) }
}
