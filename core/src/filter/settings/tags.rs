//! `<name>`: tags filled in from the other options, innermost first, until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_TAG_ROUNDS, MAX_VALUE_BYTES, Options, TextProblem, Work};

/// What else a tag may stand for.
pub type More<'a> = dyn FnMut(&str, &mut Work) -> Result<Option<String>, TextProblem> + 'a;

/// How tags are filled in.
pub struct Fill<'a> {
    /// Tags that stay as they are, in values and as names.
    pub ignore: &'a BTreeSet<String>,
    /// `name?family=inet6` before `name`, if `family=inet6`.
    pub condition: Option<&'a str>,
    /// Asked for a tag that no option has.
    pub more: &'a mut More<'a>,
}

/// The next tag from `from` on: where it begins, its name, where it ends.
///
/// A name has neither a blank nor a bracket, so of `<a-<b>>` the inner tag comes first.
pub fn next(text: &str, from: usize) -> Option<(usize, &str, usize)> {
    let mut open = None;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'<' => open = Some(at),
            b' ' => open = None,
            b'>' => match open.take() {
                Some(start) if at > start + 1 => return Some((start, &text[start + 1..at], at + 1)),
                _ => {}
            },
            _ => {}
        }
    }
    None
}

/// Fills the tags of all options in. A tag that nobody knows stays.
/// # Errors
/// [`TextProblem::Endless`] for a value that refers to itself or grows without end; what `more` reports.
pub fn fill(options: &Options, how: &mut Fill<'_>, work: &mut Work) -> Result<Options, TextProblem> {
    let mut options = options.clone();
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let names: Vec<String> = options.keys().filter(|name| !how.ignore.contains(*name)).cloned().collect();
    loop {
        let mut again = false;
        for name in &names {
            let Some(value) = options.get(name).filter(|value| value.contains('<')).cloned() else {
                continue;
            };
            let count = counts.entry(name.clone()).or_default();
            let filled = fill_one(name, value.clone(), &options, count, how, work)?;
            if filled != value {
                again |= next(&filled, 0).is_some();
                options.insert(name.clone(), filled);
            }
        }
        if !again {
            return Ok(options);
        }
    }
}

/// How often each tag was filled into one value.
type Counts = BTreeMap<String, usize>;

fn fill_one(
    name: &str,
    mut value: String,
    options: &Options,
    count: &mut Counts,
    how: &mut Fill<'_>,
    work: &mut Work,
) -> Result<String, TextProblem> {
    let endless = || TextProblem::Endless(name.to_owned());
    let mut from = 0;
    work.spend(value.len(), name)?;
    while let Some((start, tag, end)) = next(&value, from) {
        work.spend(end - from, name)?;
        if how.ignore.contains(tag) {
            from = end;
            continue;
        }
        let times = count.entry(tag.to_owned()).or_default();
        if tag == name || *times > MAX_TAG_ROUNDS {
            return Err(endless());
        }
        let conditional = how.condition.and_then(|condition| options.get(&format!("{tag}?{condition}")));
        let replacement = match conditional.or_else(|| options.get(tag)) {
            Some(text) => Some(text.clone()),
            None => (how.more)(tag, work)?,
        };
        let Some(replacement) = replacement else {
            from = end;
            continue;
        };
        *times += 1;
        let tag = format!("<{tag}>");
        let grown = value.matches(&tag).count().saturating_mul(replacement.len());
        if grown.saturating_add(value.len()) > 2 * MAX_VALUE_BYTES {
            return Err(endless());
        }
        work.spend(value.len() + grown, name)?;
        value = value.replace(&tag, &replacement);
        from = start;
    }
    if value.len() > MAX_VALUE_BYTES { Err(endless()) } else { Ok(value) }
}
