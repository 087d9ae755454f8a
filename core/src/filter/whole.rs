//! The automata for all expressions of a key in full: which of them may match.
//!
//! Where all of them begin with something of their own, `beginnings` tells nearly always, so these are made when a
//! text first needs them.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};
use regex_syntax::hir::Hir;

use super::beginnings::dies_behind;
use super::program::{automaton, nfa};

/// All expressions of one key.
#[derive(Debug)]
pub(super) struct Whole {
    /// Finds the first candidate in the list.
    all: (DFA, dfa::Cache),
    /// Finds every candidate. Few texts need it, so it is built when the first one does.
    every: Option<(DFA, dfa::Cache)>,
    nfa: NFA,
    candidates: PatternSet,
}

impl Whole {
    /// Nothing if they are too large together.
    pub(super) fn new(patterns: &[Hir]) -> Option<Whole> {
        let nfa = nfa(patterns)?;
        let all = automaton(&nfa, MatchKind::LeftmostFirst)?;
        Some(Whole { all, every: None, candidates: PatternSet::new(nfa.pattern_len()), nfa })
    }

    /// The first expression in the list that may match.
    ///
    /// `earliest`: it is enough that any may.
    pub(super) fn first(&mut self, text: &[u8], earliest: bool) -> Option<usize> {
        let (dfa, cache) = &mut self.all;
        let input = Input::new(text).anchored(Anchored::Yes).earliest(earliest);
        // Invariant: it fails at bytes where it was told to quit, or if it was told to give up: neither was.
        dfa.try_search_fwd(cache, &input).unwrap_or(None).map(|found| found.pattern().as_usize())
    }

    /// True if none matches any text that begins so.
    pub(super) fn dies_behind(&mut self, head: &[u8]) -> bool {
        dies_behind(&self.all.0, &mut self.all.1, head)
    }

    /// Looks for all expressions that may match; if that cannot be told, all.
    pub(super) fn find_candidates(&mut self, text: &[u8]) {
        if self.every.is_none() {
            self.every = automaton(&self.nfa, MatchKind::All);
        }
        self.candidates.clear();
        let input = Input::new(text).anchored(Anchored::Yes);
        let found = self
            .every
            .as_mut()
            .map(|(every, cache)| every.try_which_overlapping_matches(cache, &input, &mut self.candidates));
        if !matches!(found, Some(Ok(()))) {
            for id in self.nfa.patterns() {
                self.candidates.insert(id);
            }
        }
    }

    /// True for what [`Whole::find_candidates`] found.
    pub(super) fn is_candidate(&self, index: usize) -> bool {
        PatternID::new(index).is_ok_and(|id| self.candidates.contains(id))
    }
}
