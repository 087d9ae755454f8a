//! The automata for all expressions of a key in full: which of them may match.
//!
//! Where all of them begin with something of their own, `beginnings` tells nearly always, so these are made when a
//! text first needs them.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};
use regex_syntax::hir::Hir;

use super::beginnings::dies_behind;

/// Far above what any filter needs; a hostile one must not take all memory.
const MAX_NFA_BYTES: usize = 16 << 20;
/// States of the automaton that are kept; beyond, it starts anew.
const CACHE_BYTES: usize = 1 << 20;

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

/// The patterns as one.
pub(super) fn nfa(patterns: &[Hir]) -> Option<NFA> {
    let config = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_NFA_BYTES))
        .which_captures(WhichCaptures::None);
    NFA::compiler().configure(config).build_many_from_hir(patterns).ok()
}

pub(super) fn automaton(nfa: &NFA, kind: MatchKind) -> Option<(DFA, dfa::Cache)> {
    let config = DFA::config().match_kind(kind).cache_capacity(CACHE_BYTES).skip_cache_capacity_check(true);
    let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
    let cache = dfa.create_cache();
    Some((dfa, cache))
}
