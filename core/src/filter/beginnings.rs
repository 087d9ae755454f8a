//! Most lines match nothing, and most of the others show soon what they are: automata for how texts begin.
//!
//! What they refuse matches nothing; what they let through is looked at by whoever is exact.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::{Anchored, Input, MatchKind, PatternSet};

use super::program::{Program, automaton, nfa};
use super::regex::{Digits, Tree, head, lower_here};

/// How often a beginning may lead astray before it is proved right.
const FIRST_TRUST: i8 = 8;

/// How the expressions of one key begin: that tells of most texts which expression it is, or that it is none.
#[derive(Debug)]
pub(super) struct Beginnings {
    first: (DFA, dfa::Cache),
    /// Finds all that a text begins like. Few texts need it, so it is built when the first one does.
    every: Option<(DFA, dfa::Cache)>,
    nfa: NFA,
    found: PatternSet,
    /// For each expression how often it was what began so, less how often it was not.
    trust: Vec<i8>,
}

impl Beginnings {
    /// Nothing if one of the expressions may begin with anything.
    pub(super) fn new<'t>(expressions: impl Iterator<Item = &'t Tree>) -> Option<Beginnings> {
        let heads: Vec<_> = expressions.map(head::head).collect();
        if heads.is_empty() || heads.iter().any(head::is_empty) {
            return None;
        }
        let hirs: Vec<_> =
            heads.into_iter().map(|head| lower_here(&head::joined(Vec::new(), vec![head])).hir).collect();
        let nfa = nfa(&hirs)?;
        let first = automaton(&nfa, MatchKind::LeftmostFirst)?;
        let (found, trust) = (PatternSet::new(nfa.pattern_len()), vec![FIRST_TRUST; hirs.len()]);
        Some(Beginnings { first, every: None, nfa, found, trust })
    }

    /// The first expression that the text begins like; nothing if none is, so that none matches.
    pub(super) fn first(&mut self, input: &Input<'_>) -> Option<usize> {
        let (dfa, cache) = &mut self.first;
        // Invariant: it fails at bytes where it was told to quit, or if it was told to give up: neither was.
        let found = dfa.try_search_fwd(cache, input).unwrap_or(None)?.pattern().as_usize();
        if let Some(trust) = self.trust.get_mut(found).filter(|trust| **trust >= 0) {
            *trust = trust.saturating_add(1);
        }
        Some(found)
    }

    /// False for an expression that was not it more often than it was: asking it first is no use.
    pub(super) fn is_trusted(&self, index: usize) -> bool {
        self.trust.get(index).is_some_and(|trust| *trust >= 0)
    }

    /// The others behind `first`, which was not it, that the text begins like; nothing if they are more than two.
    pub(super) fn after(&mut self, first: usize, input: &Input<'_>) -> Option<[Option<usize>; 2]> {
        if self.every.is_none() {
            self.every = automaton(&self.nfa, MatchKind::All);
        }
        let (every, cache) = self.every.as_mut()?;
        self.found.clear();
        every.try_which_overlapping_matches(cache, input, &mut self.found).ok()?;
        let mut others = self.found.iter().map(|id| id.as_usize()).filter(|index| *index > first);
        let two = [others.next(), others.next()];
        if others.next().is_none() {
            return Some(two);
        }
        if let Some(trust) = self.trust.get_mut(first) {
            // What `Beginnings::first` added is taken back too.
            *trust = trust.saturating_sub(2);
        }
        None
    }
}

/// True if nothing matches any text that begins so.
pub(super) fn dies_behind(dfa: &DFA, cache: &mut dfa::Cache, head: &[u8]) -> bool {
    let input = Input::new(head).anchored(Anchored::Yes);
    let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return false };
    for byte in head {
        state = match dfa.next_state(cache, state, *byte) {
            Ok(next) if !next.is_match() && !next.is_quit() => next,
            _ => return false,
        };
        if state.is_dead() {
            return true;
        }
    }
    false
}

/// How lines begin that a prefregex and one of the failregexes match.
#[derive(Debug)]
pub(super) struct Screen {
    dfa: DFA,
    cache: dfa::Cache,
}

impl Screen {
    /// Nothing where the prefregex does not hand all the rest of a line on, or a failregex may begin with anything.
    pub(super) fn new(prefix: &Program, rules: &Program) -> Option<Screen> {
        let (prefix, content) = prefix.only_content()?;
        let before = head::before_rest(prefix, content)?;
        let heads: Vec<_> = rules.trees().map(head::head).collect();
        if heads.iter().any(head::is_empty) {
            return None;
        }
        let nfa = nfa(&[lower_here(&head::joined(before, heads)).hir])?;
        let (dfa, cache) = automaton(&nfa, MatchKind::LeftmostFirst)?;
        Some(Screen { dfa, cache })
    }

    /// False if the prefregex does not match any text that begins so, or no failregex what it hands on.
    pub(super) fn may_begin(&mut self, head: &[u8]) -> bool {
        !dies_behind(&self.dfa, &mut self.cache, head)
    }

    /// Parts the digits that it tells apart.
    pub(super) fn part_digits(&self, digits: &mut Digits) {
        digits.part(|digit| self.dfa.byte_classes().get(digit));
    }

    /// False if the prefregex does not match this text, or no failregex what it hands on.
    pub(super) fn may_match(&mut self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        // What it cannot tell it must not refuse.
        self.dfa.try_search_fwd(&mut self.cache, &input).map_or(true, |found| found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = r"^\S+ (?:sshd|cron)(?:\[\d+\])?: (?P<content>.+)$";
    const RULES: [&str; 6] = [
        r"^Failed \S+ for (?:invalid user )?<F-USER>.*</F-USER> from <HOST>(?: port \d+)?$",
        r"^Failed none for x from <HOST> here$",
        r"^(?:Connection (?:closed|reset)|Disconnected) by <HOST>(?: \[preauth\])?\s*$",
        r"^(?!no)[a-z]+: (?(1)a|b) <HOST>",
        r"^Failed none for x from <HOST> there$",
        r"^Failed none for x from <HOST> where$",
    ];

    fn program(expressions: &[&str]) -> Program {
        Program::compile(expressions).unwrap()
    }

    /// Words of the expressions put together, whole and cut.
    fn texts() -> Vec<String> {
        let begins = ["", "host sshd[7]: ", "host cron: ", "host sshd", "host su: "];
        let words = [
            "Failed none for x",
            "Failed x for invalid user y",
            "Connection closed",
            "Disconnected",
            "no: b",
            "yes: b",
            "yes: c",
            "Connection lost",
        ];
        let ends = [
            " from 192.0.2.7",
            " by 192.0.2.7",
            " 192.0.2.7",
            " from 192.0.2.7 port 4",
            " by 192.0.2.7 [preauth]",
            " from 192.0.2.7 here",
            " from 192.0.2.7 there",
            " from 192.0.2.7 where",
            " from 192.0.2.7 nowhere",
            "",
        ];
        let all = begins.iter().flat_map(|begin| words.iter().map(move |word| format!("{begin}{word}")));
        all.flat_map(|text| ends.map(|end| format!("{text}{end}\n"))).collect()
    }

    #[test]
    fn beginnings_change_nothing() {
        let (mut with, mut without) = (program(&RULES), program(&RULES));
        assert!(with.forget_beginnings(false) && without.forget_beginnings(true));
        let mut matched = [false; RULES.len()];
        // Again, for those that are trusted no more.
        for text in texts().iter().chain(&texts()) {
            let found = with.search(text.as_bytes());
            assert_eq!(found, without.search(text.as_bytes()), "{text}");
            found.into_iter().for_each(|index| matched[index] = true);
        }
        assert_eq!(matched, [true; RULES.len()]);
    }

    #[test]
    fn the_screen_refuses_only_what_matches_nothing() {
        let (mut prefix, mut rules) = (program(&[PREFIX]), program(&RULES));
        let mut screen = Screen::new(&prefix, &rules).unwrap();
        let (mut matching, mut refused) = (0, 0);
        for text in texts() {
            let content = prefix.search(text.as_bytes()).and_then(|index| prefix.captured(index).content);
            let is_match = content.is_some_and(|content| rules.is_match(&text.as_bytes()[content.start..]));
            let passes = screen.may_match(text.as_bytes());
            assert!(passes || !is_match, "{text}");
            (matching, refused) = (matching + u32::from(is_match), refused + u32::from(!passes));
        }
        assert!(matching > 0 && refused > 200, "{matching} match, {refused} are refused");
    }

    #[test]
    fn there_is_none_where_it_could_not_tell() {
        assert!(!program(&["^a <HOST>", "b <HOST>"]).forget_beginnings(false));
        for prefix in
            ["^a (?P<content>.*)$", "^a (?P<content>.+?) b$", "^a (?P<content>.+) b$", "a (?P<content>.+)$"]
        {
            assert!(Screen::new(&program(&[prefix]), &program(&RULES)).is_none(), "{prefix}");
        }
    }
}
