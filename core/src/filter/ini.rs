//! The file grammar of `filter.d`: sections, keys, values over several lines, comments.
//!
//! Nothing is interpreted here: every value keeps the line where it begins, [`super::spec`] gives it a meaning.

/// One `key = value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the section: `Definition`.
    pub section: String,
    /// The key as written.
    pub key: String,
    /// The value: its lines joined by `\n`, each without blanks around it.
    pub value: String,
    /// The line of the key, from 1.
    pub line: usize,
}

/// A line that fits nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniProblem {
    /// A key before the first `[Section]`.
    #[error("\"{0}\" stands before the first section; begin with [Definition]")]
    NoSection(String),
    /// Neither a section nor a key nor the continuation of a value.
    #[error(
        "\"{0}\" is neither \"key = value\" nor a section; lines that continue a value begin with a blank"
    )]
    NoKey(String),
    /// `[Section` without its bracket.
    #[error("\"{0}\" does not close its bracket; write \"[Definition]\"")]
    OpenSection(String),
}

/// Reads a file's text.
///
/// Comments are whole lines that begin with `#` or `;`, and what follows a `;` after a blank.
/// A key that is written twice in a section keeps the later value.
/// # Errors
/// Every line that fits nowhere, with its number from 1.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<(usize, IniProblem)>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut problems = Vec::new();
    let mut section: Option<String> = None;
    // True while the last key may still be continued.
    let mut open = false;
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let line = strip_comment(raw);
        let content = line.trim();
        if content.is_empty() {
            // An empty line inside a value belongs to it and means nothing; a comment does not end it either.
            continue;
        }
        if line.starts_with([' ', '\t']) && open {
            if let Some(entry) = entries.last_mut() {
                entry.value.push('\n');
                entry.value.push_str(content);
            }
            continue;
        }
        open = false;
        if let Some(rest) = content.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(name) => section = Some(name.to_owned()),
                None => problems.push((number, IniProblem::OpenSection(content.to_owned()))),
            }
            continue;
        }
        let Some((key, value)) = split_key(content) else {
            problems.push((number, IniProblem::NoKey(content.to_owned())));
            continue;
        };
        let Some(section) = &section else {
            problems.push((number, IniProblem::NoSection(key.to_owned())));
            continue;
        };
        entries.retain(|entry| entry.section != *section || entry.key != key);
        entries.push(Entry {
            section: section.clone(),
            key: key.to_owned(),
            value: value.to_owned(),
            line: number,
        });
        open = true;
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

/// `key = value` or `key: value`, whichever sign comes first.
fn split_key(content: &str) -> Option<(&str, &str)> {
    let at = content.find(['=', ':'])?;
    let key = content[..at].trim_end();
    (!key.is_empty()).then(|| (key, content[at + 1..].trim()))
}

fn strip_comment(raw: &str) -> &str {
    if raw.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let inline = raw.as_bytes().windows(2).position(|pair| pair[1] == b';' && pair[0].is_ascii_whitespace());
    inline.map_or(raw, |at| raw.get(..at).unwrap_or(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_run_over_indented_lines_and_comments() {
        let text = "# head\n[Definition]\nfailregex = ^a ; note\n\n   # inner\n   ^b;c\nother: x\n";
        let entries = parse(text).unwrap();
        assert_eq!(entries[0].value, "^a\n^b;c");
        assert_eq!((entries[0].line, entries[1].line), (3, 7));
        assert_eq!((entries[1].key.as_str(), entries[1].value.as_str()), ("other", "x"));
    }

    #[test]
    fn reports_every_line_that_fits_nowhere() {
        let problems = parse("a = 1\n[Definition\n[Definition]\nnonsense\n").unwrap_err();
        assert_eq!(problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn the_later_value_of_a_key_stands() {
        let entries = parse("[A]\nx = 1\n[B]\nx = 2\n[A]\nx = 3\n").unwrap();
        let found: Vec<_> = entries.iter().map(|e| (e.section.as_str(), e.value.as_str())).collect();
        assert_eq!(found, [("B", "2"), ("A", "3")]);
    }
}
