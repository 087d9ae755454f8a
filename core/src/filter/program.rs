//! Translated expressions in one engine: which one matches first, and what its groups hold.

use std::ops::Range;

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, HalfMatch, Input};
use regex_syntax::hir::Hir;

use super::direct::{Direct, Stack};
use super::failregex::{self, PatternError, PatternProblem};

/// All expressions of one key, compiled together.
///
/// One pass over the text tells which expression matches and where the match ends. What its groups hold is then
/// found with that expression alone: the engine's cost for groups grows with the size of everything that was
/// compiled together.
#[derive(Debug)]
pub(super) struct Program {
    all: DFA,
    cache: dfa::Cache,
    each: Vec<Single>,
    stack: Stack,
    slots: Vec<Option<NonMaxUsize>>,
}

/// One expression, for its groups.
#[derive(Debug)]
struct Single {
    /// Nothing if the expression holds something that only the general engine knows.
    direct: Option<Direct>,
    general: General,
    groups: Groups,
}

/// The general engine of one expression. Few lines need it, so it is built when the first one does.
#[derive(Debug)]
struct General {
    hir: Hir,
    built: Option<(BoundedBacktracker, backtrack::Cache)>,
}

/// Where a pattern keeps what it captures: indices of slots.
#[derive(Debug, Default)]
struct Groups {
    addr: Vec<usize>,
    user: Vec<usize>,
    attempts: Option<usize>,
    port: Option<usize>,
    pid: Option<usize>,
    forwarded: Option<usize>,
    content: Option<usize>,
    named: Vec<(String, usize)>,
    /// How many slots the expression fills.
    slots: usize,
}

/// What a match captured, as places in the text.
#[derive(Debug, Default)]
pub(super) struct Captured {
    /// The address.
    pub(super) addr: Option<Range<usize>>,
    /// The user.
    pub(super) user: Option<Range<usize>>,
    /// How many attempts the line stands for.
    pub(super) attempts: Option<Range<usize>>,
    /// The client's port.
    pub(super) port: Option<Range<usize>>,
    /// The process.
    pub(super) pid: Option<Range<usize>>,
    /// A real-IP or X-Forwarded-For field.
    pub(super) forwarded: Option<Range<usize>>,
    /// What the other expressions are to see.
    pub(super) content: Option<Range<usize>>,
    /// The whole match.
    pub(super) whole: Range<usize>,
}

impl Program {
    /// Compiles expressions as the language writes them.
    /// # Errors
    /// Every expression that cannot be used, by its index.
    pub(super) fn compile(expressions: &[&str]) -> Result<Program, Vec<(usize, PatternError)>> {
        let mut patterns = Vec::with_capacity(expressions.len());
        let mut problems = Vec::new();
        for (index, expression) in expressions.iter().enumerate() {
            match failregex::translate(expression) {
                Ok(translated) => patterns.push(translated.pattern),
                Err(problem) => problems.push((index, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut each = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            match single(pattern) {
                Ok(single) => each.push(single),
                Err(problem) => problems.push((index, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let too_large = |error: &dyn std::fmt::Display| vec![(0, syntax_problem(error.to_string()))];
        let hirs: Vec<&Hir> = each.iter().map(|single| &single.general.hir).collect();
        let nfa = nfa_compiler(WhichCaptures::None).build_many_from_hir(&hirs).map_err(|e| too_large(&e))?;
        let all = DFA::builder()
            .configure(DFA::config().cache_capacity(CACHE_BYTES).skip_cache_capacity_check(true))
            .build_from_nfa(nfa)
            .map_err(|e| too_large(&e))?;
        let cache = all.create_cache();
        let slots = each.iter().map(|single| single.groups.slots).max().unwrap_or(0);
        Ok(Program { all, cache, each, stack: Stack::default(), slots: vec![None; slots] })
    }

    /// The first expression that has no group for the address.
    pub(super) fn without_address(&self) -> Option<usize> {
        self.each.iter().position(|single| single.groups.addr.is_empty())
    }

    /// True if the expressions have an `F-CONTENT` group.
    pub(super) fn has_content(&self) -> bool {
        self.each.iter().all(|single| single.groups.content.is_some())
    }

    /// True if any expression matches.
    pub(super) fn is_match(&mut self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        self.first(&input).is_some()
    }

    /// The index of the first expression in the list that matches.
    pub(super) fn search(&mut self, text: &[u8]) -> Option<usize> {
        let input = Input::new(text).anchored(Anchored::Yes);
        let found = self.first(&input)?;
        let index = found.pattern().as_usize();
        let single = self.each.get_mut(index)?;
        if let Some(direct) = &single.direct
            && direct.search(&mut self.stack, text, &mut self.slots).is_ok_and(|matched| matched)
        {
            return Some(index);
        }
        single.general.search(&input.range(..found.offset()), &mut self.slots)?;
        Some(index)
    }

    /// True if no expression matches any text that begins so.
    pub(super) fn dies_behind(&mut self, head: &[u8]) -> bool {
        let input = Input::new(head).anchored(Anchored::Yes);
        let Ok(mut state) = self.all.start_state_forward(&mut self.cache, &input) else { return false };
        for byte in head {
            state = match self.all.next_state(&mut self.cache, state, *byte) {
                Ok(next) if !next.is_match() && !next.is_quit() => next,
                _ => return false,
            };
            if state.is_dead() {
                return true;
            }
        }
        false
    }

    fn first(&mut self, input: &Input<'_>) -> Option<HalfMatch> {
        // Invariant: it fails at bytes where it was told to quit, or if it was told to give up: neither was.
        self.all.try_search_fwd(&mut self.cache, input).unwrap_or(None)
    }

    /// What the last successful [`Program::search`] captured.
    pub(super) fn captured(&self, index: usize) -> Captured {
        let Some(Single { groups, .. }) = self.each.get(index) else { return Captured::default() };
        let first = |slots: &[usize]| slots.iter().find_map(|slot| self.span(*slot));
        let one = |slot: Option<usize>| self.span(slot?);
        Captured {
            addr: first(&groups.addr),
            user: first(&groups.user),
            attempts: one(groups.attempts),
            port: one(groups.port),
            pid: one(groups.pid),
            forwarded: one(groups.forwarded),
            content: one(groups.content),
            whole: self.span(0).unwrap_or_default(),
        }
    }

    /// Names and places of all groups that took part in the last successful search.
    pub(super) fn named(&self, index: usize) -> impl Iterator<Item = (&str, Range<usize>)> {
        let groups = self.each.get(index).map_or(&[][..], |single| &single.groups.named);
        groups.iter().filter_map(|(name, slot)| Some((name.as_str(), self.span(*slot)?)))
    }

    fn span(&self, slot: usize) -> Option<Range<usize>> {
        let start = (*self.slots.get(slot)?)?.get();
        let end = (*self.slots.get(slot + 1)?)?.get();
        Some(start..end)
    }
}

/// Far above what any filter needs; a hostile one must not take all memory.
const MAX_NFA_BYTES: usize = 16 << 20;
/// States of the automaton that are kept; beyond, it starts anew.
const CACHE_BYTES: usize = 1 << 20;

fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn syntax_problem(text: String) -> PatternError {
    PatternError { column: 1, problem: PatternProblem::Syntax(text) }
}

fn nfa_compiler(captures: WhichCaptures) -> thompson::Compiler {
    let limit = Some(MAX_NFA_BYTES);
    let config = thompson::Config::new().utf8(false).nfa_size_limit(limit).which_captures(captures);
    let mut compiler = NFA::compiler();
    compiler.configure(config);
    compiler
}

fn single(pattern: &str) -> Result<Single, PatternError> {
    let hir = syntax::parse_with(pattern, &syntax_config())
        .map_err(|error| syntax_problem(last_line(&error.to_string())))?;
    let nfa = nfa_compiler(WhichCaptures::All)
        .build_from_hir(&hir)
        .map_err(|error| syntax_problem(error.to_string()))?;
    let groups = groups_of(&nfa);
    Ok(Single { direct: Direct::compile(&hir), general: General { hir, built: None }, groups })
}

impl General {
    /// Fills the slots of a match that is known to be there; nothing if the engine cannot be built, which it was
    /// before, when the filter was compiled.
    fn search(&mut self, input: &Input<'_>, slots: &mut [Option<NonMaxUsize>]) -> Option<()> {
        if self.built.is_none() {
            let nfa = nfa_compiler(WhichCaptures::All).build_from_hir(&self.hir).ok()?;
            let engine = BoundedBacktracker::new_from_nfa(nfa).ok()?;
            let cache = engine.create_cache();
            self.built = Some((engine, cache));
        }
        let (engine, cache) = self.built.as_mut()?;
        if engine.try_search_slots(cache, input, slots).is_err() {
            // The text is too long for this engine; the slower one has no limit.
            let vm = PikeVM::new_from_nfa(engine.get_nfa().clone()).ok()?;
            vm.search_slots(&mut vm.create_cache(), input, slots);
        }
        Some(())
    }
}

/// The engine explains syntax errors over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned()
}

fn groups_of(nfa: &NFA) -> Groups {
    let info = nfa.group_info();
    let mut groups = Groups { slots: info.slot_len(), ..Groups::default() };
    let id = regex_automata::PatternID::ZERO;
    for (group, name) in info.pattern_names(id).enumerate() {
        let (Some(name), Some(slot)) = (name, info.slot(id, group)) else { continue };
        match name {
            "ip4" | "ip6" | "host" | "fid" => groups.addr.push(slot),
            "user" => groups.user.insert(0, slot),
            "attempts" => groups.attempts = Some(slot),
            "fport" => groups.port = Some(slot),
            "pid" => groups.pid = Some(slot),
            "realip" => groups.forwarded = Some(slot),
            "content" => groups.content = Some(slot),
            other if other.starts_with("alt_user") => groups.user.push(slot),
            _ => {}
        }
        groups.named.push((name.to_owned(), slot));
    }
    groups
}
