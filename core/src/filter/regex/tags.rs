//! fail2ban's tags in an expression: `<HOST>`, `<F-USER>..</F-USER>`, `<SKIPLINES>` ..
//!
//! A tag becomes a piece of Python's syntax before anything is parsed, wherever it stands. Unknown tags are
//! ordinary text. Addresses are matched by their shape; code decides later whether they are valid. Which text has
//! the shape decides which expression wins, so the shapes are fail2ban's.

use super::{RegexError, RegexProblem};

/// Up to three digits, four times.
const IP4: &str = r"(?P<ip4>\d{1,3}(?:\.\d{1,3}){3})";
/// Groups of hexadecimal digits and colons, up to eight.
const IP6: &str = "(?:[0-9A-Fa-f]{1,4}:{1,2}|::){1,7}(?:[0-9A-Fa-f]{1,4}|:)";
/// How an IPv6 address may end that holds one of IPv4.
const DOTTED: &str = r"(?:(?:\.\d{1,3}){3})?";
/// An IPv4 address that IPv6 holds is one of IPv4.
const MAPPED: &str = "(?:::f{4,6}:)?";
/// A name, or anything that looks like one.
const DNS: &str = r"(?P<dns>[\w.^-]*\w)";
/// The length of a prefix.
const CIDR: &str = r"(?P<cidr>\d+)";

/// A tag, or several that mean the same.
pub struct Tag {
    /// What stands between `<` and `>`.
    pub names: &'static [&'static str],
    /// One line for the manual.
    pub doc: &'static str,
    /// Its expression.
    shape: fn(&mut State) -> String,
}

/// Every tag but those that only name a group, [`GROUPS`].
pub const TAGS: &[Tag] = &[
    Tag {
        names: &["HOST"],
        doc: "an address, and where usedns allows it the name of a host",
        shape: |state| match state.names {
            HostNames::Match => format!("(?:{}|{DNS})", state.addr()),
            HostNames::Refuse | HostNames::Own => state.addr(),
        },
    },
    Tag { names: &["ADDR", "F-ADDR/"], doc: "an address", shape: |state| state.addr() },
    Tag { names: &["IP4", "F-IP4/"], doc: "an IPv4 address", shape: |_| format!("{MAPPED}{IP4}") },
    Tag { names: &["IP6", "F-IP6/"], doc: "an IPv6 address", shape: |state| state.ip6() },
    Tag { names: &["DNS", "F-DNS/"], doc: "the name of a host", shape: |_| DNS.to_owned() },
    Tag { names: &["CIDR", "F-CIDR/"], doc: "the length of a network's prefix", shape: |_| CIDR.to_owned() },
    Tag {
        names: &["SUBNET", "F-SUBNET/"],
        doc: "an address, and the length of a prefix behind a slash if there is one",
        shape: |state| format!(r"\[?(?:{MAPPED}{IP4}|{})(?:/{CIDR})?\]?", state.ip6()),
    },
    Tag {
        names: &["F-ID/"],
        doc: "a word that is who is banned, whatever it is",
        shape: |_| r"(?P<fid>\S+)".to_owned(),
    },
    Tag { names: &["F-PORT/"], doc: "the client's port", shape: |_| r"(?P<fport>\w+)".to_owned() },
    Tag {
        names: &["SKIPLINES"],
        doc: "any number of lines in between, where maxlines allows several",
        shape: |state| {
            let number = state.skipped;
            state.skipped += 1;
            format!(r"\n(?P<skiplines{number}>(?:.*\n)*?)")
        },
    },
];

/// Groups that mean something, each written `<F-NAME>..</F-NAME>` around what it captures. Any other name may stand
/// there, too; its group is only shown.
pub const GROUPS: &[(&str, &str)] = &[
    ("F-USER", "the name that was tried"),
    ("F-ALT_USER", "the same where F-USER is empty; F-ALT_USER1 and so on, too"),
    ("F-CONTENT", "in a prefregex: what the other expressions see"),
    ("F-PORT", "the client's port, which tells connections apart"),
    ("F-PID", "the process, which tells connections apart"),
    ("F-ATTEMPTS", "how many tries the line stands for"),
    ("F-REALIP", "the client that a trusted proxy names"),
    ("F-ID", "who is banned, if it is no address"),
    ("F-MLFID", "what the lines of one connection have in common"),
    ("F-NOFAIL", "the line is no failure by itself, but says something of its connection"),
    ("F-MLFFORGET", "its connection ends: what it said is forgotten"),
    ("F-MLFGAINED", "its connection got in: failures of it that wait are not counted"),
];

/// Whether `<HOST>` is a name too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostNames {
    /// It is: whatever looks like a name (`usedns = yes`, `warn`, `raw`).
    #[default]
    Match,
    /// Addresses only (`usedns = no`).
    Refuse,
    /// Addresses only, those of IPv6 with a dotted end too, which fail2ban does not know: for filters of our own.
    Own,
}

/// An expression without tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// In Python's syntax.
    pub pattern: String,
    /// For each character of the pattern the column, from 1, that it comes from.
    columns: Vec<usize>,
}

impl Expanded {
    /// Where a column of the pattern stands in what was written; columns count characters from 1.
    pub fn column(&self, column: usize) -> usize {
        let last = self.columns.last().map_or(1, |last| last + 1);
        self.columns.get(column.saturating_sub(1)).copied().unwrap_or(last)
    }

    /// The error of the pattern, at its place in what was written.
    pub fn locate(&self, error: RegexError) -> RegexError {
        RegexError { column: self.column(error.column), ..error }
    }

    fn push(&mut self, text: &str, column: usize) {
        self.columns.extend(text.chars().map(|_| column));
        self.pattern.push_str(text);
    }
}

/// Writes out the tags of an expression.
/// # Errors
/// [`RegexProblem::Empty`] if nothing stands there.
pub fn expand(text: &str, names: HostNames) -> Result<Expanded, RegexError> {
    if text.trim_start().is_empty() {
        return Err(RegexError { column: 1, problem: RegexProblem::Empty });
    }
    let mut out = Expanded { pattern: String::with_capacity(text.len() * 2), columns: Vec::new() };
    let mut state = State { names, open: Vec::new(), skipped: 0 };
    let mut rest = text;
    let mut column = 1;
    while let Some(c) = rest.chars().next() {
        let tag = (c == '<').then(|| tag_at(rest)).flatten();
        let taken = match tag {
            Some(tag) => {
                match state.expand(tag) {
                    Some(text) => out.push(&text, column),
                    None => push_plain(&mut out, &rest[..tag.len() + 2], column),
                }
                tag.len() + 2
            }
            None => {
                out.push(&rest[..c.len_utf8()], column);
                c.len_utf8()
            }
        };
        column += rest[..taken].chars().count();
        rest = &rest[taken..];
    }
    Ok(scope_flags(&out))
}

fn push_plain(out: &mut Expanded, text: &str, column: usize) {
    for (offset, (at, c)) in text.char_indices().enumerate() {
        out.push(&text[at..at + c.len_utf8()], column + offset);
    }
}

/// The inside of the tag at the start of `text`: a word, perhaps with a slash before or behind it.
fn tag_at(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?.split_once('>')?.0;
    let word = inside.strip_prefix('/').unwrap_or(inside);
    let word = word.strip_suffix('/').unwrap_or(word);
    let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    (!word.is_empty() && word.chars().all(fits)).then_some(inside)
}

struct State {
    names: HostNames,
    /// `F-` tags that were opened.
    open: Vec<String>,
    /// `<SKIPLINES>` so far; each has a group of its own.
    skipped: usize,
}

impl State {
    /// What a tag stands for; nothing if it is ordinary text.
    fn expand(&mut self, tag: &str) -> Option<String> {
        match TAGS.iter().find(|known| known.names.contains(&tag)) {
            Some(known) => Some((known.shape)(self)),
            None => self.group(tag),
        }
    }

    fn ip6(&self) -> String {
        let dotted = if self.names == HostNames::Own { DOTTED } else { "" };
        format!("(?P<ip6>{IP6}{dotted})")
    }

    fn addr(&self) -> String {
        format!(r"\[?(?:{MAPPED}{IP4}|{})\]?", self.ip6())
    }

    /// `F-NAME`, `/F-NAME`.
    fn group(&mut self, tag: &str) -> Option<String> {
        let word = tag.strip_prefix('/').unwrap_or(tag);
        let name = word.strip_prefix("F-")?;
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return None;
        }
        if word.len() < tag.len() {
            return self.open.iter().any(|open| open == name).then(|| ")".to_owned());
        }
        self.open.push(name.to_owned());
        Some(format!("(?P<{}>", group_name(name)))
    }
}

/// The group that a tag captures into: fail2ban's names.
fn group_name(tag: &str) -> String {
    match tag {
        "ID" => "fid".to_owned(),
        "PORT" => "fport".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// Flags that open a group hold within it: `((?i)a)` and `(?:(?i)a)` become `(?i:a)`. Python refuses them there.
fn scope_flags(text: &Expanded) -> Expanded {
    let chars: Vec<char> = text.pattern.chars().collect();
    let mut out = Expanded { pattern: String::with_capacity(text.pattern.len()), columns: Vec::new() };
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        let escaped = at > 0 && chars[at - 1] == '\\';
        match flags_in_group(&chars[at..]).filter(|_| !escaped) {
            Some((from, to)) => {
                for (c, column) in chars[at + from..at + to].iter().zip(&text.columns[at + from..]) {
                    out.push(c.encode_utf8(&mut [0; 4]), *column);
                }
                out.push(":", text.columns[at + to]);
                at += to + 1;
            }
            None => {
                out.push(c.encode_utf8(&mut [0; 4]), text.columns[at]);
                at += 1;
            }
        }
    }
    out
}

/// Where `(?i` stands in `((?i)` or `(?:(?i)` at the start of `chars`.
fn flags_in_group(chars: &[char]) -> Option<(usize, usize)> {
    let starts = |from: usize, word: &str| {
        word.chars().enumerate().all(|(offset, c)| chars.get(from + offset) == Some(&c))
    };
    let from = if starts(0, "((?") {
        1
    } else if starts(0, "(?:(?") {
        3
    } else {
        return None;
    };
    let letters = chars[from + 2..].iter().take_while(|c| c.is_ascii_lowercase()).count();
    let to = from + 2 + letters;
    (letters > 0 && chars.get(to) == Some(&')')).then_some((from, to))
}

#[cfg(test)]
mod tests;
