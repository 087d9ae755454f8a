//! Bans as the ledger keeps them: 72 bytes each, where a [`Ban`] with its texts takes three times as many.
//!
//! Names of jails are numbers, and so are most reasons; a ban is put together again whenever somebody asks.

use std::sync::Arc;

use crate::event::{JailName, Origin, Points, Scope};
use crate::net::Prefix;
use crate::reason::{Counted, Reason, Why};
use crate::table::slab::Slab;
use crate::time::{End, Timestamp};

use super::{Ban, Worth};

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
pub(super) struct Kept {
    pub(super) prefix: Prefix,
    origin: u8,
    pub(super) forced: bool,
    /// The number of its jail; [`NONE`] where there is no ban.
    pub(super) jail: u32,
    scope: u32,
    since: Timestamp,
    until: Until,
    failures: u32,
    reason: Words,
    /// Where it stands among those that end.
    pub(super) at: u32,
    /// The next ban of the same prefix.
    pub(super) next: u32,
}

/// An end in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub(super) struct Until(Timestamp);

/// A reason in few bytes.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
struct Words {
    /// Of [`Counted`]; else the number of the text.
    tries: u32,
    span_s: u32,
    points: u32,
    why: u8,
}

/// [`Words::why`] of a text.
const TEXT: u8 = u8::MAX;

/// Stands for no end.
const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);
const ALL: u32 = u32::MAX;
const NOTHING: u32 = u32::MAX - 1;

/// What numbers in bans stand for.
#[derive(Debug, Default)]
pub(super) struct Texts {
    jails: Vec<JailName>,
    texts: Slab<Option<Arc<str>>>,
}

impl Texts {
    /// The number of a jail, if a ban ever named it.
    pub(super) fn jail(&self, jail: &JailName) -> Option<u32> {
        (0..).zip(&self.jails).find(|(_, known)| *known == jail).map(|(number, _)| number)
    }

    fn number(&mut self, jail: &JailName) -> u32 {
        self.jail(jail).unwrap_or_else(|| {
            self.jails.push(jail.clone());
            (self.jails.len() - 1) as u32
        })
    }

    /// Packs a ban that belongs to no list yet.
    pub(super) fn pack(&mut self, ban: &Ban) -> Kept {
        let reason = match &ban.reason {
            Reason::Counted(Counted { tries, span_s, points, why }) => {
                let points = points.map_or(NONE, |points| points.0);
                Words { tries: *tries, span_s: *span_s, points, why: why.number() }
            }
            Reason::Text(text) => {
                let tries = self.texts.add(Some(Arc::clone(text)));
                Words { tries, span_s: 0, points: 0, why: TEXT }
            }
        };
        Kept {
            prefix: ban.prefix,
            origin: ban.origin as u8,
            forced: ban.forced,
            jail: self.number(&ban.jail),
            scope: match &ban.scope {
                Scope::All => ALL,
                Scope::Nothing => NOTHING,
                Scope::Ports(jail) => self.number(jail),
            },
            since: ban.since,
            until: ban.until.into(),
            failures: ban.failures,
            reason,
            at: NONE,
            next: NONE,
        }
    }

    /// The ban that was packed.
    pub(super) fn unpack(&self, kept: &Kept) -> Ban {
        // Invariant: numbers come from `number`.
        let jail = |number: u32| self.jails[number as usize].clone();
        Ban {
            prefix: kept.prefix,
            jail: jail(kept.jail),
            since: kept.since,
            until: kept.until(),
            failures: kept.failures,
            reason: self.reason(kept.reason),
            origin: kept.origin(),
            scope: match kept.scope {
                ALL => Scope::All,
                NOTHING => Scope::Nothing,
                number => Scope::Ports(jail(number)),
            },
            forced: kept.forced,
        }
    }

    fn reason(&self, words: Words) -> Reason {
        if words.why == TEXT {
            let text = self.texts.of(words.tries).clone();
            return Reason::Text(text.unwrap_or_else(|| Arc::from("")));
        }
        let Words { tries, span_s, points, why } = words;
        let points = (points != NONE).then_some(Points(points));
        Reason::Counted(Counted { tries, span_s, points, why: Why::of(why) })
    }

    /// Lets go what a ban that is gone had.
    pub(super) fn forget(&mut self, kept: &Kept) {
        let words = kept.reason;
        if words.why == TEXT {
            *self.texts.of_mut(words.tries) = None;
            self.texts.remove(words.tries);
        }
    }
}

impl From<End> for Until {
    fn from(end: End) -> Until {
        Until(end.timestamp().unwrap_or(FOREVER))
    }
}

impl From<Until> for End {
    fn from(until: Until) -> End {
        End::from_option(Some(until.0).filter(|at| *at != FOREVER))
    }
}

impl Kept {
    pub(super) fn until(&self) -> End {
        self.until.into()
    }

    pub(super) fn worth(&self) -> Worth {
        Worth::of(self.origin(), self.forced)
    }

    fn origin(&self) -> Origin {
        Origin::ALL.get(usize::from(self.origin)).map_or(Origin::Local, |(origin, _)| *origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_takes_little_room_and_is_what_it_was() {
        assert_eq!(size_of::<Kept>(), 72);
        assert!((0..).zip(Origin::ALL).all(|(number, (origin, _))| origin as u8 == number));
        let jail = JailName::new("sshd").unwrap();
        let mut texts = Texts::default();
        for reason in ["3 failures in 10m, 5.5 points, a campaign", "6 failures at once", "on a list"] {
            for (scope, until) in [
                (Scope::All, End::Never),
                (Scope::Nothing, End::At(Timestamp::from_secs(7))),
                (Scope::Ports(JailName::new("web").unwrap()), End::At(Timestamp::from_secs(-7))),
            ] {
                let ban = Ban {
                    prefix: "2001:db8::/64".parse().unwrap(),
                    jail: jail.clone(),
                    since: Timestamp::from_millis(123_456),
                    until,
                    failures: 3,
                    reason: reason.into(),
                    origin: Origin::Import,
                    scope,
                    forced: true,
                };
                let kept = texts.pack(&ban);
                assert_eq!(texts.unpack(&kept), ban);
                texts.forget(&kept);
            }
        }
        assert_eq!(texts.texts.len(), 0);
    }
}
