//! All expressions of a filter in one engine: which one matches first, and what its groups hold.
//!
//! One pass of an automaton tells which expression may match, of all at once. What it cannot say exactly it holds
//! to be possible, so the first candidate is confirmed by the exact [`Matcher`], which finds the groups too. If that
//! refuses, a second automaton tells all candidates, and the others are asked in their order.
//! Nearly always [`Beginnings`] tells sooner: what all expressions begin with is read once, and what follows it chooses.

use std::ops::Range;

use super::beginnings::{Beginnings, Guess};
use super::regex::{
    self, Digits, Found, HostNames, Matcher, Options, RegexError, RegexProblem, Scratch, Shared, Tree,
    expand, lower,
};
use super::shapes::{Answer, Shapes};
use super::whole::{Whole, is_small, states};
use super::word::Word;

/// How expressions are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// What `<HOST>` is.
    pub(super) names: HostNames,
    /// `^` and `$` also stand at the lines within the text.
    pub(super) multiline: bool,
}

impl Default for Settings {
    /// One line, addresses only: for filters of our own, where names are never resolved.
    fn default() -> Settings {
        Settings { names: HostNames::Own, multiline: false }
    }
}

/// All expressions of one key, compiled together.
#[derive(Debug)]
pub(super) struct Program {
    /// Finds the first of which the text has the beginning; nothing if one may begin with anything.
    beginnings: Option<Beginnings>,
    /// Finds the candidates in the list. Where there are beginnings few texts need it, so it is built when the first
    /// one does.
    whole: Option<Box<Whole>>,
    /// What came of texts that are alike; nothing if no expression is blind to digits.
    shapes: Option<Box<Shapes>>,
    each: Vec<Single>,
    scratch: Scratch,
    limits: u64,
}

/// One expression.
#[derive(Debug)]
struct Single {
    matcher: Matcher,
    groups: Groups,
    word: Word,
    /// It tells no digits apart.
    is_blind: bool,
}

/// Where a pattern keeps what it captures: numbers of groups.
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
    /// Compiles expressions as the language writes them, with the settings of a filter of our own.
    /// # Errors
    /// Every expression that cannot be used, by its index.
    pub(super) fn compile(expressions: &[&str]) -> Result<Program, Vec<(usize, RegexError)>> {
        Program::compile_with(expressions, Settings::default())
    }

    /// Compiles expressions as the language writes them.
    /// # Errors
    /// Every expression that cannot be used, by its index.
    pub(super) fn compile_with(
        expressions: &[&str],
        settings: Settings,
    ) -> Result<Program, Vec<(usize, RegexError)>> {
        let mut each = Vec::with_capacity(expressions.len());
        let (mut problems, mut shared, mut size) = (Vec::new(), Shared::default(), 0usize);
        for (index, expression) in expressions.iter().enumerate() {
            match single(expression, settings, &mut shared) {
                Ok(single) => {
                    size = size.saturating_add(states(&lower(single.matcher.tree()).hir));
                    each.push(single);
                }
                Err(problem) => problems.push((index, problem)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let too_large = || {
            let problem = RegexProblem::Size("all expressions together take too much memory");
            vec![(0, RegexError { column: 1, problem })]
        };
        let trees: Vec<&Tree> = each.iter().map(|single| single.matcher.tree()).collect();
        let beginnings = Beginnings::new(&trees);
        // Where there are beginnings it is not needed yet, but what is too large is said now.
        let whole = match beginnings.is_some() && is_small(size) {
            true => None,
            false => Some(Whole::of(trees.iter().copied()).ok_or_else(too_large)?),
        };
        let parts = beginnings.as_ref().and_then(Beginnings::opening_parts).unwrap_or(0);
        let words = Word::choose(&trees, parts);
        each.iter_mut().zip(words).for_each(|(single, word)| single.word = word);
        if parts > 0 && !each.iter_mut().all(|single| single.matcher.begin_behind(parts)) {
            return Err(too_large());
        }
        each.iter_mut().for_each(|single| single.is_blind = single.matcher.is_blind_to_digits());
        // Where an expression is not, a text must show that it does not begin like that one.
        let is_blind = each.iter().all(|single| single.is_blind)
            || each.iter().any(|single| single.is_blind)
                && beginnings.as_ref().is_some_and(Beginnings::is_blind_to_digits);
        Ok(Program {
            shapes: (is_blind && each.len() > 1).then(Default::default),
            whole: whole.filter(|_| beginnings.is_none()).map(Box::new),
            beginnings,
            each,
            scratch: Scratch::default(),
            limits: 0,
        })
    }

    /// The expressions that have no group for the address.
    pub(super) fn without_address(&self) -> impl Iterator<Item = usize> {
        self.each.iter().enumerate().filter(|(_, single)| single.groups.addr.is_empty()).map(|(at, _)| at)
    }

    /// True if the expressions have an `F-CONTENT` group.
    pub(super) fn has_content(&self) -> bool {
        self.each.iter().all(|single| single.groups.content.is_some())
    }

    /// Its only expression and the number of the group for `F-CONTENT`; nothing if there are several, or no such group.
    pub(super) fn only_content(&self) -> Option<(&Tree, u32)> {
        let [Single { matcher, groups, .. }] = self.each.as_slice() else { return None };
        Some((matcher.tree(), u32::try_from(groups.content?).ok()?))
    }

    /// The expressions in their order.
    pub(super) fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.each.iter().map(|single| single.matcher.tree())
    }

    /// [`Program::search`] of a text that a [`super::beginnings::Screen`] has let through: the automaton tells no more.
    pub(super) fn search_screened(&mut self, text: &[u8]) -> Option<usize> {
        if self.each.len() > 1 {
            return self.search(text);
        }
        self.confirm(0, text).then_some(0)
    }

    /// Searches a text with the only expression and tells how many of its bytes it looked at before its `F-CONTENT`
    /// began; nothing if it does not match, or if there are several, or no such group.
    pub(super) fn search_noting(&mut self, text: &[u8]) -> Option<usize> {
        let [Single { matcher, groups, .. }] = self.each.as_slice() else { return None };
        matcher.search_noting(&mut self.scratch, text, groups.content?)
    }

    /// Where all groups of the last match stand, for [`Program::recall`].
    pub(super) fn slots(&self) -> &[usize] {
        self.scratch.slots()
    }

    /// Makes a match that is known the last one; it and its `F-CONTENT` end at `end`.
    pub(super) fn recall(&mut self, slots: &[usize], end: usize) {
        let content = self.each.first().and_then(|single| single.groups.content);
        self.scratch.recall(slots, [Some(0), content].into_iter().flatten(), end);
    }

    /// Where `F-CONTENT` stands in the last match.
    pub(super) fn content(&self, index: usize) -> Option<Range<usize>> {
        self.scratch.group(self.each.get(index)?.groups.content?)
    }

    /// Parts the digits that the expressions tell apart; false if one may tell apart all.
    pub(super) fn part_digits(&self, digits: &mut Digits) -> bool {
        self.each.iter().all(|single| single.matcher.part_digits(digits))
    }

    /// True if what came of a text is kept for those of its shape.
    #[cfg(test)]
    pub(super) fn keeps_shapes(&self) -> bool {
        self.shapes.is_some()
    }

    /// True if there are beginnings; forgets them if wanted, and all shapes.
    #[cfg(test)]
    pub(super) fn forget_beginnings(&mut self, forget: bool) -> bool {
        if forget {
            self.shapes = None;
            return self.beginnings.take().is_some();
        }
        self.beginnings.is_some()
    }

    /// True if any expression matches.
    pub(super) fn is_match(&mut self, text: &[u8]) -> bool {
        self.search(text).is_some()
    }

    /// The index of the first expression in the list that matches.
    pub(super) fn search(&mut self, text: &[u8]) -> Option<usize> {
        let mut only_place = || match &mut self.beginnings {
            Some(beginnings) => beginnings.only_place(text),
            None => Some(0),
        };
        let Some((shapes, at)) = self.shapes.as_mut().and_then(|shapes| Some((shapes, only_place()?))) else {
            return self.search_anew(text);
        };
        let behind = text.get(at..).unwrap_or_default();
        match shapes.look_up(behind, at, self.scratch.slots_mut()) {
            Some(Answer::Match(index)) => return Some(index),
            Some(Answer::Nothing) => return None,
            Some(Answer::Open) => return self.search_anew(text),
            None => {}
        }
        let limits = self.limits;
        let found = self.search_anew(text);
        let answer = match found {
            _ if !self.is_blind_here(text, at) => Answer::Open,
            Some(index) => Answer::Match(index),
            None => Answer::Nothing,
        };
        if let (Some(shapes), true) = (&mut self.shapes, limits == self.limits) {
            shapes.learn(answer, at, self.scratch.slots());
        }
        found
    }

    /// True if no expression that tells digits apart may match this text.
    fn is_blind_here(&mut self, text: &[u8], at: usize) -> bool {
        let Program { each, beginnings, .. } = self;
        let is_blind = |index: usize| each.get(index).is_some_and(|single| single.is_blind);
        (0..each.len()).all(is_blind)
            || beginnings.as_mut().is_some_and(|beginnings| beginnings.is_only_like(text, at, is_blind))
    }

    fn search_anew(&mut self, text: &[u8]) -> Option<usize> {
        match self.beginnings.as_mut().map(|beginnings| beginnings.guess(text)) {
            Some(Guess::Nothing) => return None,
            Some(Guess::First { index, at }) => {
                if let Some(told) = self.search_guessed(text, index, at) {
                    return told;
                }
            }
            Some(Guess::Unknown) | None => {}
        }
        // A single one needs no choice: that it may match is enough.
        let only = self.each.len() == 1;
        let candidate = self.whole()?.first(text, only)?;
        if self.confirm(candidate, text) {
            return Some(candidate);
        }
        // It was the last: the others need not be asked.
        if candidate + 1 == self.each.len() {
            return None;
        }
        self.whole()?.find_candidates(text);
        let is_candidate =
            |program: &Program, index| program.whole.as_ref().is_some_and(|all| all.is_candidate(index));
        (candidate + 1..self.each.len())
            .find(|index| is_candidate(self, *index) && self.confirm(*index, text))
    }

    /// Asks the expression that the text begins like, and if it is not it the others; nothing if these are many.
    fn search_guessed(&mut self, text: &[u8], first: usize, at: usize) -> Option<Option<usize>> {
        if !self.beginnings.as_ref()?.is_trusted(first) {
            return None;
        }
        if self.confirm_behind(first, text, at) {
            return Some(Some(first));
        }
        let others = self.beginnings.as_mut()?.after(first, text, at)?;
        Some(others.into_iter().flatten().find(|index| self.confirm_behind(*index, text, at)))
    }

    /// How often an expression took too many steps to tell whether it matches, since the last call.
    pub(super) fn take_limits(&mut self) -> u64 {
        std::mem::take(&mut self.limits)
    }

    /// True if no expression matches any text that begins so.
    pub(super) fn dies_behind(&mut self, head: &[u8]) -> bool {
        match &mut self.beginnings {
            Some(beginnings) => beginnings.die_behind(head),
            None => self.whole().is_some_and(|whole| whole.dies_behind(head)),
        }
    }

    /// Invariant: it can be built, as it was when the expressions were compiled.
    fn whole(&mut self) -> Option<&mut Whole> {
        if self.whole.is_none() {
            self.whole = Whole::of(self.trees()).map(Box::new);
        }
        self.whole.as_deref_mut()
    }

    fn confirm(&mut self, index: usize, text: &[u8]) -> bool {
        let Some(single) = self.each.get_mut(index) else { return false };
        let found = single.matcher.search(&mut self.scratch, text);
        self.limits += u64::from(found == Found::Limit);
        found == Found::Match
    }

    /// [`Program::confirm`], where what all expressions begin with can end at `at` only.
    fn confirm_behind(&mut self, index: usize, text: &[u8], at: usize) -> bool {
        let Some(single) = self.each.get_mut(index) else { return false };
        if single.word.is_missing(text.get(at..).unwrap_or_default()) {
            return false;
        }
        let found = single.matcher.search_behind(&mut self.scratch, text, at);
        self.limits += u64::from(found == Found::Limit);
        let is_match = found == Found::Match;
        single.word.note(is_match);
        is_match
    }

    /// What the last successful [`Program::search`] captured.
    pub(super) fn captured(&self, index: usize) -> Captured {
        let Some(Single { groups, .. }) = self.each.get(index) else { return Captured::default() };
        let first = |slots: &[usize]| slots.iter().find_map(|group| self.scratch.group(*group));
        let one = |group: Option<usize>| self.scratch.group(group?);
        Captured {
            addr: first(&groups.addr),
            user: first(&groups.user),
            attempts: one(groups.attempts),
            port: one(groups.port),
            pid: one(groups.pid),
            forwarded: one(groups.forwarded),
            content: one(groups.content),
            whole: self.scratch.group(0).unwrap_or_default(),
        }
    }

    /// Names and places of all groups that took part in the last successful search, in the order of the expression.
    pub(super) fn named(&self, index: usize) -> impl Iterator<Item = (&str, Range<usize>)> {
        let groups = self.each.get(index).map_or(&[][..], |single| &single.groups.named);
        groups.iter().filter_map(|(name, group)| Some((name.as_str(), self.scratch.group(*group)?)))
    }

    /// The names of all groups of an expression that have one, in its order.
    pub(super) fn names(&self, index: usize) -> impl Iterator<Item = &str> {
        let groups = self.each.get(index).map_or(&[][..], |single| &single.groups.named);
        groups.iter().map(|(name, _)| name.as_str())
    }

    /// The place of the named group of that number in [`Program::names`], if it took part in the last successful
    /// search.
    pub(super) fn nth(&self, index: usize, nth: usize) -> Option<Range<usize>> {
        let (_, group) = self.each.get(index)?.groups.named.get(nth)?;
        self.scratch.group(*group)
    }
}

fn single(expression: &str, settings: Settings, shared: &mut Shared) -> Result<Single, RegexError> {
    let expanded = expand(expression, settings.names)?;
    let options = Options { multiline: settings.multiline };
    let tree = regex::parse(&expanded.pattern, options).map_err(|error| expanded.locate(error))?;
    let groups = groups_of(&tree);
    let matcher = Matcher::sharing(tree, shared).map_err(|error| expanded.locate(error))?;
    Ok(Single { matcher, groups, word: Word::default(), is_blind: false })
}

fn groups_of(tree: &Tree) -> Groups {
    let mut groups = Groups::default();
    for (number, name) in tree.groups.iter().enumerate() {
        let Some(name) = name else { continue };
        match name.as_str() {
            "ip4" | "ip6" | "host" | "fid" => groups.addr.push(number),
            "user" => groups.user.insert(0, number),
            "attempts" => groups.attempts = Some(number),
            "fport" => groups.port = Some(number),
            "pid" => groups.pid = Some(number),
            "realip" => groups.forwarded = Some(number),
            "content" => groups.content = Some(number),
            other if other.starts_with("alt_user") => groups.user.push(number),
            _ => {}
        }
        groups.named.push((name.clone(), number));
    }
    groups
}
