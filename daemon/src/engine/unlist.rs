//! `pillory unlist`: who is left out of the wall of shame from now on.

use serde_json::json;
use tracing::info;

use pillory_core::net::Prefix;

use crate::control::Reply;
use crate::unlisted::{META_UNLISTED, META_UNREADABLE};

use super::Engine;

impl Engine {
    pub(super) fn unlist(&mut self, prefixes: &[Prefix], remove: bool) -> Reply {
        let (mut done, mut not) = (Vec::new(), Vec::new());
        let unlisted = &mut self.editions.unlisted;
        if let Some(problem) = unlisted.problem().filter(|_| remove || prefixes.is_empty()) {
            return Reply::say(1, problem);
        }
        if let Some(unreadable) = unlisted.begin_anew() {
            self.meta.push((META_UNREADABLE.into(), unreadable));
            self.warnings.remove(META_UNLISTED);
        }
        for prefix in prefixes {
            let is_done = if remove { unlisted.remove(*prefix) } else { unlisted.add(*prefix) };
            if is_done {
                info!(%prefix, remove, "left out of the wall by command");
            }
            if is_done { &mut done } else { &mut not }.push(prefix.to_string());
        }
        if !done.is_empty() {
            self.meta.push((META_UNLISTED.into(), unlisted.kept()));
            self.publish_anew();
        }
        let all: Vec<String> = self.editions.unlisted.prefixes().map(|prefix| prefix.to_string()).collect();
        let shown = self.setup.config.wall.out.is_some();
        let value = json!({"done": done, "not": not, "removed": remove, "unlisted": all, "wall": shown});
        Reply { exit: u8::from(!not.is_empty()), message: String::new(), value }
    }
}
