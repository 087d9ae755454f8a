//! Translated expressions in one engine: which one matches first, and what its groups hold.

use std::net::IpAddr;
use std::ops::Range;

use regex_automata::meta::{self, Regex};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::failregex::{self, PatternError, PatternProblem};

/// All expressions of one key, compiled together.
#[derive(Debug)]
pub(super) struct Program {
    regex: Regex,
    cache: meta::Cache,
    slots: Vec<Option<NonMaxUsize>>,
    groups: Vec<Groups>,
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
        let regex = build(&patterns).map_err(|together| {
            let alone = |(index, pattern): (usize, &String)| {
                let problem = build(std::slice::from_ref(pattern)).err()?;
                Some((index, problem))
            };
            let found: Vec<_> = patterns.iter().enumerate().filter_map(alone).collect();
            // Each compiles alone, so together they are too large.
            if found.is_empty() { vec![(0, together)] } else { found }
        })?;
        let cache = regex.create_cache();
        let slots = vec![None; regex.group_info().slot_len()];
        let groups = (0..patterns.len()).map(|index| groups_of(&regex, index)).collect();
        Ok(Program { regex, cache, slots, groups })
    }

    /// True if every expression has a group for the address; else the first index that has none.
    pub(super) fn without_address(&self) -> Option<usize> {
        self.groups.iter().position(|groups| groups.addr.is_empty())
    }

    /// True if the expression has an `F-CONTENT` group.
    pub(super) fn has_content(&self) -> bool {
        self.groups.iter().all(|groups| groups.content.is_some())
    }

    /// True if any expression matches.
    pub(super) fn is_match(&mut self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        self.regex.search_half_with(&mut self.cache, &input).is_some()
    }

    /// The index of the first expression in the list that matches.
    pub(super) fn search(&mut self, text: &[u8]) -> Option<usize> {
        let input = Input::new(text).anchored(Anchored::Yes);
        self.regex.search_slots_with(&mut self.cache, &input, &mut self.slots).map(|id| id.as_usize())
    }

    /// What the last successful [`Program::search`] captured.
    pub(super) fn captured(&self, index: usize) -> Captured {
        let Some(groups) = self.groups.get(index) else { return Captured::default() };
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
            whole: self.span(index * 2).unwrap_or_default(),
        }
    }

    /// Names and places of all groups that took part in the last successful search.
    pub(super) fn named(&self, index: usize) -> impl Iterator<Item = (&str, Range<usize>)> {
        let groups = self.groups.get(index).map_or(&[][..], |groups| &groups.named);
        groups.iter().filter_map(|(name, slot)| Some((name.as_str(), self.span(*slot)?)))
    }

    fn span(&self, slot: usize) -> Option<Range<usize>> {
        let start = (*self.slots.get(slot)?)?.get();
        let end = (*self.slots.get(slot + 1)?)?.get();
        Some(start..end)
    }
}

fn build(patterns: &[String]) -> Result<Regex, PatternError> {
    Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(16 << 20)))
        .build_many(patterns)
        .map_err(|error| {
            let text = match error.syntax_error() {
                Some(syntax) => last_line(&syntax.to_string()),
                None => error.to_string(),
            };
            PatternError { column: 1, problem: PatternProblem::Syntax(text) }
        })
}

/// The engine explains syntax errors over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned()
}

fn groups_of(regex: &Regex, index: usize) -> Groups {
    let mut groups = Groups::default();
    let info = regex.group_info();
    let Ok(id) = regex_automata::PatternID::new(index) else { return groups };
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
