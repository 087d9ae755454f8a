//! `name[option=value, option="value"]`: how jails name filters and actions with their parameters.

use std::collections::BTreeSet;

use crate::filter::settings::Options;

/// Splits `action = ..` into its actions: blanks and line ends part them, except within their brackets.
pub fn split(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(|c: char| !c.is_whitespace()).map(|skip| at + skip) {
        let word_end = end_of(text, start, char::is_whitespace);
        let name_end = end_of(text, start, |c| c.is_whitespace() || c == '[');
        let bracket = skip_blanks(text, name_end);
        let closed = (name_end > start && text[bracket..].starts_with('['))
            .then(|| close_bracket(text, bracket + 1))
            .flatten();
        let end = closed.unwrap_or(word_end);
        items.push(&text[start..end]);
        at = end;
    }
    items
}

fn end_of(text: &str, from: usize, ends: impl Fn(char) -> bool) -> usize {
    text[from..].find(ends).map_or(text.len(), |len| from + len)
}

fn skip_blanks(text: &str, from: usize) -> usize {
    end_of(text, from, |c| !c.is_whitespace())
}

/// Behind the bracket that closes the options which begin at `from`, if they do close and a blank follows.
///
/// Tries a quoted value before a bare one, and a further `[` group before the end; a place that led nowhere once
/// is not tried again, so the time is linear.
fn close_bracket(text: &str, from: usize) -> Option<usize> {
    let mut tried = BTreeSet::new();
    let mut open = vec![skip_blanks(text, from)];
    while let Some(at) = open.pop() {
        if !tried.insert(at) {
            continue;
        }
        let rest = &text[at..];
        if let Some(after) = rest.strip_prefix(']')
            && (after.is_empty() || after.starts_with(char::is_whitespace))
        {
            return Some(at + 1);
        }
        let name = end_of(text, at, |c| !is_name(c));
        if name == at || !text[name..].starts_with('=') {
            continue;
        }
        // The last one pushed is tried first.
        let bare = end_of(text, name + 1, |c| c == ',' || c == ']');
        open.extend(continuations(text, bare));
        if let Some(quoted) = end_of_quoted(text, name + 1) {
            open.extend(continuations(text, skip_blanks(text, quoted)));
        }
    }
    None
}

/// Where options may go on behind a value; the likeliest last.
fn continuations(text: &str, at: usize) -> Vec<usize> {
    let mut places = vec![at];
    if text[at..].starts_with(',') {
        places.push(skip_blanks(text, at + 1));
    } else if let Some(group) = next_group(text, at) {
        places.push(skip_blanks(text, group));
    }
    places
}

/// Behind `] [`.
fn next_group(text: &str, at: usize) -> Option<usize> {
    let after = text[at..].strip_prefix(']')?;
    let open = skip_blanks(text, text.len() - after.len());
    text[open..].starts_with('[').then_some(open + 1)
}

fn end_of_quoted(text: &str, at: usize) -> Option<usize> {
    let quote = text[at..].chars().next().filter(|c| *c == '"' || *c == '\'')?;
    text[at + 1..].find(quote).map(|len| at + len + 2)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Takes `name[option=value, ...]` apart.
/// # Errors
/// What is not understood, for a message.
pub fn extract(text: &str) -> Result<(String, Options), String> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('[') else { return Ok((text.to_owned(), Options::new())) };
    let inner = rest.strip_suffix(']').filter(|_| !name.is_empty());
    let inner = inner.ok_or_else(|| format!("{:?} is not of the form name[option=value]", shorten(text)))?;
    let mut options = Options::new();
    let mut at = 0;
    while at < inner.len() {
        let start = skip_blanks(inner, at);
        let end = end_of(inner, start, |c| !is_name(c));
        if end == start || !inner[end..].starts_with('=') {
            let rest = inner[at..].strip_prefix(',').unwrap_or(&inner[at..]);
            if rest.trim().is_empty() {
                break;
            }
            return Err(format!("expected option=value at {:?}", shorten(&inner[at..])));
        }
        let (value, after) = value(inner, end + 1);
        at = match inner[after..].chars().next() {
            None => after,
            Some(',') => after + 1,
            Some('\n') if after + 1 == inner.len() => after + 1,
            Some(_) => next_group(inner, after).ok_or_else(|| {
                let name = &inner[start..end];
                format!("unexpected {:?} behind the option {name}", shorten(&inner[after..]))
            })?,
        };
        options.insert(inner[start..end].to_owned(), value.trim().to_owned());
    }
    // A blank before the bracket is part of the name, for fail2ban too: it then finds no such file.
    Ok((name.to_owned(), options))
}

/// The value that begins at `at`, and where it ends.
fn value(text: &str, at: usize) -> (&str, usize) {
    match end_of_quoted(text, at) {
        Some(end) => (&text[at + 1..end - 1], end),
        None => {
            let end = end_of(text, at, |c| c == ',' || c == ']');
            (&text[at..end], end)
        }
    }
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Splits a line into words as a shell does: quotes and backslashes.
/// # Errors
/// A quote that is not closed.
pub fn shell_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => {
                let word = word.get_or_insert_default();
                match chars.next() {
                    Some(c @ ('"' | '\\')) => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => return Err("a backslash ends the line".to_owned()),
                }
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => {
                let c = chars.next().ok_or("a backslash ends the line")?;
                word.get_or_insert_default().push(c);
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}
