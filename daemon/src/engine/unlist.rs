//! `pillory unlist`: who is left out of the wall of shame from now on.

use tracing::info;

use pillory_core::net::Prefix;

use crate::control::Reply;
use crate::unlisted::{META_UNLISTED, pages};

use super::Engine;

impl Engine {
    pub(super) fn unlist(&mut self, prefixes: &[Prefix], remove: bool) -> Reply {
        let ordered = match self.editions.unlisted.order(prefixes, remove) {
            Ok(ordered) => ordered,
            Err(problem) => return Reply::say(1, problem),
        };
        for prefix in &ordered.done {
            info!(%prefix, remove, "left out of the wall by command");
        }
        if self.editions.unlisted.problem().is_none() {
            self.warnings.remove(META_UNLISTED);
        }
        self.meta.extend(ordered.meta.iter().cloned());
        // Pages are made of what a real daemon keeps, and so is the list of who is left out: the client sees to both.
        let is_dry = self.is_dry();
        let pages = match ordered.done.is_empty() || is_dry {
            true => None,
            false if !remove => self.publish_without(),
            false => {
                self.publish_anew();
                self.setup.config.wall.out.as_ref().map(|_| pages::ANEW)
            }
        };
        let mut reply = ordered.reply(&self.editions.unlisted, remove, pages);
        reply.value["dry_run"] = is_dry.into();
        reply
    }
}
