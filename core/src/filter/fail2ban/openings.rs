//! What a prefregex makes of how lines open: `host sshd[4711]: F` leads to the message in every line that has it.
//!
//! A search of the prefregex up to where its `F-CONTENT` begins depends on the bytes that it looked at, and on what
//! it does not tell apart, such as the digits of a process number, not even on these. So what came of one opening is
//! kept for the others that are alike. Nothing is guessed: an opening of which this cannot be said is searched each
//! time.

use crate::filter::beginnings::Screen;
use crate::filter::program::Program;
use crate::filter::regex::Digits;
use crate::hash::FastMap;

/// Refuses lines of which no failregex matches what the prefregex hands on, and remembers openings.
#[derive(Debug)]
pub(super) struct Openings {
    screen: Screen,
    /// Nothing if digits cannot be told to be alike, so that nothing is remembered.
    memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    known: FastMap<Box<[u8]>, Opening>,
    /// The byte that stands for each.
    alike: Box<[u8; 256]>,
    /// The opening of this line, as it is looked up; kept for its memory.
    opening: Vec<u8>,
    /// How many lines were known since the last time that the memory was full.
    hits: usize,
}

/// What comes of an opening.
#[derive(Debug)]
enum Opening {
    /// No line with it matches.
    Refused,
    /// The prefregex matches if the rest is one line, and hands that on: where its groups begin and end.
    Leads(Box<[usize]>),
    /// It depends on what follows.
    Open,
}

/// At most so many openings are kept; a log has one for each program, length of its number and first letter.
const MOST: usize = 512;
/// As many times of that must have been of use, or no more are kept: a log may have one for each client.
const LEAST_USE: usize = 4;
/// A longer one is none of host and program.
const MAX_BYTES: usize = 96;

impl Openings {
    /// Nothing where [`Screen::new`] gives none.
    pub(super) fn new(prefix: &Program, rules: &Program) -> Option<Openings> {
        let screen = Screen::new(prefix, rules)?;
        let mut digits = Digits::default();
        screen.part_digits(&mut digits);
        let memory = prefix.part_digits(&mut digits).then(|| Memory {
            known: FastMap::default(),
            alike: Box::new(std::array::from_fn(|byte| digits.stands_for(byte as u8))),
            opening: Vec::new(),
            hits: 0,
        });
        Some(Openings { screen, memory })
    }

    /// Searches a text, which ends in a newline, as [`Program::search`] of the prefregex does; nothing, too, if no
    /// failregex matches what it hands on.
    pub(super) fn search(&mut self, prefix: &mut Program, text: &[u8]) -> Option<usize> {
        let opening = self.memory.as_mut().and_then(|memory| memory.look_up(text));
        match opening {
            Some((Some(Opening::Refused), _)) => return None,
            Some((Some(Opening::Leads(slots)), length)) if is_one_line(&text[length..]) => {
                prefix.recall(slots, text.len() - 1);
                return Some(0);
            }
            Some((None, length)) if is_one_line(&text[length..]) => return self.learn(prefix, text, length),
            _ => {}
        }
        if !self.screen.may_match(text) {
            return None;
        }
        prefix.search_screened(text)
    }

    /// Searches a text whose opening, so many bytes, is not known.
    fn learn(&mut self, prefix: &mut Program, text: &[u8], length: usize) -> Option<usize> {
        let (opening, found) = if !self.screen.may_begin(&text[..length]) {
            (Opening::Refused, None)
        } else if !self.screen.may_match(text) {
            (Opening::Open, None)
        } else {
            match prefix.search_noting(text) {
                Some(seen) if seen <= length && ends_at(prefix, text.len() - 1) => {
                    (Opening::Leads(prefix.slots().into()), Some(0))
                }
                Some(_) => (Opening::Open, Some(0)),
                None => (Opening::Open, prefix.search_screened(text)),
            }
        };
        if let Some(memory) = &mut self.memory {
            memory.learn(opening);
        }
        found
    }
}

/// True if what the prefregex hands on ends there.
fn ends_at(prefix: &Program, end: usize) -> bool {
    prefix.content(0).is_some_and(|content| content.end == end)
}

/// True for a rest with one newline, at its end.
fn is_one_line(rest: &[u8]) -> bool {
    !rest.is_empty() && memchr::memchr(b'\n', rest) == Some(rest.len() - 1)
}

impl Memory {
    /// What is known of how a text opens, and how many bytes of it that is; nothing if it does not open so.
    fn look_up(&mut self, text: &[u8]) -> Option<(Option<&Opening>, usize)> {
        let head = &text[..text.len().min(MAX_BYTES)];
        let colon = memchr::memchr_iter(b':', head).find(|at| head.get(at + 1) == Some(&b' '))?;
        // The first letter of the message too: that the prefix ends here, it tells.
        let opening = head.get(..colon + 3)?;
        self.opening.clear();
        self.opening.extend(opening.iter().map(|byte| self.alike[usize::from(*byte)]));
        let known = self.known.get(self.opening.as_slice());
        self.hits += usize::from(known.is_some());
        Some((known, opening.len()))
    }

    /// Keeps what came of the opening that was looked up last.
    fn learn(&mut self, opening: Opening) {
        if self.known.len() >= MOST {
            if self.hits < MOST * LEAST_USE {
                return;
            }
            self.known.clear();
            self.hits = 0;
        }
        self.known.insert(self.opening.as_slice().into(), opening);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [&str; 3] = [
        r"^Failed \S+ for <F-USER>\S+</F-USER> from <HOST>",
        r"^(?:closed|lost) by <HOST>",
        r"^rror: x <HOST>",
    ];

    fn program(expressions: &[&str]) -> Program {
        Program::compile(expressions).unwrap()
    }

    fn texts() -> Vec<String> {
        let hosts = ["", " ", "h ", "h2 ", "long.host.example "];
        let programs =
            ["sshd[7]: ", "sshd[8]: ", "sshd[4711]: ", "sshd[4712]: ", "pop3[1]: ", "pop3[3]: ", "pop4[1]: "];
        let more = ["su: ", "sshd: ", "sshd[7]:  ", "sshd[7]:\n", "kernel: [1.2] sshd[3]: ", "error: ", "x"];
        let messages = [
            "Failed a for b from 192.0.2.7",
            "Failed a for b from nobody",
            "closed by 192.0.2.7",
            "error: x 192.0.2.7",
            "error: closed by 192.0.2.7",
            "errors: lost by 192.0.2.7",
            "3: lost by 192.0.2.7",
            "é",
            "C",
            "",
            "lost by 192.0.2.7\nclosed by 192.0.2.7",
        ];
        let begins = hosts
            .iter()
            .flat_map(|host| programs.iter().chain(&more).map(move |name| format!("{host}{name}")));
        begins.flat_map(|begin| messages.map(|message| format!("{begin}{message}\n"))).collect()
    }

    #[test]
    fn what_is_remembered_changes_nothing() {
        for prefix in [
            r"^(?P<mlfid>\s*(?:\S+\s+)?(?:kernel:\s?\[ *\d+\.\d+\]:?\s+)?(?:sshd(?:\[\d+\])?:?\s+)?)(?:error: )?(?P<content>.+)$",
            r"^\s*(?:\w+ )?(?:pop3|sshd)\[(?P<pid>\d+)\]: (?P<content>.+)$",
            r"^(?:\S+ )?\w+\[[12478]+\]: (?P<content>.+)",
            r"^(?:\S+ )?\w+\[\d+\]: (?!Failed.*nobody)(?P<content>.+)$",
        ] {
            let (mut prefix, mut plain, mut rules) =
                (program(&[prefix]), program(&[prefix]), program(&RULES));
            let mut openings = Openings::new(&prefix, &rules).unwrap();
            let (mut found, mut refused) = (0, 0);
            for text in texts().iter().chain(&texts()) {
                let text = text.as_bytes();
                let wanted = plain.search(text);
                if openings.search(&mut prefix, text).is_some() {
                    assert_eq!((prefix.slots(), wanted), (plain.slots(), Some(0)), "{}", text.escape_ascii());
                    found += 1;
                } else if let Some(content) = wanted.and_then(|_| plain.content(0)) {
                    assert!(!rules.is_match(&text[content.start..]), "{}", text.escape_ascii());
                    refused += 1;
                }
            }
            let memory = openings.memory.unwrap();
            let leads = memory.known.values().filter(|opening| matches!(opening, Opening::Leads(_))).count();
            assert!(found > 50 && refused > 50 && memory.hits > 200, "{found}, {refused}, {}", memory.hits);
            assert!(leads > 2, "{leads}");
        }
    }

    #[test]
    fn numbers_of_processes_are_one_opening() {
        let (mut prefix, rules) = (program(&[r"^h sshd\[\d+\]: (?P<content>.+)$"]), program(&RULES));
        let mut openings = Openings::new(&prefix, &rules).unwrap();
        for pid in 1_000..9_999 {
            let text = format!("h sshd[{pid}]: closed by 192.0.2.7\n");
            assert_eq!(openings.search(&mut prefix, text.as_bytes()), Some(0));
        }
        assert_eq!(openings.memory.unwrap().known.len(), 1);
    }

    #[test]
    fn openings_without_number_are_not_kept() {
        let (mut prefix, rules) = (program(&[r"^(?:\w+ )?sshd: (?P<content>.+)$"]), program(&RULES));
        let mut openings = Openings::new(&prefix, &rules).unwrap();
        for number in 0..20_000 {
            let host: String = number.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            let text = format!("{host} sshd: closed by 192.0.2.7\n");
            assert_eq!(openings.search(&mut prefix, text.as_bytes()), Some(0), "{text}");
        }
        assert_eq!(openings.memory.unwrap().known.len(), MOST);
    }
}
