//! What all expressions of a filter begin with, `host program[pid]: `, read once for all of them.
//!
//! An automaton tells where it may end. Most lines of a log begin alike, so it goes on from where it was behind the
//! beginning of the line before.

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::{Anchored, Input, MatchKind};

use super::regex::{Tree, head, lower};
use super::whole::{automaton, nfa};

/// At how many places an opening may end: all of it, none of it if it is optional, and few others.
const MOST_ENDS: usize = 4;

/// What follows the number of a process.
const NUMBER_END: &[u8] = b"]: ";

/// What is remembered of a line's beginning: a host and a program are shorter.
const MAX_KNOWN: usize = 80;

/// What all expressions begin with.
#[derive(Debug)]
pub(super) struct Opening {
    dfa: DFA,
    cache: dfa::Cache,
    known: Known,
    parts: usize,
}

/// The beginning of a text that was seen, and where reading it led.
#[derive(Debug, Default)]
struct Known {
    head: Vec<u8>,
    state: LazyStateID,
    /// Where reading goes on behind `4711]: `, if every number leads there; nothing until another text begins so.
    behind_number: Option<Option<LazyStateID>>,
    ends: Ends,
    /// States are numbered anew when the cache is cleared.
    clears: usize,
}

/// Where an opening may end, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    at: [usize; MOST_ENDS],
    count: usize,
}

impl Ends {
    /// The places.
    pub(super) fn places(&self) -> &[usize] {
        &self.at[..self.count]
    }

    fn push(&mut self, at: usize) -> Option<()> {
        *self.at.get_mut(self.count)? = at;
        self.count += 1;
        Some(())
    }
}

impl Opening {
    /// Nothing if they begin with nothing in common, or with something that an automaton cannot read exactly.
    pub(super) fn new(expressions: &[&Tree]) -> Option<Opening> {
        let parts = head::shared(expressions);
        let lowered = lower(&head::opening(expressions.first()?, parts).filter(|_| parts > 0)?);
        let nfa = nfa(&[lowered.hir]).filter(|_| lowered.exact)?;
        let (dfa, cache) = automaton(&nfa, MatchKind::All)?;
        Some(Opening { dfa, cache, known: Known::default(), parts })
    }

    /// How many parts of each expression it is.
    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// Where it may end in this text; nothing if that cannot be told.
    pub(super) fn ends(&mut self, text: &[u8]) -> Option<Ends> {
        let known = &self.known;
        let is_known = !known.head.is_empty()
            && known.clears == self.cache.clear_count()
            && text.starts_with(&known.head);
        if is_known && known.behind_number.is_none() {
            self.known.behind_number = Some(self.behind_number(known.state));
        }
        let known = &self.known;
        // Looking behind numbers may have cleared it.
        if is_known && known.clears == self.cache.clear_count() {
            let (from, state) = known.behind_number(text).unwrap_or((known.head.len(), known.state));
            return self.read(text, from, state, known.ends);
        }
        let input = Input::new(text).anchored(Anchored::Yes);
        let state = self.dfa.start_state_forward(&mut self.cache, &input).ok()?;
        self.read(text, 0, state, Ends::default())
    }

    /// Where it may end in any text that begins so; nothing if what follows may tell.
    pub(super) fn ends_within(&mut self, head: &[u8]) -> Option<Ends> {
        let input = Input::new(head).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(&mut self.cache, &input).ok()?;
        let mut ends = Ends::default();
        for (at, byte) in head.iter().enumerate() {
            state = self.dfa.next_state(&mut self.cache, state, *byte).ok()?;
            if state.is_dead() {
                return Some(ends);
            }
            if state.is_quit() || !byte.is_ascii() {
                return None;
            }
            if state.is_match() {
                ends.push(at)?;
            }
        }
        None
    }

    fn read(&mut self, text: &[u8], from: usize, mut state: LazyStateID, mut ends: Ends) -> Option<Ends> {
        let learns = from == 0;
        for (at, byte) in text.iter().enumerate().skip(from) {
            // What is exact for ASCII only must not be asked of anything else.
            if !byte.is_ascii() {
                return None;
            }
            state = self.dfa.next_state(&mut self.cache, state, *byte).ok()?;
            if state.is_tagged() {
                if state.is_dead() {
                    return Some(ends);
                }
                if state.is_quit() {
                    return None;
                }
                if state.is_match() {
                    // It says so one byte late.
                    ends.push(at)?;
                }
            }
            if learns && matches!(byte, b'[' | b':') && at < MAX_KNOWN {
                self.learn(&text[..=at], state, ends);
            }
        }
        state = self.dfa.next_eoi_state(&mut self.cache, state).ok()?;
        if state.is_match() {
            ends.push(text.len())?;
        }
        Some(ends)
    }

    fn learn(&mut self, head: &[u8], state: LazyStateID, ends: Ends) {
        // One sign is enough, and what stands between them changes from line to line.
        let known = &self.known.head;
        if !known.is_empty() && head.len() > known.len() && head.starts_with(known) {
            return;
        }
        self.known.head.clear();
        self.known.head.extend_from_slice(head);
        (self.known.state, self.known.ends) = (state, ends);
        self.known.clears = self.cache.clear_count();
        self.known.behind_number = None;
    }

    /// The state behind `4711]: `; nothing if numbers lead to several, or if the opening may end on the way.
    fn behind_number(&mut self, state: LazyStateID) -> Option<LazyStateID> {
        let clears = self.cache.clear_count();
        let (dfa, cache) = (&self.dfa, &mut self.cache);
        let mut step = |state, byte| dfa.next_state(cache, state, byte).ok().filter(|next| !next.is_tagged());
        let number = step(state, b'0')?;
        let is_number = |digit| step(state, digit) == Some(number) && step(number, digit) == Some(number);
        if !(b'0'..=b'9').all(is_number) {
            return None;
        }
        let behind = NUMBER_END.iter().try_fold(number, |state, byte| step(state, *byte))?;
        (self.cache.clear_count() == clears).then_some(behind)
    }
}

impl Known {
    /// Where a text goes on behind its number, and the state there.
    fn behind_number(&self, text: &[u8]) -> Option<(usize, LazyStateID)> {
        let state = self.behind_number??;
        let rest = text.get(self.head.len()..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_number = digits > 0 && rest[digits..].starts_with(NUMBER_END);
        is_number.then_some((self.head.len() + digits + NUMBER_END.len(), state))
    }
}
