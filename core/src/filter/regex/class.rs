//! What a set of an expression holds, with Python's meaning of `\d`, `\w`, `\s` and of case.
//!
//! The tables are Unicode's own as the `regex-syntax` crate carries them. Its version of Unicode is newer than that
//! of older Pythons, so a letter that was assigned since is a letter here.

use std::sync::OnceLock;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, HirKind};

use super::tree::{Case, Category, Class, ClassItem};

/// The members of a class, as ranges of characters in order.
pub(super) fn members(class: &Class) -> ClassUnicode {
    let mut set = ClassUnicode::empty();
    for item in &class.items {
        match item {
            ClassItem::Range(first, last) => {
                if let Some(range) = range(*first, *last) {
                    set.push(range);
                }
            }
            ClassItem::Category { category, negated, ascii } => {
                let mut part = category_members(*category, *ascii);
                if *negated {
                    part.negate();
                }
                set.union(&part);
            }
        }
    }
    match class.case {
        Case::Exact => {}
        Case::Ascii => fold_ascii(&mut set),
        Case::Unicode => fold(&mut set),
    }
    if class.negated {
        set.negate();
    }
    set
}

/// Between two code points; lone surrogates are in no text.
fn range(first: u32, last: u32) -> Option<ClassUnicodeRange> {
    let first = if (0xd800..0xe000).contains(&first) { 0xe000 } else { first };
    let last = if (0xd800..0xe000).contains(&last) { 0xd7ff } else { last };
    let (first, last) = (char::from_u32(first)?, char::from_u32(last)?);
    (first <= last).then(|| ClassUnicodeRange::new(first, last))
}

/// Adds the other case of each member; `i` has two more forms to Python, with and without a dot.
fn fold(set: &mut ClassUnicode) {
    /// `i`, `I`, capital with a dot, small without one.
    const FORMS_OF_I: [char; 4] = ['i', 'I', '\u{130}', '\u{131}'];
    // It fails only if the crate was built without its tables.
    let _ = set.try_case_fold_simple();
    if FORMS_OF_I.iter().any(|c| contains(set, *c)) {
        FORMS_OF_I.iter().for_each(|c| set.push(ClassUnicodeRange::new(*c, *c)));
    }
}

fn fold_ascii(set: &mut ClassUnicode) {
    for c in
        ('a'..='z').filter(|c| contains(set, *c) || contains(set, c.to_ascii_uppercase())).collect::<Vec<_>>()
    {
        set.union(&ranges(&[(c, c), (c.to_ascii_uppercase(), c.to_ascii_uppercase())]));
    }
}

/// True if it is a member.
pub(super) fn contains(set: &ClassUnicode, c: char) -> bool {
    let ranges = set.ranges();
    let at = ranges.partition_point(|range| range.end() < c);
    ranges.get(at).is_some_and(|range| range.start() <= c)
}

fn category_members(category: Category, ascii: bool) -> ClassUnicode {
    static DIGIT: OnceLock<ClassUnicode> = OnceLock::new();
    static WORD: OnceLock<ClassUnicode> = OnceLock::new();
    if ascii {
        return match category {
            Category::Digit => ranges(&[('0', '9')]),
            Category::Word => ranges(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
            Category::Space => ranges(&[('\t', '\r'), (' ', ' ')]),
        };
    }
    match category {
        Category::Digit => DIGIT.get_or_init(|| table(r"\p{Nd}")).clone(),
        Category::Word => WORD.get_or_init(|| table(r"[\p{L}\p{N}_]")).clone(),
        Category::Space => ranges(&[
            ('\t', '\r'),
            ('\u{1c}', ' '),
            ('\u{85}', '\u{85}'),
            ('\u{a0}', '\u{a0}'),
            ('\u{1680}', '\u{1680}'),
            ('\u{2000}', '\u{200a}'),
            ('\u{2028}', '\u{2029}'),
            ('\u{202f}', '\u{202f}'),
            ('\u{205f}', '\u{205f}'),
            ('\u{3000}', '\u{3000}'),
        ]),
    }
}

fn ranges(pairs: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(pairs.iter().map(|(first, last)| ClassUnicodeRange::new(*first, *last)))
}

/// One of Unicode's tables, by the crate's own name of it.
fn table(name: &str) -> ClassUnicode {
    match regex_syntax::parse(name).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(regex_syntax::hir::Class::Unicode(class))) => class,
        _ => ClassUnicode::empty(),
    }
}

/// True if `c` belongs to a word, as `\b` sees it.
pub(super) fn is_word(c: char, ascii: bool) -> bool {
    if c.is_ascii() || ascii {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    static WORD: OnceLock<ClassUnicode> = OnceLock::new();
    contains(WORD.get_or_init(|| category_members(Category::Word, false)), c)
}
