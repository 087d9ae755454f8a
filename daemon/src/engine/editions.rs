//! When the wall's pages are made anew: at the start, at a reload, and every ten minutes, one edition at a time.

use crossbeam_channel::Sender;
use pillory_core::time::{Span, Timestamp};
use tracing::{info, warn};

use crate::control::Reply;
use crate::outputs::publisher::{self, Edition, PageOrder};
use crate::unlisted::{META_UNLISTED, Unlisted};

use super::Engine;

const EVERY: Span = Span::from_secs(600);

const MAKE_ROOM: &str =
    "make the directory, give it to the daemon's user, name it in ReadWritePaths of the unit, and restart";

/// The key of its warning.
const WALL: &str = "wall";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Editions {
    /// When the last one was ordered; nothing before the first, and if there is something to be told at once.
    last: Option<Timestamp>,
    /// One is being made.
    is_at_work: bool,
    /// Who asked to be left out.
    pub(super) unlisted: Unlisted,
}

impl Engine {
    /// Orders an edition if it is time, and if the pages are asked for.
    pub(super) fn publish(&mut self, now: Timestamp) {
        let wall = &self.setup.config.wall;
        let is_due = self.editions.last.is_none_or(|last| now.since(last) >= EVERY);
        // Before everything is watched, the past may yet be incomplete.
        // A dry run has banned nobody.
        if !is_due || self.editions.is_at_work || wall.out.is_none() || self.is_dry() {
            return;
        }
        let Ok(edition) = self.edition() else { return };
        // Without that thread the process ends anyway.
        let sent = self.outlets.editions.send(PageOrder::Make(Box::new(edition))).is_ok();
        (self.editions.last, self.editions.is_at_work) = (Some(now), sent);
    }

    /// Has pages of before removed where new ones cannot be made now, for they show whom they must not. True if so.
    pub(super) fn take_down(&mut self) -> bool {
        let Some(out) = self.setup.config.wall.out.clone() else { return false };
        let may_be_made = !self.is_dry() && self.edition().is_ok();
        if may_be_made {
            return false;
        }
        // Without that thread the process ends anyway.
        self.editions.is_at_work = self.outlets.editions.send(PageOrder::TakeDown(out)).is_ok();
        true
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

    pub(super) fn published(&mut self, outcome: Result<(), String>) {
        self.editions.is_at_work = false;
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
            Err(reason) => {
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
