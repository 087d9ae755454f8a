//! Translated expressions in one engine: which one matches first, and what its groups hold.

use std::net::IpAddr;
use std::ops::Range;

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::direct::{Direct, Stack};
use super::failregex::{self, PatternError, PatternProblem};

/// All expressions of one key, compiled together.
///
/// One pass over the text tells which expression matches and where the match ends. What its groups hold is then
/// found with that expression alone: the engine's cost for groups grows with the size of everything that was
/// compiled together.
#[derive(Debug)]
pub(super) struct Program {
    all: Regex,
    cache: meta::Cache,
    each: Vec<Single>,
    stack: Stack,
    steps: backtrack::Cache,
    slots: Vec<Option<NonMaxUsize>>,
}

/// One expression, for its groups.
#[derive(Debug)]
struct Single {
    /// Nothing if the expression holds something that only the general engine knows.
    direct: Option<Direct>,
    engine: BoundedBacktracker,
    groups: Groups,
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
        let all = Regex::builder()
            .syntax(syntax_config())
            .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(MAX_NFA_BYTES)))
            .build_many(&patterns)
            .map_err(|error| vec![(0, syntax_problem(error.to_string()))])?;
        let cache = all.create_cache();
        let slots =
            each.iter().map(|single| single.engine.get_nfa().group_info().slot_len()).max().unwrap_or(0);
        // Every use resets it for the engine in question.
        let steps = match each.first() {
            Some(single) => single.engine.create_cache(),
            None => return Err(vec![(0, syntax_problem("there is no expression".to_owned()))]),
        };
        Ok(Program { all, cache, each, stack: Stack::default(), steps, slots: vec![None; slots] })
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
        self.all.search_half_with(&mut self.cache, &input).is_some()
    }

    /// The index of the first expression in the list that matches.
    pub(super) fn search(&mut self, text: &[u8]) -> Option<usize> {
        let input = Input::new(text).anchored(Anchored::Yes);
        let found = self.all.search_half_with(&mut self.cache, &input)?;
        let index = found.pattern().as_usize();
        let single = self.each.get(index)?;
        if let Some(direct) = &single.direct
            && direct.search(&mut self.stack, text, &mut self.slots).is_ok_and(|matched| matched)
        {
            return Some(index);
        }
        let engine = &single.engine;
        let input = input.range(..found.offset());
        self.steps.reset(engine);
        if engine.try_search_slots(&mut self.steps, &input, &mut self.slots).is_err() {
            // The text is too long for this engine; the slower one has no limit.
            let vm = PikeVM::new_from_nfa(engine.get_nfa().clone()).ok()?;
            vm.search_slots(&mut vm.create_cache(), &input, &mut self.slots);
        }
        Some(index)
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

fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn syntax_problem(text: String) -> PatternError {
    PatternError { column: 1, problem: PatternProblem::Syntax(text) }
}

fn single(pattern: &str) -> Result<Single, PatternError> {
    let hir = syntax::parse_with(pattern, &syntax_config())
        .map_err(|error| syntax_problem(last_line(&error.to_string())))?;
    let nfa = NFA::compiler()
        .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_NFA_BYTES)))
        .build_from_hir(&hir)
        .map_err(|error| syntax_problem(error.to_string()))?;
    let groups = groups_of(&nfa);
    let engine = BoundedBacktracker::new_from_nfa(nfa).map_err(|error| syntax_problem(error.to_string()))?;
    Ok(Single { direct: Direct::compile(&hir), engine, groups })
}

/// The engine explains syntax errors over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned()
}

fn groups_of(nfa: &NFA) -> Groups {
    let mut groups = Groups::default();
    let info = nfa.group_info();
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

/// The address in a captured piece of text; nothing if it is none, or only part of a longer word.
///
/// `whole_end`: where the match ends. Names are never resolved.
pub(super) fn address(text: &[u8], place: &Range<usize>, whole_end: usize) -> Option<IpAddr> {
    let shown = text.get(place.clone())?;
    let bare = shown.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(shown);
    let is_v6 = memchr::memchr(b':', bare).is_some();
    let before = place.start.checked_sub(1).and_then(|at| text.get(at));
    if before.is_some_and(|b| b.is_ascii_digit() || (is_v6 && b.is_ascii_alphabetic())) {
        return None;
    }
    let after = text.get(place.end..).unwrap_or(&[]);
    let follows = |at: usize| after.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let goes_on = match after.first() {
        Some(b) if b.is_ascii_alphanumeric() => true,
        Some(b'%' | b'_') => true,
        Some(b'.' | b'-') => follows(1),
        // A length behind the address is a network, unless the expression says that it stands there.
        Some(b'/') => follows(1) && place.end == whole_end,
        _ => false,
    };
    if goes_on {
        return None;
    }
    std::str::from_utf8(bare).ok()?.parse::<IpAddr>().ok().map(crate::net::canonical)
}

/// The addresses of an X-Forwarded-For field, the last of the field first, up to the first that is none.
pub(super) fn forwarded(field: &[u8]) -> Vec<IpAddr> {
    /// More proxies in a row than anybody has.
    const MOST: usize = 16;
    let one = |part: &[u8]| -> Option<IpAddr> {
        let part = std::str::from_utf8(part.trim_ascii()).ok()?;
        let addr = part.parse::<IpAddr>().ok();
        let addr = addr.or_else(|| part.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
        let bracketed = || part.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        addr.or_else(|| bracketed()?.parse().ok()).map(crate::net::canonical)
    };
    field.rsplit(|b| *b == b',').map_while(one).take(MOST).collect()
}
