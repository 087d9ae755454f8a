//! When the wall's pages are made anew: at the start, at a reload, every ten minutes, within a minute once somebody is let
//! out or one has failed, and at once when somebody is to be left out; one edition at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use pillory_core::time::{Span, Timestamp};
use tracing::{info, warn};

use crate::clock;
use crate::control::Reply;
use crate::outputs::publisher::{self, Edition, Errand, NotFresh, PageOrder};
use crate::unlisted::{META_UNLISTED, Unlisted, pages};

use super::Engine;

const EVERY: Span = Span::from_secs(600);
const SOON: Span = Span::from_secs(60);

const MAKE_ROOM: &str =
    "make the directory, give it to the daemon's user, name it in ReadWritePaths of the unit, and restart";

/// The key of its warning.
const WALL: &str = "wall";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Editions {
    /// When the last one was ordered; nothing before the first, and if there is something to be told at once.
    last: Option<Timestamp>,
    /// It shall not wait as long as usual for the next one.
    is_hurried: bool,
    /// One is being made; raised if it is not to be gone on with.
    at_work: Option<Arc<AtomicBool>>,
    /// Somebody was left out since the last one was ordered, or it failed.
    is_owed: bool,
    /// Who asked to be left out.
    pub(super) unlisted: Unlisted,
}

impl Engine {
    /// Orders an edition if it is time, and if the pages are asked for.
    pub(super) fn publish(&mut self, now: Timestamp) {
        let wall = &self.setup.config.wall;
        let editions = &self.editions;
        let wait = if editions.is_hurried { SOON } else { EVERY };
        let is_due = editions.last.is_none_or(|last| now.since(last) >= wait);
        // Before everything is watched, the past may yet be incomplete.
        // A dry run has banned nobody.
        if !is_due || editions.at_work.is_some() || wall.out.is_none() || self.is_dry() {
            return;
        }
        let Ok(edition) = self.edition() else { return };
        let errand = Errand { is_owed: editions.is_owed, ..Errand::default() };
        let given_up = Arc::clone(&errand.given_up);
        // Without that thread the process ends anyway.
        let sent = self.outlets.editions.send(PageOrder::Make(Box::new(edition), errand)).is_ok();
        let editions = &mut self.editions;
        (editions.last, editions.at_work) = (Some(now), sent.then_some(given_up));
        (editions.is_hurried, editions.is_owed) = (false, false);
    }

    /// Has the pages made anew at once, without who was left out just now; those of before are removed where new ones cannot
    /// be made now, for they show whom they must not. Returns what becomes of them, if there are some.
    pub(super) fn publish_without(&mut self) -> Option<&'static str> {
        let out = self.setup.config.wall.out.clone()?;
        if let Some(given_up) = self.editions.at_work.take() {
            given_up.store(true, Ordering::SeqCst);
        }
        self.publish_anew();
        self.editions.is_owed = true;
        if self.edition().is_ok() {
            // Not later: whoever stops the daemon next finds it ordered.
            self.publish(clock::now());
            return Some(pages::ANEW);
        }
        // Without that thread the process ends anyway.
        self.editions.is_owed = self.outlets.editions.send(PageOrder::TakeDown(out)).is_err();
        Some(pages::DOWN)
    }

    /// Somebody is let out: the lists for others shall not name them for long.
    pub(super) fn publish_soon(&mut self) {
        self.editions.is_hurried = true;
    }

    /// What pages are to be made of now. Before everything is watched, and good logins are learnt, not all are known who
    /// are not to be shown.
    fn edition(&self) -> Result<Edition, &'static str> {
        if !self.ready || !self.learning.is_done {
            return Err("not all is known yet that must not be shown; try again soon");
        }
        if let Some(problem) = self.editions.unlisted.problem() {
            return Err(problem);
        }
        let judge = &self.machine.judge;
        let ignored = judge.jails().iter().filter_map(|jail| jail.lines.as_ref()).map(|lines| &lines.ignore);
        let never = publisher::never_shown(&judge.never, ignored, &judge.proxies.kept());
        let mut wall = self.setup.config.wall.clone();
        wall.unlisted.extend(self.editions.unlisted.prefixes());
        Ok(Edition {
            wall,
            never,
            users: self.setup.config.goodusers.clone(),
            networks: judge.networks.clone(),
        })
    }

    /// The same for who shows pages that are not kept.
    pub(super) fn hand_over_edition(&self, to: &Sender<Edition>) -> Reply {
        match self.edition() {
            Ok(edition) => {
                // A client that went away needs no answer.
                drop(to.send(edition));
                Reply::say(0, "")
            }
            Err(why) => Reply::say(1, why),
        }
    }

    /// Takes over who is left out of the wall, and how often logs have lines.
    pub(crate) fn take_kept(&mut self, unlisted: Unlisted, rhythms: Option<&str>) {
        self.leave_out(unlisted);
        self.begin_rhythms(rhythms);
    }

    /// Who is left out, as the store kept it.
    fn leave_out(&mut self, unlisted: Unlisted) {
        if let Some(problem) = unlisted.problem() {
            warn!("{problem}");
            self.warnings.insert(META_UNLISTED.to_owned(), problem.to_owned());
        }
        self.editions.unlisted = unlisted;
    }

    /// What is to be shown has changed.
    pub(super) fn publish_anew(&mut self) {
        self.editions.last = None;
        if self.setup.config.wall.out.is_none() {
            self.warnings.remove(WALL);
        }
    }

    pub(super) fn published(&mut self, outcome: Result<(), NotFresh>) {
        self.editions.at_work = None;
        if self.setup.config.wall.out.is_none() {
            self.warnings.remove(WALL);
            return;
        }
        match outcome {
            Ok(()) => {
                if self.warnings.remove(WALL).is_some() {
                    info!("the wall of shame is fresh again");
                }
            }
            Err(NotFresh { why: reason, is_owed }) => {
                self.editions.is_hurried = true;
                self.editions.is_owed |= is_owed;
                let is_closed =
                    ["ermission denied", "Read-only file system"].iter().any(|why| reason.contains(why));
                let reason = if is_closed { format!("{reason}; {MAKE_ROOM}") } else { reason };
                let warning = format!("the wall of shame is not fresh: {reason}");
                if self.warnings.insert(WALL.to_owned(), warning.clone()) != Some(warning) {
                    warn!(reason, "the wall of shame is not fresh");
                }
            }
        }
    }
}
