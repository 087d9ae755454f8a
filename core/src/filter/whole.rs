//! The automata for all expressions of a key in full: which of them may match.
//!
//! Where all of them begin with something of their own, `beginnings` tells nearly always, so these are made when a
//! text first needs them.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};
use regex_syntax::hir::{Class, Hir, HirKind};

use super::beginnings::dies_behind;
use super::regex::{Tree, lower};

/// Far above what any filter needs; a hostile one must not take all memory.
const MAX_NFA_BYTES: usize = 16 << 20;
/// More than a state takes, the builder's or the automaton's, with one range or one way on.
const STATE_BYTES: usize = 128;
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
    pub(super) fn of<'t>(trees: impl Iterator<Item = &'t Tree>) -> Option<Whole> {
        let patterns: Vec<Hir> = trees.map(|tree| lower(tree).hir).collect();
        let nfa = nfa(&patterns)?;
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

/// True if an automaton for patterns of so many [`states`] is never too large: that need not be tried.
pub(super) fn is_small(states: usize) -> bool {
    states < MAX_NFA_BYTES / STATE_BYTES
}

/// At least as many states as the automaton of a pattern has, with one for each range of a set.
pub(super) fn states(hir: &Hir) -> usize {
    let all = |parts: &[Hir]| {
        parts.iter().map(|part| states(part).saturating_add(1)).fold(1, usize::saturating_add)
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() + 1,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() + 1,
        // Lowering makes none.
        HirKind::Class(Class::Unicode(_)) => usize::MAX,
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1) as usize + 1;
            (states(&repetition.sub).saturating_add(2)).saturating_mul(times)
        }
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

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use super::super::{FilterSpec, catalog};
    use super::*;

    fn assert_that_all_are_counted(expressions: &[&str]) {
        let program = Program::compile(expressions).unwrap();
        let patterns: Vec<Hir> = program.trees().map(|tree| lower(tree).hir).collect();
        let (counted, nfa) = (patterns.iter().map(states).sum::<usize>(), nfa(&patterns).unwrap());
        // Those at the begin of all patterns and at the end of each.
        let counted = counted + patterns.len() + 8;
        assert!(
            nfa.states().len() <= counted,
            "{} are more than {counted}: {expressions:?}",
            nfa.states().len()
        );
        assert!(nfa.memory_usage() <= counted * STATE_BYTES, "{}: {expressions:?}", nfa.memory_usage());
    }

    #[test]
    fn an_automaton_has_no_more_states_than_were_counted() {
        for name in catalog::names() {
            let FilterSpec { failregex, successregex, .. } = catalog::builtin(name).unwrap();
            for expressions in [failregex, successregex].iter().filter(|all| !all.is_empty()) {
                assert_that_all_are_counted(&expressions.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
        for odd in [
            r"^a{0,64}<HOST>",
            r"^(?:a{3,64}|[^b\u0430]{2,}?)*?c(?:\d+(?:x|yy|)[^;/]{0,9}){2,7} <HOST>",
            "<HOST>",
        ] {
            assert_that_all_are_counted(&[odd]);
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_beginnings_too() {
        let all: Vec<String> =
            (0..200).map(|n| format!("^{n} (?:a{{1,64}}b{{1,64}}){{1,6}}[^x]{{1,63}} <HOST>$")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(Program::compile(&all[..2]).is_ok());
        assert!(Program::compile(&all).is_err());
    }
}
