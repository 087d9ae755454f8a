//! Who hears what the engine says of itself, and which names they are told: the owner, who asks for the status, hears all;
//! where others look on, at the dashboard and at `top`, no account is named unless everybody guesses at it.

use pillory_core::event::UserName;
use pillory_core::jail::Soon;

use crate::control::glance::HIDDEN;

use super::Engine;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Who has the daemon's rights.
    Owner,
    /// Whoever sees a screen.
    Onlookers,
}

/// How the key of a warning begins that names who got in, with the jail and the name behind it.
pub(super) const GOT_IN: &str = "got in ";

impl Engine {
    /// These names, with [`HIDDEN`] behind them in the place of those that are not told.
    pub(super) fn names_for(&self, to: Audience, names: &[UserName]) -> Vec<UserName> {
        let is_told = |name: &&UserName| to == Audience::Owner || self.machine.judge.names.may_leave(name);
        let mut told: Vec<UserName> = names.iter().filter(is_told).cloned().collect();
        if told.len() < names.len() {
            told.push(HIDDEN.into());
        }
        told
    }

    /// Who is soon banned, with the name only if it is told.
    pub(super) fn soon_for(&self, to: Audience, soon: &Soon) -> Soon {
        match to {
            Audience::Owner => soon.clone(),
            Audience::Onlookers => {
                let user = soon.user.clone().filter(|user| self.machine.judge.names.may_leave(user));
                Soon { user, ..soon.clone() }
            }
        }
    }

    /// Commands that do not work. What they printed may be anything.
    pub(super) fn command_troubles(&self, to: Audience) -> Vec<String> {
        let troubles = self.hooks.troubles();
        match to {
            Audience::Onlookers if !troubles.is_empty() => {
                vec!["commands of a jail do not work; `pillory status` says which".to_owned()]
            }
            _ => troubles,
        }
    }

    /// The warnings that stand until something ends them.
    pub(super) fn standing_warnings(&self, to: Audience) -> Vec<String> {
        let told = |(key, text): (&String, &String)| {
            let named = key.strip_prefix(GOT_IN).and_then(|named| named.split_once(' '));
            match named.filter(|(_, user)| self.names_for(to, &[(*user).into()]) == [HIDDEN]) {
                None => text.clone(),
                Some((jail, _)) => format!(
                    "jail {jail}: somebody logged in from where nobody did before, to an account that is guessed at; `pillory status` tells who"
                ),
            }
        };
        self.warnings.iter().map(told).collect()
    }
}
