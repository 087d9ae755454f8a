//! A policy on trial (`pillory apply`): in force at once, and taken back unless it is confirmed in time from a connection
//! that began after it came into force. Whoever can still come in confirms it; whoever cannot need do nothing.
//!
//! Both policies are kept as texts in the store, so a trial goes on after a restart, and one whose time is over by then
//! never comes into force again by itself, even if it stands in the configuration file. A `reload` that was
//! answered well overrules that, over restarts too.

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{error, info, warn};

use pillory_core::time::{Span, Timestamp};

use crate::cli::configfile::Policy;
use crate::clock;
use crate::control::{Reply, stamp};
use crate::seat::Seat;

use super::Engine;

/// Name of the setting that keeps the policy on trial, or the one that was taken back and stands in the file.
pub(crate) const META_TRIAL: &str = "trial";

/// If the policy before cannot come back, this long after the next attempt is made.
const AGAIN: Span = Span::from_secs(30);

/// What the store keeps of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The policy before.
    pub(crate) old: Policy,
    /// The one on trial.
    pub(crate) new: Policy,
    /// When it is taken back; nothing once it was.
    pub(crate) until: Option<Timestamp>,
}

/// A trial that goes on.
#[derive(Debug)]
pub(crate) struct Trial {
    kept: Kept,
    /// When the new policy came into force here, in ticks since boot.
    since: u64,
}

/// What a start finds of a trial.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing, or what no longer concerns the file.
    Nothing,
    /// It goes on: this policy is in force.
    GoesOn(Kept),
    /// The file holds what was not confirmed: the policy before is in force.
    Rejected(Kept),
}

impl Found {
    /// `kept`: the setting; `file`: what stands in the configuration file now.
    pub(crate) fn new(kept: Option<&str>, file: &Policy, now: Timestamp) -> Found {
        let Some(kept) = kept.and_then(|text| serde_json::from_str::<Kept>(text).ok()) else {
            return Found::Nothing;
        };
        let is_new = file.text == kept.new.text;
        // Somebody wrote a third policy since: that is what this start is for.
        if !is_new && file.text != kept.old.text {
            return Found::Nothing;
        }
        match kept.until {
            Some(until) if until > now => Found::GoesOn(kept),
            _ if is_new && kept.new.text != kept.old.text => Found::Rejected(kept),
            _ => Found::Nothing,
        }
    }

    /// The policy that is in force instead of the file's.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        match self {
            Found::Nothing => None,
            Found::GoesOn(kept) => Some(&kept.new),
            Found::Rejected(kept) => Some(&kept.old),
        }
    }
}

impl Engine {
    /// Takes up what a start found.
    pub(crate) fn begin_trial(&mut self, found: Found) {
        match found {
            // What is kept concerns another text than the file's; should a start find that one there, it is known.
            Found::Nothing => {}
            Found::GoesOn(kept) => {
                warn!(file = %kept.new.file.display(), "a policy is on trial still; it is taken back unless it is confirmed");
                self.start_trial(kept);
            }
            Found::Rejected(kept) => self.reject(kept),
        }
    }

    /// Begins to run another policy.
    pub(super) fn apply_policy(&mut self, new: Policy, span: Span, reply: Sender<Reply>) {
        if let Some(busy) = self.busy() {
            return self.answer(reply, Reply::say(1, busy), true);
        }
        let kept = Kept { old: self.setup.policy.clone(), new, until: Some(clock::now() + span) };
        match self.read_policy(kept.new.clone()) {
            Ok(built) => {
                // Kept before it is in force, or a crash between would leave it there for good.
                self.keep_trial(Some(&kept));
                self.flush();
                self.bring(built, super::reload::Purpose::Trial(kept, span), Some(reply));
            }
            Err(reason) => {
                let said = format!("apply refused, the old policy stays\npillory: {reason}");
                self.answer(reply, Reply::say(2, said), true);
            }
        }
    }

    /// Why no other policy may come now, if none may.
    pub(super) fn busy(&self) -> Option<String> {
        if let Some(trial) = &self.trial {
            let file = trial.kept.new.file.display();
            return Some(format!(
                "the policy of {file} is on trial; `pillory confirm` it from a new connection, or take it back with `pillory confirm --take-back`"
            ));
        }
        self.reloading.is_some().then(|| "another policy is just being taken over; try again".to_owned())
    }

    /// The new policy is in force now.
    pub(super) fn in_force(&mut self, kept: Kept, span: Span) -> Reply {
        let until = clock::now() + span;
        let kept = Kept { until: Some(until), ..kept };
        let file = kept.new.file.display().to_string();
        warn!(file, %until, "a policy is on trial; it is taken back unless it is confirmed from a new connection");
        self.keep_trial(Some(&kept));
        self.start_trial(kept);
        let jails = self.machine.judge.jails().len();
        Reply::data(json!({"file": file, "until": stamp(until), "for_s": span.secs(), "jails": jails}))
    }

    fn start_trial(&mut self, kept: Kept) {
        self.trial = Some(Trial { kept, since: clock::boot_ticks() });
    }

    fn keep_trial(&mut self, kept: Option<&Kept>) {
        let text = kept.and_then(|kept| serde_json::to_string(kept).ok()).unwrap_or_default();
        self.meta.push((META_TRIAL.into(), text));
    }

    /// What [`META_TRIAL`] keeps.
    pub(super) fn trial_kept(&self) -> String {
        let kept = self.trial.as_ref().map(|trial| &trial.kept).or(self.rejected.as_ref());
        kept.and_then(|kept| serde_json::to_string(kept).ok()).unwrap_or_default()
    }

    /// When a policy is to be taken back.
    pub(super) fn trial_end(&self) -> Option<Timestamp> {
        self.trial.as_ref().and_then(|trial| trial.kept.until)
    }

    pub(super) fn confirm(&mut self, take_back: bool, told: Seat, peer: Option<u32>) -> Reply {
        let Some(trial) = &self.trial else {
            return Reply::say(
                1,
                "no policy is on trial, so there is nothing to confirm or to take back; `pillory apply FILE` tries one",
            );
        };
        if take_back {
            let file = trial.kept.new.file.display().to_string();
            return match self.take_back("by command") {
                Ok(()) => Reply::say(0, format!("taken back: the policy before that of {file} is in force")),
                Err(reason) => Reply::say(1, reason),
            };
        }
        if let Some(refusal) = not_new(peer.map_or(told, |peer| Seat::of(peer, told)), trial.since) {
            return Reply::say(1, refusal);
        }
        let new = trial.kept.new.clone();
        self.trial = None;
        self.keep_trial(None);
        self.forget_refused();
        info!(file = %new.file.display(), "the policy on trial is confirmed");
        let place = self.setup.place.path().display().to_string();
        let is_there = self.setup.place.read().is_ok_and(|there| there.text == new.text);
        let value = json!({"confirmed": new.file, "config": place,
            "text": new.text.filter(|_| !is_there)});
        Reply::data(value)
    }

    /// Takes a policy back whose time is over.
    pub(super) fn end_trial(&mut self, now: Timestamp) {
        if self.trial_end().is_none_or(|until| until > now) || self.reloading.is_some() {
            return;
        }
        if let Err(reason) = self.take_back("not confirmed in time") {
            error!(%reason, "the policy on trial cannot be taken back; trying again");
            self.warnings.insert("trial".into(), reason);
            if let Some(trial) = &mut self.trial {
                trial.kept.until = Some(now + AGAIN);
            }
        }
    }

    fn take_back(&mut self, why: &'static str) -> Result<(), String> {
        if let Some(busy) = self.reloading.as_ref().and_then(|_| self.busy()) {
            return Err(busy);
        }
        let Some(kept) = self.trial.as_ref().map(|trial| trial.kept.clone()) else { return Ok(()) };
        let built = self
            .read_policy(kept.old.clone())
            .map_err(|reason| format!("the policy before cannot be taken over again: {reason}"))?;
        warn!(file = %kept.new.file.display(), why, "the policy on trial is taken back");
        self.trial = None;
        self.warnings.remove("trial");
        let stands = self.setup.place.read().is_ok_and(|file| file.text == kept.new.text);
        match stands && kept.new.text != kept.old.text {
            true => self.reject(kept),
            false => self.keep_trial(None),
        }
        self.bring(built, super::reload::Purpose::Back, None);
        Ok(())
    }

    /// Notes that the file holds what was taken back.
    fn reject(&mut self, kept: Kept) {
        let kept = Kept { until: None, ..kept };
        self.keep_trial(Some(&kept));
        let place = self.setup.place.path().display();
        warn!(file = %place, "the file holds a policy that was not confirmed; the one before it is in force");
        let text = format!(
            "{place} holds a policy that was applied and not confirmed; the one before it is in force; change the file, or \
             `pillory apply {place}` again"
        );
        self.warnings.insert("rejected".into(), text);
        self.rejected = Some(kept);
    }

    /// Why the policy in the file may not be loaded: it was tried and not confirmed.
    pub(super) fn refused_before(&self, policy: &Policy) -> Option<String> {
        let is_it = self.rejected.as_ref().is_some_and(|kept| kept.new.text == policy.text);
        let file = policy.file.display();
        is_it.then(|| {
            format!(
                "{file} holds a policy that was not confirmed; change it, or `pillory apply {file}` it again"
            )
        })
    }

    /// Another policy than the one taken back is in force by order. What is kept goes too, though this life may know
    /// nothing of it: the time of a trial may have ended while no daemon ran, and this order overrules that one.
    pub(super) fn forget_rejected(&mut self) {
        self.rejected = None;
        self.warnings.remove("rejected");
        self.keep_trial(None);
    }

    /// True if the file holds what was taken back, for the simulator.
    #[cfg(test)]
    pub(crate) fn is_rejecting(&self) -> bool {
        self.rejected.is_some()
    }

    /// What `status` says of a trial.
    pub(super) fn trial_warning(&self) -> Option<String> {
        let Kept { new, until, .. } = &self.trial.as_ref()?.kept;
        let left = (*until)?.since(clock::now());
        Some(format!(
            "the policy of {} is on trial and taken back in {left} unless `pillory confirm` comes from a new connection",
            new.file.display()
        ))
    }
}

/// Why a seat does not show that somebody can still come in, if it does not.
fn not_new(seat: Seat, since: u64) -> Option<String> {
    let begun = match seat {
        Seat::Ssh(begun) | Seat::Local(begun) => begun,
        Seat::Left => {
            return Some(
                "not confirmed: this runs in what an ssh session left behind (tmux, screen, nohup), which says nothing of new \
                 connections; open a new ssh connection and confirm at its own prompt"
                    .to_owned(),
            );
        }
        Seat::Unknown => {
            return Some("not confirmed: where this comes from cannot be seen; confirm at the prompt of a new ssh connection".to_owned());
        }
    };
    let what = if matches!(seat, Seat::Ssh(_)) { "ssh connection" } else { "login" };
    (begun <= since).then(|| {
        format!(
            "not confirmed: this {what} is older than the policy, so it does not show that you can still come in; open a new \
             ssh connection and confirm there"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy { file: "pillory.toml".into(), text: Some(text.to_owned()) }
    }

    fn kept(until: Option<i64>) -> String {
        let until = until.map(Timestamp::from_secs);
        serde_json::to_string(&Kept { old: policy("old"), new: policy("new"), until }).unwrap()
    }

    fn found(until: Option<i64>, file: &str) -> Option<String> {
        let found = Found::new(Some(&kept(until)), &policy(file), Timestamp::from_secs(100));
        found.policy().and_then(|policy| policy.text.clone())
    }

    #[test]
    fn a_start_goes_on_with_a_trial_until_its_time_is_over() {
        for (until, file, runs) in [
            (Some(101), "new", Some("new")),
            (Some(101), "old", Some("new")),
            (Some(100), "new", Some("old")),
            (Some(100), "old", None),
            (None, "new", Some("old")),
            (Some(101), "third", None),
            (None, "third", None),
        ] {
            assert_eq!(found(until, file).as_deref(), runs, "{until:?} {file}");
        }
        assert!(Found::new(Some("garbage"), &policy("new"), Timestamp::default()).policy().is_none());
        assert!(Found::new(None, &policy("new"), Timestamp::default()).policy().is_none());
    }

    #[test]
    fn only_what_began_later_confirms() {
        for (seat, confirms) in [
            (Seat::Ssh(101), true),
            (Seat::Ssh(100), false),
            (Seat::Local(101), true),
            (Seat::Local(7), false),
            (Seat::Left, false),
            (Seat::Unknown, false),
        ] {
            assert_eq!(not_new(seat, 100).is_none(), confirms, "{seat:?}");
        }
        assert!(not_new(Seat::Ssh(u64::MAX), u64::MAX).is_some());
    }
}
