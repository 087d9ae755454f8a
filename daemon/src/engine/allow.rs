//! `pillory allow`: the never-ban set changed while the daemon runs.

use serde_json::json;
use tracing::info;

use pillory_core::time::{Span, Timestamp};

use crate::allowed::{self, META_ALLOWED, Who};
use crate::clock;
use crate::control::{Reply, stamp};

use super::Engine;

impl Engine {
    pub(super) fn allow(&mut self, who: Vec<Who>, span: Option<Span>, remove: bool) -> Reply {
        if who.is_empty() {
            return Reply::data(json!({"allowed": self.allowed.listed(&self.facts.named)}));
        }
        let now = clock::now();
        let until = span.map(|span| now + span);
        let (mut done, mut not) = (Vec::new(), Vec::new());
        for one in who {
            let text = one.to_string();
            let changed = match remove {
                true => self.allowed.remove(&one),
                false => self.allowed.add(one, now, until),
            };
            if changed {
                info!(who = text, until = until.map(|until| until.to_string()), remove, "allowed by command");
            }
            if changed { &mut done } else { &mut not }.push(text);
        }
        self.allowed_changed();
        let value = json!({"done": done, "not": not, "removed": remove, "until": until.map(stamp),
            "allowed": self.allowed.listed(&self.facts.named)});
        Reply { exit: u8::from(!not.is_empty()), message: String::new(), value }
    }

    /// Ends what was allowed for a time only.
    pub(super) fn end_allowed(&mut self, now: Timestamp) {
        let gone = self.allowed.expire(now);
        for who in &gone {
            info!(%who, "no longer allowed: its time is over");
        }
        if !gone.is_empty() {
            self.allowed_changed();
        }
    }

    /// The kernel, the store and whoever follows names hear of it.
    pub(super) fn allowed_changed(&mut self) {
        self.meta.push((META_ALLOWED.into(), self.allowed.kept()));
        self.follow_names();
        self.spare();
        self.publish_soon();
    }

    /// Has the names followed that are listed anywhere.
    pub(super) fn follow_names(&self) {
        self.outlets.facts.follow(allowed::names(&self.setup.config, &self.allowed));
    }
}
