//! Addresses, networks or names as commands take them: several at once, and `-` for those at standard input.

use std::fmt::Display;
use std::io::Read;
use std::str::FromStr;

use crate::escape::escape;

use super::{Failure, exit};

/// What is named; every word that names nothing is a problem, all of them reported at once, and nothing is done.
pub(super) fn read<T>(words: &[String]) -> Result<Vec<T>, Failure>
where
    T: FromStr,
    T::Err: Display,
{
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut take = |word: &str, line: Option<usize>| match word.parse::<T>() {
        Ok(one) => good.push(one),
        Err(error) => {
            let at = line.map_or_else(String::new, |line| format!("standard input, line {line}: "));
            bad.push(escape(&format!("{at}{error}")));
        }
    };
    for word in words {
        if word == "-" {
            for (line, word) in from_standard_input()? {
                take(&word, Some(line));
            }
        } else {
            take(word, None);
        }
    }
    if !bad.is_empty() {
        return Err(Failure::new(exit::USAGE, bad.join("\npillory: ")));
    }
    if good.is_empty() && !words.is_empty() {
        return Err(Failure::new(exit::NO, "standard input names no address; nothing was done"));
    }
    Ok(good)
}

/// The first word of each line that is no comment, with the line's number. Comments may be of any encoding.
fn from_standard_input() -> Result<Vec<(usize, String)>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(exit::USAGE, format!("cannot read standard input: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let words = (1..).zip(text.lines()).filter_map(|(at, line)| {
        let word = line.trim_start_matches('\u{feff}').split_whitespace().next()?;
        (!word.starts_with('#')).then(|| (at, word.to_owned()))
    });
    Ok(words.collect())
}
