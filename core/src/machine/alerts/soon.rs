//! People are told before somebody is banned who belongs here, it seems: once a source and day.

use std::collections::BTreeMap;

use crate::event::JailName;
use crate::jail::Soon;
use crate::machine::{Effect, Machine, Notice};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::STANDS;

/// A source is told of once in this time.
const ONCE: Span = Span::from_secs(86_400);

/// At most so many sources that people log in from are told of in that time.
const MOST: usize = 500;

/// And so many others, who only type a good user's name: a botnet can, and shall not fill the log.
const MOST_BY_NAME: usize = 20;

/// Who was told of, and when.
#[derive(Debug, Default)]
pub(in crate::machine) struct Warned(BTreeMap<(JailName, Prefix), (Soon, Timestamp)>);

impl Warned {
    /// Notes how near a source is to its ban; true if people are to be told.
    fn note(&mut self, soon: &Soon, now: Timestamp) -> bool {
        self.forget(now);
        let key = (soon.jail.clone(), soon.prefix);
        if let Some((known, _)) = self.0.get_mut(&key) {
            *known = soon.clone();
            return false;
        }
        let most = if soon.comes { MOST } else { MOST_BY_NAME };
        if self.0.values().filter(|(known, _)| known.comes == soon.comes).count() >= most {
            return false;
        }
        self.0.insert(key, (soon.clone(), now));
        true
    }

    fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, said)| now.since(*said) < ONCE);
    }
}

impl Machine {
    /// Who was told of within an hour, and still is as near to a ban.
    pub fn soon_banned(&self, now: Timestamp) -> impl Iterator<Item = &Soon> {
        let fresh = self.warned.0.values().filter(move |(_, said)| now.since(*said) < STANDS);
        // A login or a ban takes points away.
        fresh.map(|(soon, _)| soon).filter(move |soon| {
            let counted = self.judge.counted(soon.prefix, now);
            counted.iter().any(|(jail, points, _)| *jail == soon.jail && *points >= soon.points)
        })
    }

    /// Somebody is soon banned who belongs here, it seems.
    pub(in crate::machine) fn tell_soon(&mut self, soon: Soon, now: Timestamp, out: &mut Vec<Effect>) {
        if self.warned.note(&soon, now) {
            out.push(Effect::Say(Notice::Soon(Box::new(soon))));
        }
    }

    pub(super) fn sweep_soon(&mut self, now: Timestamp) {
        self.warned.forget(now);
    }
}
