//! Why somebody is banned, in words; what a jail counted takes no room for its text, for there are a million bans.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Points;
use crate::time::Span;

/// See the module. What was counted and the same as text, read back from a store, are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Reason {
    /// A jail counted it.
    Counted(Counted),
    /// Anything else.
    Text(Arc<str>),
}

/// `3 failures in 10m, 5 points, a campaign`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// So many failures.
    pub tries: u32,
    /// Within so many seconds; 0 is at once.
    pub span_s: u32,
    /// Points of all of them; nothing where lines are counted.
    pub points: Option<Points>,
    /// Why they cost more than usual.
    pub why: Why,
}

/// Why a try costs more than its class says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// It does not.
    Usual,
    /// The name is on a list.
    ManyTry,
    /// The source is part of a campaign.
    Campaign,
    /// It tries one account after another.
    Accounts,
    /// It does so while many do.
    Spray,
    /// It comes back during a campaign.
    Returned,
}

impl Why {
    /// Each with its words, in the order of their numbers.
    const ALL: [(Why, &'static str); 6] = [
        (Why::Usual, ""),
        (Why::ManyTry, ", a name that many try"),
        (Why::Campaign, ", a campaign"),
        (Why::Accounts, ", several accounts"),
        (Why::Spray, ", several accounts while many try accounts"),
        (Why::Returned, ", again during a campaign"),
    ];

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one of this number.
    pub fn of(number: u8) -> Why {
        Why::ALL.get(usize::from(number)).map_or(Why::Usual, |(why, _)| *why)
    }

    fn words(self) -> &'static str {
        Why::ALL.iter().find(|(why, _)| *why == self).map_or("", |(_, words)| words)
    }
}

impl Counted {
    /// So many failures within `span`; nothing costs more than usual.
    pub fn new(tries: u32, span: Span, points: Option<Points>) -> Counted {
        let span_s = u32::try_from(span.secs()).unwrap_or(u32::MAX);
        Counted { tries, span_s, points, why: Why::Usual }
    }

    /// What these words say; nothing if they say anything else, or in another way.
    fn parse(text: &str) -> Option<Counted> {
        let (tries, rest) = text.split_once(" failure")?;
        let (span, rest) = match rest.trim_start_matches('s').split_once(',') {
            Some((span, rest)) => (span, Some(rest)),
            None => (rest.trim_start_matches('s'), None),
        };
        let span = span.strip_prefix(" in ").map_or(Some(Span::default()), |span| Span::parse(span).ok())?;
        let points =
            rest.map(|rest| rest.split_once(" point").and_then(|(points, _)| points.trim().parse().ok()));
        let points = match points {
            Some(points) => Some(Points::from_decimal(points?)?),
            None => None,
        };
        let why = Why::ALL.iter().rev().find(|(_, words)| text.ends_with(words))?.0;
        let counted = Counted { why, ..Counted::new(tries.parse().ok()?, span, points) };
        (counted.to_string() == text).then_some(counted)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tries == 1 { "failure" } else { "failures" };
        write!(f, "{} {plural} ", self.tries)?;
        match self.span_s {
            0 => f.write_str("at once")?,
            secs => write!(f, "in {}", Span::from_secs(secs.into()))?,
        }
        if let Some(points) = self.points {
            write!(f, ", {points} points")?;
        }
        f.write_str(self.why.words())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Counted(counted) => counted.fmt(f),
            Reason::Text(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Reason {
        Counted::parse(text).map_or_else(|| Reason::Text(text.into()), Reason::Counted)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        text.as_str().into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.to_string()
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, text: &&str) -> bool {
        let words = self.to_string();
        words.as_str() == *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_jail_counted_is_text_as_ever() {
        let counted = Counted::new(1, Span::from_millis(900), Some(Points(500)));
        assert_eq!(counted.to_string(), "1 failure at once, 5 points");
        let counted =
            Counted { why: Why::Spray, ..Counted::new(3, Span::from_secs(3_660), Some(Points(550))) };
        assert_eq!(
            counted.to_string(),
            "3 failures in 1h1m, 5.5 points, several accounts while many try accounts"
        );
        assert_eq!(Counted::new(6, Span::from_secs(600), None).to_string(), "6 failures in 10m");
    }

    #[test]
    fn the_numbers_of_reasons_are_their_places() {
        assert!(
            (0..).zip(Why::ALL).all(|(number, (why, _))| why.number() == number && Why::of(number) == why)
        );
    }

    proptest! {
        #[test]
        fn what_was_counted_is_read_back_from_its_text(
            tries in 0u32..9_999, secs in 0u64..4_000_000, points in prop::option::of(0u32..99_999), why in 0u8..6,
        ) {
            let counted = Counted::new(tries, Span::from_secs(secs), points.map(Points));
            // Without points nothing costs more.
            let why = if points.is_some() { Why::of(why) } else { Why::Usual };
            let counted = Counted { why, ..counted };
            prop_assert_eq!(Reason::from(counted.to_string()), Reason::Counted(counted));
        }

        #[test]
        fn any_text_stays_as_it_is(
            text in "([0-9]{1,3}|x) failures?( in [0-9a-z]{1,5}| at once)?(, [0-9.]{1,4} points?)?(, a campaign)?.{0,3}",
        ) {
            prop_assert_eq!(Reason::from(text.as_str()).to_string(), text);
        }
    }
}
