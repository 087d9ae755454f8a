//! The `%`-codes of date patterns: Python's, and those that fail2ban adds.
//!
//! A code stands for a group whose name is the field it fills. Which texts a code takes, and which of several it
//! prefers, is fail2ban's behaviour: `%d` takes `5`, ` 5`, `05`, `%Exd` only `05`; `%k` may begin with a blank.

use super::error::{DatePatternError, Problem};
use super::tokens::{FIRST_CODE, Token, Tokens};

/// Codes and what they take. The longer ones come first: `%ExY` is no `%E`.
const CODES: [(&str, &str); 42] = [
    ("ExY", "(?P<Y>{decades}[0-9])"),
    ("Exy", "(?P<y>[0-9]{2})"),
    ("Exm", "(?P<m>0[1-9]|1[012])"),
    ("Exd", "(?P<d>[12][0-9]|0[1-9]|3[01])"),
    ("ExH", "(?P<H>[01][0-9]|2[0-3])"),
    ("Exk", " ?(?P<H>[01]?[0-9]|2[0-3])"),
    ("Exl", " ?(?P<I>1[012]|[0-9])"),
    ("ExM", "(?P<M>[0-5][0-9])"),
    ("ExS", "(?P<S>[0-5][0-9]|6[01])"),
    ("ExZ", "(?P<Z>[A-Z](?:[A-Z]{2,4})?)"),
    ("Exz", "(?P<z>(?:[A-Z](?:[A-Z]{2,4})?)?[-+][01][0-9](?::?[0-9]{2})?|[A-Z](?:[A-Z]{2,4})?)"),
    ("Y", "(?P<Y>[0-9]{4})"),
    ("y", "(?P<y>[0-9]{2})"),
    ("G", "(?P<G>[0-9]{4})"),
    ("m", "(?P<m>0?[1-9]|1[012])"),
    ("B", "(?P<B>january|february|march|april|may|june|july|august|september|october|november|december)"),
    ("b", "(?P<b>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"),
    ("d", "(?P<d>[12][0-9]|[ 0]?[1-9]|3[01])"),
    ("j", "(?P<j>3(?:6[0-6]|[0-5][0-9])|[12][0-9][0-9]|0(?:[1-9][0-9]|0[1-9])|[1-9][0-9]|0[1-9]|[1-9])"),
    ("A", "(?P<A>monday|tuesday|wednesday|thursday|friday|saturday|sunday)"),
    ("a", "(?P<a>mon|tue|wed|thu|fri|sat|sun)"),
    ("w", "(?P<w>[0-6])"),
    ("u", "(?P<u>[1-7])"),
    ("U", "(?P<U>5[0-3]|[0-4][0-9]|[0-9])"),
    ("W", "(?P<W>5[0-3]|[0-4][0-9]|[0-9])"),
    ("V", "(?P<V>5[0-3]|0[1-9]|[1-4][0-9]|[0-9])"),
    ("H", "(?P<H>[01]?[0-9]|2[0-3])"),
    ("k", " ?(?P<H>[012]?[0-9])"),
    ("I", "(?P<I>1[012]|0[1-9]|[1-9])"),
    ("l", " ?(?P<I>1?[0-9])"),
    ("p", "(?P<p>am|pm)"),
    ("M", "(?P<M>[0-5]?[0-9])"),
    ("S", "(?P<S>[0-5]?[0-9]|6[01])"),
    ("f", "(?P<f>[0-9]{1,6})"),
    ("z", "(?P<z>Z|UTC|GMT|[-+][01][0-9](?::?[0-9]{2})?)"),
    ("Z", "(?P<Z>Z|[A-Z]{3,5})"),
    ("%", "%"),
    // These three are made of Python's own codes, which do not differ but for preferring two digits.
    ("c", r"{a}\s+{b}\s+{day}\s+{clock}\s+(?P<Y>[0-9]{4})"),
    ("x", "(?P<m>1[012]|0[1-9]|[1-9])/{day}/(?P<y>[0-9]{2})"),
    ("X", "{clock}"),
    ("{day}", "(?P<d>3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9])"),
    ("{clock}", "(?P<H>2[0-3]|[01][0-9]|[0-9]):(?P<M>[0-5][0-9]|[0-9]):(?P<S>6[01]|[0-5][0-9]|[0-9])"),
];

/// Codes that hold letters: a pattern with one of them is read in either case.
const LETTERS: [&str; 6] = ["a", "A", "b", "B", "p", "c"];
/// Codes that begin with an optional blank.
const BLANK_FIRST: [&str; 4] = ["k", "l", "Exk", "Exl"];

/// Puts a mark for each code.
/// # Errors
/// A `%` before something else.
pub(super) fn mark(pattern: &Tokens) -> Result<Tokens, DatePatternError> {
    let (mut out, mut at) = (Tokens::default(), 0);
    while let Some(token) = pattern.0.get(at) {
        if token.c != '%' {
            out.0.push(*token);
            at += 1;
            continue;
        }
        let known = CODES.iter().position(|(code, _)| !code.starts_with('{') && pattern.has(at + 1, code));
        let Some(index) = known else {
            let shown = pattern.get(at + 1).map_or_else(|| "%".to_owned(), |c| format!("%{c}"));
            return Err(DatePatternError::new(token.column, Problem::Code(shown)));
        };
        let c = u32::try_from(index).ok().and_then(|index| char::from_u32(FIRST_CODE + index));
        out.0.push(Token { c: c.unwrap_or('%'), column: token.column });
        at += 1 + CODES[index].0.len();
    }
    Ok(out)
}

/// True if the mark is of a code that holds letters.
pub(super) fn has_letters(c: char) -> bool {
    code(c).is_some_and(|(code, _)| LETTERS.contains(&code))
}

/// True if the mark is of a code that begins with an optional blank.
pub(super) fn is_blank_first(c: char) -> bool {
    code(c).is_some_and(|(code, _)| BLANK_FIRST.contains(&code))
}

/// Replaces the marks by what the codes take. `year`: as for [`super::Options`].
pub(super) fn expand(pattern: &Tokens, year: i16) -> Tokens {
    let mut out = Tokens::default();
    for token in &pattern.0 {
        match code(token.c) {
            Some((_, takes)) => out.0.extend(Tokens::at(&complete(takes, year), token.column).0),
            None => out.0.push(*token),
        }
    }
    out
}

fn code(c: char) -> Option<(&'static str, &'static str)> {
    let index = u32::from(c).checked_sub(FIRST_CODE)?;
    CODES.get(usize::try_from(index).ok()?).copied()
}

fn complete(takes: &str, year: i16) -> String {
    let mut text = takes.to_owned();
    for (part, takes) in CODES {
        let part = if part.starts_with('{') { part.to_owned() } else { format!("{{{part}}}") };
        if matches!(part.as_str(), "{day}" | "{clock}" | "{a}" | "{b}") {
            text = text.replace(&part, takes);
        }
    }
    text.replace("{decades}", &decades(year))
}

/// The last decade that the usual stamps take, as 202: the one in which the third year from now lies.
pub(super) fn last_decade(year: i16) -> i32 {
    (i32::from(year) + 3).div_euclid(10).clamp(200, 999)
}

/// From 2000 on: a stamp of another time is taken for no date.
fn decades(year: i16) -> String {
    let all: Vec<String> = (200..=last_decade(year)).map(|decade| decade.to_string()).collect();
    format!("(?:{})", all.join("|"))
}
