//! Most lines match nothing, and most of the others show soon what they are: automata for how texts begin.
//!
//! What they refuse matches nothing; what they let through is looked at by whoever is exact.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::{Anchored, Input, MatchKind, PatternSet};

use super::opening::Opening;
use super::program::Program;
use super::regex::tree::Node;
use super::regex::{Digits, Tree, head, lower_here};
use super::whole::{automaton, nfa};

/// How often a beginning may lead astray before it is proved right.
const FIRST_TRUST: i8 = 8;

/// How the expressions of one key begin: that tells of most texts which expression it is, or that it is none.
#[derive(Debug)]
pub(super) struct Beginnings {
    /// What all of them begin with; the rest is about what follows it.
    opening: Option<Opening>,
    first: (DFA, dfa::Cache),
    /// Finds all that a text begins like. Few texts need it, so it is built when the first one does.
    every: Option<(DFA, dfa::Cache)>,
    nfa: NFA,
    found: PatternSet,
    /// The bytes that none begins with, as far as they were met.
    refused: Box<[bool; 256]>,
    /// For each expression how often it was what began so, less how often it was not.
    trust: Vec<i8>,
}

/// What the beginning of a text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// No expression matches.
    Nothing,
    /// The first expression that it may be, and the only place where what all begin with may end: 0 if there is no
    /// such thing.
    First { index: usize, at: usize },
    /// It does not tell.
    Unknown,
}

impl Beginnings {
    /// Nothing if one of the expressions may begin with anything.
    pub(super) fn new(expressions: &[&Tree]) -> Option<Beginnings> {
        let behind = |opening: Opening| {
            let heads = expressions.iter().map(|tree| head::behind(tree, opening.parts())).collect();
            Beginnings::of(heads, Some(opening))
        };
        // A single expression needs no choice.
        let opening = if expressions.len() > 1 { Opening::new(expressions) } else { None };
        opening
            .and_then(behind)
            .or_else(|| Beginnings::of(expressions.iter().map(|tree| head::head(tree)).collect(), None))
    }

    fn of(heads: Vec<Node>, opening: Option<Opening>) -> Option<Beginnings> {
        if heads.is_empty() || heads.iter().any(head::is_empty) {
            return None;
        }
        let hirs: Vec<_> =
            heads.into_iter().map(|head| lower_here(&head::joined(Vec::new(), vec![head])).hir).collect();
        let nfa = nfa(&hirs)?;
        let first = automaton(&nfa, MatchKind::LeftmostFirst)?;
        let (found, trust) = (PatternSet::new(nfa.pattern_len()), vec![FIRST_TRUST; hirs.len()]);
        let refused = Box::new([false; 256]);
        Some(Beginnings { opening, first, every: None, nfa, found, refused, trust })
    }

    /// How many parts of each expression all of them begin with.
    pub(super) fn opening_parts(&self) -> Option<usize> {
        self.opening.as_ref().map(Opening::parts)
    }

    /// Which expression the text begins like.
    pub(super) fn guess(&mut self, text: &[u8]) -> Guess {
        let Some(opening) = &mut self.opening else {
            return self.first(text, 0).map_or(Guess::Nothing, |index| Guess::First { index, at: 0 });
        };
        let Some(ends) = opening.ends(text) else { return Guess::Unknown };
        let mut guess = Guess::Nothing;
        for at in ends.places() {
            match (self.first(text, *at), guess) {
                (None, _) => {}
                (Some(index), Guess::Nothing) => guess = Guess::First { index, at: *at },
                // Which place comes first is not for an automaton to say.
                (Some(_), _) => return Guess::Unknown,
            }
        }
        guess
    }

    /// The only place where what all expressions begin with can end, if one of them is to match; nothing if there are
    /// several, or none, or if that cannot be told. 0 if they begin with no such thing.
    pub(super) fn only_place(&mut self, text: &[u8]) -> Option<usize> {
        let Some(opening) = &mut self.opening else { return Some(0) };
        let ends = opening.ends(text)?;
        let goes_on = |at: &&usize| text.get(**at).is_some_and(|next| !self.refused[usize::from(*next)]);
        let mut places = ends.places().iter().filter(goes_on);
        let only = places.next().copied();
        only.filter(|_| places.next().is_none())
    }

    /// True if no text that begins so begins like any expression.
    pub(super) fn die_behind(&mut self, head: &[u8]) -> bool {
        let (dfa, cache) = &mut self.first;
        match &mut self.opening {
            None => dies_behind(dfa, cache, head),
            Some(opening) => opening.ends_within(head).is_some_and(|ends| {
                ends.places()
                    .iter()
                    .all(|at| head.get(*at..).is_some_and(|rest| dies_behind(dfa, cache, rest)))
            }),
        }
    }

    /// The first expression of which the beginning stands at this place.
    fn first(&mut self, text: &[u8], at: usize) -> Option<usize> {
        // All take at least one character.
        let next = *text.get(at)?;
        if self.refused[usize::from(next)] {
            return None;
        }
        let (dfa, cache) = &mut self.first;
        // Invariant: it fails at bytes where it was told to quit, or if it was told to give up: neither was.
        let Some(found) = dfa.try_search_fwd(cache, &input(text, at)).unwrap_or(None) else {
            let start = dfa.start_state_forward(cache, &input(text, at)).ok()?;
            self.refused[usize::from(next)] = dfa.next_state(cache, start, next).ok()?.is_dead();
            return None;
        };
        let found = found.pattern().as_usize();
        if let Some(trust) = self.trust.get_mut(found).filter(|trust| **trust >= 0) {
            *trust = trust.saturating_add(1);
        }
        Some(found)
    }

    /// False for an expression that was not it more often than it was: asking it first is no use.
    pub(super) fn is_trusted(&self, index: usize) -> bool {
        self.trust.get(index).is_some_and(|trust| *trust >= 0)
    }

    /// True if all texts that differ in their digits only begin alike.
    pub(super) fn is_blind_to_digits(&self) -> bool {
        let mut digits = Digits::default();
        digits.part(|digit| self.first.0.byte_classes().get(digit));
        digits == Digits::default()
    }

    /// True if the text begins, at `at`, like none of the expressions but these.
    pub(super) fn is_only_like(&mut self, text: &[u8], at: usize, these: impl Fn(usize) -> bool) -> bool {
        self.find_all(text, at).is_some_and(|found| found.iter().all(|id| these(id.as_usize())))
    }

    /// All that the text begins like.
    fn find_all(&mut self, text: &[u8], at: usize) -> Option<&PatternSet> {
        if self.every.is_none() {
            self.every = automaton(&self.nfa, MatchKind::All);
        }
        let (every, cache) = self.every.as_mut()?;
        self.found.clear();
        every.try_which_overlapping_matches(cache, &input(text, at), &mut self.found).ok()?;
        Some(&self.found)
    }

    /// The others behind `first`, which was not it, that the text begins like; nothing if they are more than two.
    pub(super) fn after(&mut self, first: usize, text: &[u8], at: usize) -> Option<[Option<usize>; 2]> {
        let mut others =
            self.find_all(text, at)?.iter().map(|id| id.as_usize()).filter(|index| *index > first);
        let two = [others.next(), others.next()];
        if others.next().is_none() {
            return Some(two);
        }
        if let Some(trust) = self.trust.get_mut(first) {
            // What `Beginnings::guess` added is taken back too.
            *trust = trust.saturating_sub(2);
        }
        None
    }
}

fn input(text: &[u8], at: usize) -> Input<'_> {
    Input::new(text).range(at..).anchored(Anchored::Yes)
}

/// True if nothing matches any text that begins so.
pub(super) fn dies_behind(dfa: &DFA, cache: &mut dfa::Cache, head: &[u8]) -> bool {
    let input = Input::new(head).anchored(Anchored::Yes);
    let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return false };
    for byte in head {
        state = match dfa.next_state(cache, state, *byte) {
            Ok(next) if !next.is_match() && !next.is_quit() => next,
            _ => return false,
        };
        if state.is_dead() {
            return true;
        }
    }
    false
}

/// How lines begin that a prefregex and one of the failregexes match.
#[derive(Debug)]
pub(super) struct Screen {
    dfa: DFA,
    cache: dfa::Cache,
}

impl Screen {
    /// Nothing where the prefregex does not hand all the rest of a line on, or a failregex may begin with anything.
    pub(super) fn new(prefix: &Program, rules: &Program) -> Option<Screen> {
        let (prefix, content) = prefix.only_content()?;
        let before = head::before_rest(prefix, content)?;
        let heads: Vec<_> = rules.trees().map(head::head).collect();
        if heads.iter().any(head::is_empty) {
            return None;
        }
        let nfa = nfa(&[lower_here(&head::joined(before, heads)).hir])?;
        let (dfa, cache) = automaton(&nfa, MatchKind::LeftmostFirst)?;
        Some(Screen { dfa, cache })
    }

    /// False if the prefregex does not match any text that begins so, or no failregex what it hands on.
    pub(super) fn may_begin(&mut self, head: &[u8]) -> bool {
        !dies_behind(&self.dfa, &mut self.cache, head)
    }

    /// Parts the digits that it tells apart.
    pub(super) fn part_digits(&self, digits: &mut Digits) {
        digits.part(|digit| self.dfa.byte_classes().get(digit));
    }

    /// False if the prefregex does not match this text, or no failregex what it hands on.
    pub(super) fn may_match(&mut self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        // What it cannot tell it must not refuse.
        self.dfa.try_search_fwd(&mut self.cache, &input).map_or(true, |found| found.is_some())
    }
}

#[cfg(test)]
mod tests;
