//! One pass over a line that tells which templates are in it at all, so that a line without a date costs one search
//! and not one for each template.

use std::sync::{Arc, OnceLock};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use super::order::Templates;
use super::template::{Search, Template};

/// Bytes for the states of the search; those in use are kept, others made again.
const CACHE_BYTES: usize = 4 << 20;

/// The search for all expressions at once. Clones share what is compiled.
#[derive(Debug, Clone, Default)]
pub(super) struct Sieve {
    /// Made when the first line is searched; nothing if there is too little to gain, or too much to build.
    made: Arc<OnceLock<Option<Made>>>,
    scratch: Option<(Cache, PatternSet)>,
}

#[derive(Debug)]
struct Made {
    dfa: DFA,
    /// The template of each expression.
    templates: Vec<usize>,
}

impl Sieve {
    /// Which of the templates may be in a text. They must be the same at every call.
    pub(super) fn candidates(&mut self, templates: &[Template], bytes: &[u8]) -> Templates {
        let Some(made) = self.made.get_or_init(|| Made::new(templates)) else { return Templates::ALL };
        let (cache, found) = self
            .scratch
            .get_or_insert_with(|| (made.dfa.create_cache(), PatternSet::new(made.dfa.pattern_len())));
        found.clear();
        let input = Input::new(bytes).anchored(Anchored::No);
        if made.dfa.try_which_overlapping_matches(cache, &input, found).is_err() {
            return Templates::ALL;
        }
        let mut all = Templates::ALL;
        for (pattern, template) in made.templates.iter().enumerate() {
            let is_there = PatternID::new(pattern).is_ok_and(|pattern| found.contains(pattern));
            if !is_there {
                all.remove(*template);
            }
        }
        all
    }

    /// One that lets everything through.
    #[cfg(test)]
    pub(super) fn none() -> Sieve {
        Sieve { made: Arc::new(OnceLock::from(None)), scratch: None }
    }
}

impl Made {
    fn new(templates: &[Template]) -> Option<Made> {
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
        Some(Made { dfa, templates: indices })
    }
}
