//! Filters that match nothing although lines look like failures: a log whose form has changed, or a filter of another
//! service.
//!
//! Only lines are looked at that a jail missed before its filter ever matched one, the first thousand and then few of them,
//! so it costs nothing where a filter works.

use std::net::IpAddr;

use memchr::memmem;

use crate::jail::JailIndex;

use super::Machine;

/// What was seen of a jail whose filter matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmatched {
    /// So many lines were looked at.
    pub looked_at: u32,
    /// And so many of these look like failures.
    pub like_failures: u32,
}

/// The lines that a jail missed so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Misses {
    missed: u32,
    seen: Option<Unmatched>,
    has_matched: bool,
}

/// All of the first lines are looked at, and one of so many of the others.
const FIRST: u32 = 1_000;
const ONE_OF: u32 = 16;

/// So many lines that look like failures are worth a word, if they are no less than this part of all.
const ENOUGH: u32 = 20;
const ONE_IN: u32 = 20;

/// No more of a line is looked at.
const MOST_BYTES: usize = 512;

/// What went wrong, and at what, in lower case.
const WRONG: [&str; 9] =
    ["fail", "invalid", "denied", "incorrect", "wrong", "illegal", "unauthorized", "not allowed", "bad "];
const AT: [&str; 9] =
    ["auth", "login", "logon", "log in", "password", "user", "account", "credential", "access"];

impl Misses {
    pub(super) fn matched(&mut self) {
        self.has_matched = true;
    }

    pub(super) fn missed(&mut self, line: &[u8]) {
        if self.has_matched {
            return;
        }
        self.missed = self.missed.saturating_add(1);
        if self.missed > FIRST && !self.missed.is_multiple_of(ONE_OF) {
            return;
        }
        let seen = self.seen.get_or_insert(Unmatched { looked_at: 0, like_failures: 0 });
        seen.looked_at = seen.looked_at.saturating_add(1);
        seen.like_failures += u32::from(looks_like_failure(line));
    }

    fn found(&self) -> Option<Unmatched> {
        let is_worth = |seen: &Unmatched| {
            seen.like_failures >= ENOUGH && seen.like_failures.saturating_mul(ONE_IN) >= seen.looked_at
        };
        self.seen.filter(is_worth).filter(|_| !self.has_matched)
    }
}

impl Machine {
    /// What looks like failures to a jail whose filter has matched nothing yet, if enough does.
    pub fn unmatched(&self, jail: JailIndex) -> Option<Unmatched> {
        self.misses.get(usize::from(jail))?.found()
    }
}

/// True if the line has an address, and words such as failed with others such as login.
fn looks_like_failure(line: &[u8]) -> bool {
    let mut lower = [0; MOST_BYTES];
    let part = line.get(..MOST_BYTES).unwrap_or(line);
    let lower = lower.get_mut(..part.len()).unwrap_or_default();
    lower.copy_from_slice(part);
    lower.make_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| memmem::find(lower, word.as_bytes()).is_some());
    has(&WRONG) && has(&AT) && has_address(lower)
}

fn has_address(line: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    let is_address = |word: &str| match word.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => true,
        // `::ba` stands in names of programs, too.
        Ok(IpAddr::V6(_)) => word.bytes().filter(|byte| *byte == b':').count() > 2,
        Err(_) => false,
    };
    let words = line.split(|byte| !is_part(byte)).filter_map(|word| std::str::from_utf8(word).ok());
    let words = words.map(|word| word.trim_matches('.'));
    let with_port = |word: &str| word.split_once(':').is_some_and(|(first, _)| is_address(first));
    words.filter(|word| word.len() >= 7).any(|word| is_address(word) || with_port(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_look_like_failures_are_told_from_others() {
        for line in [
            "ftpd[7]: LOGIN FAILED for root, client 192.0.2.7:4711",
            "app: authentication failure; rhost=2001:db8:1::7 user=root",
            "app: Access denied for 192.0.2.7.",
            "app: bad password from [192.0.2.7]",
        ] {
            assert!(looks_like_failure(line.as_bytes()), "{line}");
        }
        for line in [
            "app: connect() failed (111: Connection refused), upstream 192.0.2.7",
            "app: login failed at 12:30:45 in auth::backend",
            "app: user logged in from 192.0.2.7",
            "app: 10 users, version 1.2.3",
            "",
        ] {
            assert!(!looks_like_failure(line.as_bytes()), "{line}");
        }
    }

    fn seen(lines: &[(&str, u32)], matches: bool) -> Option<Unmatched> {
        let mut misses = Misses::default();
        for (line, times) in lines {
            (0..*times).for_each(|_| misses.missed(line.as_bytes()));
        }
        if matches {
            misses.matched();
        }
        misses.found()
    }

    const FAILED: &str = "app: login failed from 192.0.2.7";

    #[test]
    fn many_such_lines_without_a_match_are_told_and_a_few_or_one_match_are_not() {
        assert_eq!(seen(&[(FAILED, 20)], false), Some(Unmatched { looked_at: 20, like_failures: 20 }));
        assert_eq!(seen(&[(FAILED, 19), ("app: hello", 50)], false), None);
        assert_eq!(seen(&[(FAILED, 20), ("app: hello", 900)], false), None, "hardly any of them");
        assert_eq!(seen(&[(FAILED, 50)], true), None);
    }

    #[test]
    fn of_many_lines_few_are_looked_at() {
        let seen = seen(&[(FAILED, 100_000)], false).unwrap();
        assert!(seen.looked_at < 8_000, "{seen:?}");
    }
}
