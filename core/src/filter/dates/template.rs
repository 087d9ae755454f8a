//! One template: what a line of `datepattern`, or one of the usual stamps, becomes.

use std::ops::Range;

use super::error::{DatePatternError, Problem};
use super::expression::Expression;
use super::quick::Form;
use super::stamp::{Fields, Reading, Seconds};
use super::text::Text;
use super::tokens::{BOUND, Tokens};
use super::{codes, epoch};

/// A template, ready to be searched for.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// What it is told apart by, and shown as.
    pub(super) name: String,
    /// The line of `datepattern` that it came from; nothing for the words EPOCH and TAI64N.
    pub(super) pattern: Option<String>,
    /// It is fixed to the beginning of the line.
    pub(super) begins_line: bool,
    /// It is fixed to an end of the line.
    pub(super) is_anchored: bool,
    /// How much its hits count against others'.
    pub(super) weight: f64,
    pub(super) search: Search,
    pub(super) reading: Reading,
    /// Its plainest form, if that is one to be read by hand.
    pub(super) quick: Option<Form>,
}

/// How it is searched for.
#[derive(Debug, Clone)]
pub(super) enum Search {
    Expression(Box<Expression>),
    /// The word EPOCH.
    Epoch(Seconds),
}

/// Where a template was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// All that the expression matched.
    pub(super) span: Range<usize>,
    /// What is to be cut out.
    pub(super) date: Range<usize>,
    /// What it says, if it was read by hand.
    pub(super) quick: Option<Fields>,
}

/// How a template may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Anywhere,
    /// Not within a word.
    Word,
    /// At most two characters that are no letters behind the beginning of the line.
    Line,
}

impl Template {
    /// From a line of `datepattern`, the words in it already replaced. `year`: as for [`super::Options`].
    /// # Errors
    /// What is no pattern.
    pub(super) fn new(pattern: &str, year: i16) -> Result<Template, DatePatternError> {
        let upper = pattern.to_ascii_uppercase();
        let key = if pattern.contains('%') { pattern } else { &upper };
        if key.contains("EPOCH")
            && let Some(template) = epoch_template(pattern, key)?
        {
            return Ok(template);
        }
        match key {
            "TAI64N" => tai64n(Begin::Anywhere),
            "{^LN-BEG}TAI64N" | "^TAI64N" => tai64n(Begin::Line),
            _ => fields_template(&Tokens::written(pattern), year),
        }
    }

    /// From a pattern whose characters know their places.
    pub(super) fn from_tokens(pattern: &Tokens, year: i16) -> Result<Template, DatePatternError> {
        let text = pattern.to_string();
        let upper = text.to_ascii_uppercase();
        // Words are whole patterns: then there are no places to tell.
        if upper.contains("EPOCH") || upper.contains("TAI64N") {
            return Template::new(&text, year);
        }
        fields_template(pattern, year)
    }

    /// Compiles its expression.
    /// # Errors
    /// What the engine does not take.
    pub(super) fn check(&self) -> Result<(), DatePatternError> {
        match &self.search {
            Search::Expression(expression) => expression.check(),
            Search::Epoch(_) => Ok(()),
        }
    }

    /// Searches a part of a line.
    pub(super) fn find(&mut self, text: &Text<'_>, part: Range<usize>) -> Option<Hit> {
        if let Some(hit) = self.quick.and_then(|form| self.read(form, text.bytes(), &part)) {
            return Some(hit);
        }
        match &mut self.search {
            Search::Epoch(seconds) => {
                let date = epoch::find(text.bytes(), part, *seconds)?;
                Some(Hit { span: date.clone(), date, quick: None })
            }
            Search::Expression(expression) => {
                let span = expression.search(text.bytes(), part)?;
                let date = expression.group(1).unwrap_or(span.start..span.start);
                Some(Hit { span, date, quick: None })
            }
        }
    }
}

impl Template {
    /// Reads the plainest form: where the line begins, or where a part of it does.
    fn read(&self, form: Form, bytes: &[u8], part: &Range<usize>) -> Option<Hit> {
        let bytes = bytes.get(..part.end)?;
        let is_word = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if self.begins_line {
            let start = (0..3).find(|at| is_word(*at)).filter(|_| part.start == 0)?;
            let (end, fields) = form.read(bytes, start)?;
            return Some(Hit { span: 0..end, date: start..end, quick: Some(fields) });
        }
        if part.start > 0 && is_word(part.start - 1) {
            return None;
        }
        let (end, fields) = form.read(bytes, part.start)?;
        let span = part.start..end;
        Some(Hit { span: span.clone(), date: span, quick: Some(fields) })
    }
}

/// Patterns with the word EPOCH or LEPOCH; others that hold its letters are patterns like any.
fn epoch_template(pattern: &str, key: &str) -> Result<Option<Template>, DatePatternError> {
    let seconds = if key.contains("LEPOCH") { Seconds::Long } else { Seconds::Short };
    let written = Tokens::written(pattern);
    let takes = |column| Tokens::at(&format!("({})", seconds.expression()), column);
    let (short, any_short) = written.replace("{EPOCH}", takes);
    let (mut tokens, any_long) = short.replace("{LEPOCH}", takes);
    if any_short + any_long > 0 {
        tokens.insert(0, "(");
        tokens.append(")");
        let mut built = build(tokens, Begin::Word, true, false)?;
        built.name = pattern.to_owned();
        built.reading = Reading::Epoch(seconds, 2);
        return Ok(Some(built));
    }
    let name = if seconds == Seconds::Long { "LongEpoch" } else { "Epoch" };
    match key.strip_prefix("{^LN-BEG}").or_else(|| key.strip_prefix('^')) {
        Some("EPOCH" | "LEPOCH") => {
            let tokens = Tokens::at(&format!("({})", seconds.expression()), 1);
            let mut built = build(tokens, Begin::Line, true, false)?;
            built.name = format!("{{^LN-BEG}}{name}");
            built.reading = Reading::Epoch(seconds, 1);
            Ok(Some(built))
        }
        None if matches!(key, "EPOCH" | "LEPOCH") => Ok(Some(Template {
            name: name.to_owned(),
            pattern: None,
            begins_line: false,
            is_anchored: false,
            weight: 1.0,
            search: Search::Epoch(seconds),
            reading: Reading::Epoch(seconds, 1),
            quick: None,
        })),
        _ => Ok(None),
    }
}

fn tai64n(begin: Begin) -> Result<Template, DatePatternError> {
    let mut built = build(Tokens::at("@[0-9a-f]{24}", 1), begin, true, false)?;
    built.name = if begin == Begin::Line { "{^LN-BEG}TAI64N" } else { "TAI64N" }.to_owned();
    built.reading = Reading::Tai64n;
    Ok(built)
}

fn fields_template(pattern: &Tokens, year: i16) -> Result<Template, DatePatternError> {
    let written = pattern.to_string();
    let mut tokens = pattern.clone();
    let (mut begin, mut bound_end) = (Begin::Word, true);
    if tokens.strip("{UNB}") {
        (begin, bound_end) = (Begin::Anywhere, false);
    } else if tokens.strip("{^LN-BEG}") {
        begin = Begin::Line;
    }
    let name = tokens.to_string();
    let mut tokens = codes::mark(&tokens)?;
    let has_letters = tokens.0.iter().any(|token| codes::has_letters(token.c));
    tokens.trim(!has_letters);
    if !has_letters && tokens.get(0).is_some_and(codes::is_blank_first) {
        return Err(DatePatternError::new(tokens.column(0), Problem::BlankFirst));
    }
    let fixed = begin == Begin::Line && !begins_unbound(&tokens);
    let mut built = build_with(tokens, begin, bound_end, has_letters, Some(year))?;
    built.name = if fixed { format!("{{^LN-BEG}}{name}") } else { name };
    built.pattern = Some(written);
    Ok(built)
}

fn build(tokens: Tokens, begin: Begin, bound_end: bool, letters: bool) -> Result<Template, DatePatternError> {
    build_with(tokens, begin, bound_end, letters, None)
}

/// Puts bounds around an expression, and a group if it has none.
fn build_with(
    mut tokens: Tokens,
    begin: Begin,
    bound_end: bool,
    letters: bool,
    year: Option<i16>,
) -> Result<Template, DatePatternError> {
    let flags = take_flags(&mut tokens, letters);
    let bound_begin = begin != Begin::Anywhere && !begins_unbound(&tokens);
    let bound_end = bound_end && !ends_unbound(&tokens);
    if !has_group(&tokens) {
        add_group(&mut tokens);
    }
    let mut begins_line = false;
    if bound_begin && begin == Begin::Line {
        begins_line = true;
        tokens.insert(0, r"^(?:\W{0,2})?");
    } else if bound_begin {
        tokens.insert(0, &BOUND.to_string());
    }
    if bound_end {
        tokens.append(&BOUND.to_string());
    }
    begins_line |= begins_with_line(&tokens);
    let ends_line = ends_with_line(&tokens);
    drop_stars(&mut tokens);
    if !flags.is_empty() {
        tokens.insert(0, &format!("(?{flags})"));
    }
    let tokens = year.map_or_else(|| tokens.clone(), |year| codes::expand(&tokens, year));
    let expression = Expression::new(&tokens)?;
    Ok(Template {
        name: String::new(),
        pattern: None,
        begins_line,
        is_anchored: begins_line || ends_line,
        weight: 1.0,
        search: Search::Expression(Box::new(expression)),
        reading: Reading::Fields,
        quick: None,
    })
}

/// Flags such as `(?s)`, wherever they stand, hold for the whole. With letters the case is free, and further flags
/// stay where they are.
fn take_flags(tokens: &mut Tokens, letters: bool) -> String {
    if letters {
        return "iu".to_owned();
    }
    for at in 0..tokens.len() {
        if !tokens.has(at, "(?") {
            continue;
        }
        let flags: String =
            (at + 2..).map_while(|at| tokens.get(at).filter(char::is_ascii_lowercase)).collect();
        if !flags.is_empty() && tokens.get(at + 2 + flags.len()) == Some(')') {
            tokens.0.drain(at..at + 3 + flags.len());
            return flags;
        }
    }
    String::new()
}

/// How many tokens from `at` on are `c`.
fn count(tokens: &Tokens, at: usize, c: char) -> usize {
    (at..).take_while(|at| tokens.get(*at) == Some(c)).count()
}

/// How many tokens `(?s)` at `at` is long.
fn flags_len(tokens: &Tokens, at: usize) -> usize {
    if !tokens.has(at, "(?") {
        return 0;
    }
    let word = (at + 2..)
        .take_while(|at| tokens.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_'))
        .count();
    if word > 0 && tokens.get(at + 2 + word) == Some(')') { word + 3 } else { 0 }
}

/// `^`, `**`, also within groups: the pattern says itself how it begins.
fn begins_unbound(tokens: &Tokens) -> bool {
    let parens = count(tokens, 0, '(');
    let rest = |at: usize| {
        let inner = at + count(tokens, at, '(');
        tokens.has(at, "^") || tokens.has(inner, "**") || tokens.has(at, "(^") || tokens.has(at, "(?:^")
    };
    if rest(parens) || (0..parens).any(rest) {
        return true;
    }
    // The last parenthesis may begin the flags.
    let flags_at = parens.saturating_sub(1);
    let flags = flags_len(tokens, flags_at);
    flags > 0 && rest(flags_at + flags)
}

/// `$`, `\b`, `\s`, `**`: the pattern says itself how it ends.
fn ends_unbound(tokens: &Tokens) -> bool {
    let closing = tokens.0.iter().rev().take_while(|token| token.c == ')').count();
    let stars = tokens.len().checked_sub(closing + 2).filter(|at| tokens.has(*at, "**"));
    let ends = |word: &str| tokens.ends_with(word).then(|| tokens.len() - word.chars().count());
    [ends("$"), ends("$)"), ends(r"\b"), ends(r"\s"), stars]
        .into_iter()
        .flatten()
        .any(|at| is_bare(tokens, at, &[]))
}

/// True unless a backslash or one of `others` stands before `at`.
fn is_bare(tokens: &Tokens, at: usize, others: &[char]) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    before.is_none_or(|c| c != '\\' && !others.contains(&c))
}

/// A group without `?`: it is what shall be cut out.
fn has_group(tokens: &Tokens) -> bool {
    (0..tokens.len()).any(|at| {
        tokens.get(at) == Some('(')
            && tokens.get(at + 1) != Some('?')
            && is_bare(tokens, at, &[])
            && !(at >= 2 && tokens.has(at - 2, "(?"))
    })
}

/// Around everything but `^` and `$`.
fn add_group(tokens: &mut Tokens) {
    let mut start = flags_len(tokens, 0);
    start += usize::from(tokens.get(start) == Some('^'));
    start += flags_len(tokens, start);
    let end = tokens.len() - usize::from(tokens.len() > start && tokens.ends_with("$"));
    tokens.insert(end, ")");
    tokens.insert(start, "(");
}

fn begins_with_line(tokens: &Tokens) -> bool {
    let at = flags_len(tokens, 0);
    if tokens.has(at, "^") {
        return true;
    }
    let inner = ["(?:^", "(^"].into_iter().find(|word| tokens.has(at, word));
    inner.is_some_and(|word| tokens.get(at + word.len()) != Some('|'))
}

fn ends_with_line(tokens: &Tokens) -> bool {
    ["$", "$)"]
        .into_iter()
        .filter(|word| tokens.ends_with(word))
        .any(|word| is_bare(tokens, tokens.len() - word.len(), &['|']))
}

/// Takes away the `**` that stood for "no bound".
fn drop_stars(tokens: &mut Tokens) {
    let mut at = count(tokens, 0, '(');
    if !tokens.has(at, "**") && at > 0 {
        let flags = flags_len(tokens, at - 1);
        at = if flags > 0 { at - 1 + flags } else { at };
        at += count(tokens, at, '(');
    }
    if tokens.has(at, "**") {
        tokens.0.drain(at..at + 2);
    }
    let closing = tokens.0.iter().rev().take_while(|token| token.c == ')').count();
    if let Some(at) = tokens.len().checked_sub(closing + 2)
        && tokens.has(at, "**")
        && is_bare(tokens, at, &[])
    {
        tokens.0.drain(at..at + 2);
    }
}
