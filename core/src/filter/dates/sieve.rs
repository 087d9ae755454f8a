//! One pass over a line that tells which templates are in it at all, so that a line without a date costs one search
//! and not one for each template.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use super::order::Templates;
use super::template::{Search, Template};

/// Bytes for the states of the search; those in use are kept, others made again.
const CACHE_BYTES: usize = 4 << 20;

/// The search for all expressions at once.
#[derive(Debug, Clone)]
pub(super) struct Sieve {
    dfa: DFA,
    cache: Cache,
    found: PatternSet,
    /// The template of each expression.
    templates: Vec<usize>,
}

impl Sieve {
    /// Nothing if there is too little to gain, or too much to build.
    pub(super) fn new(templates: &[Template]) -> Option<Sieve> {
        let mut sources = Vec::new();
        for (index, template) in templates.iter().enumerate() {
            if let Search::Expression(expression) = &template.search {
                let (text, config) = expression.source();
                sources.push((index, syntax::parse_with(text, &config).ok()?));
            }
        }
        if sources.len() < 3 {
            return None;
        }
        let (indices, trees): (Vec<usize>, Vec<_>) = sources.into_iter().unzip();
        let config = thompson::Config::new().utf8(false).which_captures(thompson::WhichCaptures::None);
        let nfa: NFA = NFA::compiler().configure(config).build_many_from_hir(&trees).ok()?;
        let config = DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE_BYTES);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let (cache, found) = (dfa.create_cache(), PatternSet::new(dfa.pattern_len()));
        Some(Sieve { dfa, cache, found, templates: indices })
    }

    /// Which templates may be in a text.
    pub(super) fn candidates(&mut self, bytes: &[u8]) -> Templates {
        self.found.clear();
        let input = Input::new(bytes).anchored(Anchored::No);
        if self.dfa.try_which_overlapping_matches(&mut self.cache, &input, &mut self.found).is_err() {
            return Templates::ALL;
        }
        let mut all = Templates::ALL;
        for (pattern, template) in self.templates.iter().enumerate() {
            let is_there = PatternID::new(pattern).is_ok_and(|pattern| self.found.contains(pattern));
            if !is_there {
                all.remove(*template);
            }
        }
        all
    }
}
