//! A policy on trial: it is in force until its time is over, and never longer unless somebody confirmed it.

use pillory_core::time::{Span, Timestamp};

use crate::cli::configfile::Policy;
use crate::clock;
use crate::control::{Reply, Request};
use crate::seat::Seat;

use super::daemon::Daemon;
use super::orders::Setting;
use super::scenery;
use super::world::{Broken, World};

/// A policy that was applied, and may be on trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// Its number.
    new: usize,
    span: Span,
    asked: Timestamp,
    /// It is in force until then, by the daemon's time; nothing before it was answered.
    lasts: Option<Timestamp>,
    /// It is in force no longer by then; nothing before that is known.
    over: Option<Timestamp>,
    /// Whoever asked was told that a crash would lose it.
    is_volatile: bool,
}

impl World {
    pub(super) fn order_trial(&mut self) -> Result<(), Broken> {
        let Some(trial) = self.trial else { return self.order_apply() };
        let (take_back, is_new) = (self.dice.percent(30), self.dice.percent(70));
        let seat = Seat::Local(if is_new { u64::MAX } else { 0 });
        let setting = Setting::Confirmed(trial.new, take_back, is_new);
        self.ask_for(Request::Confirm { take_back, seat, peer: None }, Vec::new(), Some(setting))
    }

    fn order_apply(&mut self) -> Result<(), Broken> {
        let (new, sound) = (self.dice.below(scenery::POLICY_COUNT), self.dice.percent(85));
        let span = Span::from_secs(1 + self.dice.below(150) as u64);
        self.trial =
            Some(Trial { new, span, asked: clock::now(), lasts: None, over: None, is_volatile: false });
        let policy = Policy { file: "/simulated/new.toml".into(), text: Some(scenery::policy(new, sound)) };
        self.ask_for(Request::Apply(policy, span), Vec::new(), Some(Setting::Applied(sound)))
    }

    /// `apply` was answered.
    pub(super) fn applied(&mut self, sound: bool, reply: &Reply) -> Result<(), Broken> {
        self.note(format!("apply is answered {}: {}", reply.exit, reply.message));
        let is_on = reply.exit == 0 || is_kept(reply);
        if is_on && !sound {
            return Err("a policy that cannot be used is on trial".to_owned());
        }
        self.trial = self.trial.filter(|_| is_on).map(|trial| {
            let (lasts, over) = (Some(trial.asked + trial.span), Some(clock::now() + trial.span));
            Trial { lasts, over, is_volatile: reply.message.contains("so a crash would lose it"), ..trial }
        });
        Ok(())
    }

    /// `confirm` was answered.
    pub(super) fn confirmed(
        &mut self,
        (new, take_back, is_new): (usize, bool, bool),
        reply: &Reply,
    ) -> Result<(), Broken> {
        self.note(format!("confirm is answered {}: {}", reply.exit, reply.message));
        if is_kept(reply) {
            // Done, but the client does not write the file: it may be in force or not until a restart.
            self.trial = self.trial.map(|trial| Trial { lasts: None, over: None, ..trial });
        }
        if reply.exit != 0 {
            return Ok(());
        }
        if !take_back && !is_new {
            return Err("a policy is confirmed from a connection that is older".to_owned());
        }
        self.trial = None;
        if take_back {
            return Ok(());
        }
        self.may_forget_confirmed |= reply.message.contains("not on disk");
        // So does the client.
        self.policy = new;
        self.write_policy(true)
    }

    /// `reload` was answered, of a file that can be used.
    pub(super) fn reloaded(&mut self, new: usize, before: usize, reply: &Reply) -> Result<(), Broken> {
        if reply.exit == 0 || !reply.message.contains("holds a policy that was not confirmed") {
            return Ok(());
        }
        if !self.forgot_confirmed && !self.tried.iter().any(|(_, tried)| *tried == new) {
            return Err(format!("policy {new} is refused, and was never tried in vain"));
        }
        if self.policy != new {
            return Ok(());
        }
        // So does whoever reads the answer.
        self.policy = before;
        self.write_policy(true)
    }

    /// A start rejects what the file holds if it was tried in vain, and nobody was told since that it was taken over.
    /// Whoever runs this host is warned, and puts the policy before in the file.
    pub(super) fn hear_rejection(&mut self, daemon: &Daemon) -> Result<(), Broken> {
        if self.forgot_confirmed || !daemon.engine.is_rejecting() {
            return Ok(());
        }
        let in_force = daemon.engine.policy_text();
        let is_it = |old: usize, new: usize| {
            new == self.policy && in_force == Some(scenery::policy(old, true).as_str())
        };
        let Some((old, _)) = self.tried.iter().copied().find(|(old, new)| is_it(*old, *new)) else {
            return Err(format!(
                "policy {} is rejected, only {:?} were tried in vain: {in_force:?}",
                self.policy, self.tried
            ));
        };
        self.note(format!("policy {} is rejected, and {old} written in the file again", self.policy));
        (self.policy, self.trial) = (old, None);
        self.write_policy(true)
    }

    /// The daemon died: what was not answered may have happened.
    pub(super) fn trial_crashed(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.over = trial.over.or(Some(clock::now() + trial.span));
            let is_confirmed = |setting: &Option<Setting>| matches!(setting, Some(Setting::Confirmed(..)));
            if trial.is_volatile || self.waiting.iter().any(|waiting| is_confirmed(&waiting.setting)) {
                trial.lasts = None;
            }
        }
    }

    /// True if `apply` or `confirm` was not answered yet.
    pub(super) fn awaits_trial(&self) -> bool {
        let concerns = |setting: &Option<Setting>| {
            matches!(setting, Some(Setting::Applied(..) | Setting::Confirmed(..)))
        };
        self.waiting.iter().any(|waiting| concerns(&waiting.setting))
    }

    /// Whether a policy is on trial still may be lost with the store.
    pub(super) fn doubt_trial(&mut self) {
        self.trial = self.trial.map(|trial| Trial { lasts: None, ..trial });
    }

    /// What was not on disk is gone: a policy may come back on trial that was confirmed, and be rejected then.
    pub(super) fn trial_rebooted(&mut self) {
        self.doubt_trial();
        self.forgot_confirmed |= self.may_forget_confirmed;
    }

    /// When all has settled, the policy in force is the one that should be.
    pub(super) fn check_policy(&mut self) -> Result<(), Broken> {
        if self.forgot_confirmed {
            return Ok(());
        }
        let now = clock::now();
        let in_force = self.daemon.as_ref().and_then(|daemon| daemon.engine.policy_text());
        let is = |number| in_force == Some(scenery::policy(number, true).as_str());
        let (may_be_new, may_be_old) = match self.trial {
            None => (None, true),
            Some(trial) => {
                let is_over = trial.over.is_some_and(|over| over + Span::from_secs(1) < now);
                let lasts = trial.lasts.is_some_and(|lasts| now < lasts);
                (Some(trial.new).filter(|_| !is_over), !lasts)
            }
        };
        let is_right = (may_be_old && is(self.policy)) || may_be_new.is_some_and(is);
        if !is_right {
            return Err(format!(
                "policy {} and no other should be in force, but for {:?}: {in_force:?}",
                self.policy, self.trial
            ));
        }
        if may_be_new.is_none() {
            // That it is over may not be on disk yet.
            self.tried.extend(self.trial.take().map(|trial| (self.policy, trial.new)));
        }
        Ok(())
    }
}

/// Done, although the kernel refused something before it was answered.
fn is_kept(reply: &Reply) -> bool {
    reply.message.starts_with("kept, but the kernel refused")
}
