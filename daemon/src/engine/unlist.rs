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
        let mut pages = self.setup.config.wall.out.as_ref().map(|_| pages::ANEW);
        if !ordered.done.is_empty() {
            self.publish_anew();
            if !remove && self.take_down() {
                pages = Some(pages::DOWN);
            }
        }
        ordered.reply(&self.editions.unlisted, remove, pages)
    }
}
