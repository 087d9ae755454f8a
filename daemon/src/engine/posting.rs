//! What the owner is told and others are told of: handed to the thread that puts it into the outbox. Nobody waits for
//! that: what finds its queue full is dropped and counted, but for what is sent from now on.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use crossbeam_channel::TrySendError;

use pillory_core::event::{JailName, Origin};
use pillory_core::ledger::projection::is_point;
use pillory_core::ledger::{Ban, Ended};
use pillory_core::machine::Notice;
use pillory_core::net::Prefix;
use pillory_core::outgoing::report::is_answered;
use pillory_core::outgoing::{Event, Kind};
use pillory_core::time::{Span, Timestamp};

use crate::outgoing::Post;
use crate::{clock, logging};

use super::{Engine, sent};

/// How often it is looked whether there are new warnings.
const LOOK: Span = Span::from_secs(5);

/// So many warnings are told apart.
const MOST_TOLD: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Posting {
    /// What somebody wants to be told of.
    wanted: BTreeSet<Kind>,
    /// Somebody is told of attackers.
    reports: bool,
    /// The warnings that were told, without their numbers.
    told: BTreeMap<String, String>,
    last_look: Timestamp,
    /// Something happened since.
    is_stale: bool,
    /// So much was dropped and not said yet.
    lost: u64,
    /// What found the queue full and must not be lost: the newest of each kind.
    owed: Vec<Post>,
}

impl Posting {
    /// It found the queue full.
    fn drop(&mut self, post: Post) {
        if !matches!(post, Post::Configure(_) | Post::Reload) {
            self.lost += 1;
            return;
        }
        self.owed.retain(|known| discriminant(known) != discriminant(&post));
        self.owed.push(post);
    }
}

/// True if a ban that ended so should not have been, or is not to be told of any more.
pub(super) fn is_mistake(how: Ended) -> bool {
    matches!(how, Ended::Lifted | Ended::Mistaken)
}

impl Engine {
    fn post(&mut self, post: Post) {
        self.post_owed();
        let Some(posts) = &self.outlets.posts else { return };
        if let Err(TrySendError::Full(post)) = posts.try_send(post) {
            self.posting.drop(post);
        }
    }

    /// What found the queue full, if there is room now.
    fn post_owed(&mut self) {
        let Some(posts) = &self.outlets.posts else { return };
        for post in std::mem::take(&mut self.posting.owed) {
            if let Err(TrySendError::Full(post)) = posts.try_send(post) {
                self.posting.drop(post);
            }
        }
        if self.posting.lost > 0 && posts.try_send(Post::Lost(self.posting.lost)).is_ok() {
            self.posting.lost = 0;
        }
    }

    /// A reload may have changed what is sent. A policy on trial does not: who sends reads the file.
    pub(super) fn configure_posts(&mut self) {
        self.begin_posts();
        self.post(Post::Reload);
    }

    /// What is sent from now on, by the configuration in force.
    pub(super) fn begin_posts(&mut self) {
        let outgoing = self.setup.config.outgoing.clone();
        self.posting.wanted = outgoing.notify.iter().flat_map(|notify| notify.on.iter().copied()).collect();
        self.posting.reports = !outgoing.reports.is_empty();
        self.post(Post::Configure(Box::new(outgoing)));
    }

    /// The daemon protects.
    pub(super) fn post_start(&mut self) {
        let (version, banned) = (env!("CARGO_PKG_VERSION"), self.machine.ledger.len());
        self.tell_owner(Kind::Start, None, || format!("pillory {version} started; {banned} banned"));
    }

    /// The daemon stops.
    pub(super) fn post_stop(&mut self) {
        self.tell_owner(Kind::Stop, None, || "pillory stops".to_owned());
    }

    fn tell_owner(&mut self, kind: Kind, prefix: Option<Prefix>, words: impl FnOnce() -> String) {
        if self.outlets.posts.is_some() && self.posting.wanted.contains(&kind) {
            let event = Event { time: clock::now(), kind, prefix, text: words() };
            self.post(Post::Event(event));
        }
    }

    /// A notice of the machine, if somebody is told of it.
    pub(super) fn post_notice(&mut self, notice: &Notice) {
        if self.outlets.posts.is_none() {
            return;
        }
        match notice {
            Notice::Banned(ban) => {
                let kind = kind_of(ban);
                self.tell_owner(kind, Some(ban.prefix), || logging::ban_words(ban));
                self.post_attacker(ban);
            }
            Notice::Ended(ban, how) => {
                let prefix = Some(ban.prefix).filter(|_| !sent::names_friend(*how));
                self.tell_owner(Kind::Unban, prefix, || sent::unban_words(ban, *how));
                if is_mistake(*how) {
                    self.withdraw(ban.prefix);
                }
            }
            Notice::IdentityBanned(ban) => {
                let (jail, who) = (ban.jail.clone(), self.shown(&ban.id));
                self.tell_owner(Kind::Ban, None, || format!("jail {jail}: {who} is banned by its commands"));
            }
            Notice::IdentityEnded(ban, _) => {
                let (jail, who) = (ban.jail.clone(), self.shown(&ban.id));
                self.tell_owner(Kind::Unban, None, || {
                    format!("jail {jail}: {who} is no longer banned by its commands")
                });
            }
            Notice::Alarm(alarm) => self.tell_owner(Kind::Alarm, None, || sent::alarm_words(alarm)),
            // What is a warning is found among the warnings.
            _ => {}
        }
    }

    /// A name as it may leave the host: it may be a password in the wrong field.
    fn shown(&self, name: &str) -> String {
        match self.machine.judge.names.may_leave(name) {
            true => crate::escape::escape(name),
            false => "somebody (name not shown)".to_owned(),
        }
    }

    /// Many bans of one jail that came from a list, or ended.
    pub(super) fn post_crowd(&mut self, bans: &[&Ban], how: Option<Ended>) {
        let [first, ..] = bans else { return };
        let (jail, count) = (first.jail.clone(), bans.len());
        match how {
            None => self.tell_owner(Kind::Ban, None, || format!("jail {jail}: {count} bans from a list")),
            Some(_) => self.tell_owner(Kind::Unban, None, || format!("jail {jail}: {count} bans ended")),
        }
    }

    /// Others are told of whom a jail banned for what it did, over connections that were answered.
    fn post_attacker(&mut self, ban: &Ban) {
        let is_by_jail = ban.origin == Origin::Local && !JailName::OF_NO_JAIL.contains(&ban.jail.as_str());
        let is_spared = ban.forced || self.machine.judge.never.overlaps(ban.prefix);
        let answered =
            || self.setup.config.jails.iter().any(|jail| jail.name == ban.jail && is_answered(jail));
        if self.posting.reports && is_by_jail && is_point(ban.prefix) && !is_spared && answered() {
            self.post(Post::Banned(ban.prefix, ban.jail.clone(), clock::now()));
        }
    }

    /// A ban was lifted: nobody is told of it any more.
    pub(super) fn withdraw(&mut self, prefix: Prefix) {
        if self.posting.reports {
            self.post(Post::Withdraw(prefix));
        }
    }

    /// When it is to be looked again whether there are new warnings, if something may have brought some.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.posting.is_stale.then(|| self.posting.last_look + LOOK)
    }

    /// Tells of warnings that are new, or over.
    pub(super) fn post_warnings(&mut self, now: Timestamp) {
        self.post_owed();
        let is_asked = self.outlets.posts.is_some() && self.posting.wanted.contains(&Kind::Warning);
        if !is_asked || !self.ready {
            return;
        }
        self.posting.is_stale = now.since(self.posting.last_look) < LOOK && now >= self.posting.last_look;
        if self.posting.is_stale {
            return;
        }
        self.posting.last_look = now;
        let in_force: BTreeMap<String, String> = self
            .warnings_to_send()
            .into_iter()
            .take(MOST_TOLD)
            .map(|text| (without_numbers(&text), text))
            .collect();
        let told = std::mem::take(&mut self.posting.told);
        for (_, text) in in_force.iter().filter(|(key, _)| !told.contains_key(*key)) {
            self.tell_owner(Kind::Warning, None, || crate::escape::escape(text));
        }
        for (_, text) in told.iter().filter(|(key, _)| !in_force.contains_key(*key)) {
            self.tell_owner(Kind::Warning, None, || format!("over: {}", crate::escape::escape(text)));
        }
        self.posting.told = in_force;
    }
}

fn kind_of(ban: &Ban) -> Kind {
    let is_network = ban.origin == Origin::Local && !is_point(ban.prefix);
    if is_network { Kind::Widen } else { Kind::Ban }
}

/// Counts and times change while a warning stays the same.
fn without_numbers(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if key.ends_with('#') => {}
            true => key.push('#'),
            false => key.push(c),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_from_now_on_is_not_lost_and_the_newest_counts() {
        let mut posting = Posting::default();
        for _ in 0..2 {
            posting.drop(Post::Configure(Box::default()));
            posting.drop(Post::Reload);
            posting.drop(Post::Lost(1));
        }
        assert!(matches!(posting.owed[..], [Post::Configure(_), Post::Reload]), "{:?}", posting.owed);
        assert_eq!(posting.lost, 2);
    }
}
