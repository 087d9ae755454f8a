//! A word that an expression needs: a text without it is refused before the exact matcher is asked.

use super::regex::{Tree, head};

/// A word that must stand in every text that an expression matches, if there is one.
#[derive(Debug, Default)]
pub(super) struct Word {
    bytes: Box<[u8]>,
    /// How often the expression did not match where its beginning stood, less how often it did.
    astray: i8,
}

impl Word {
    /// For each expression, of all that it needs behind its first `parts`, what the fewest others need.
    pub(super) fn choose(expressions: &[&Tree], parts: usize) -> Vec<Word> {
        let needed: Vec<Vec<String>> = expressions.iter().map(|tree| head::words(tree, parts)).collect();
        let needed_by =
            |word: &str| needed.iter().filter(|words| words.iter().any(|other| other.contains(word))).count();
        let rarest = |words: &Vec<String>| words.iter().rev().min_by_key(|word| needed_by(word)).cloned();
        let word = |words| Word { bytes: rarest(words).unwrap_or_default().into_bytes().into(), astray: 0 };
        needed.iter().map(word).collect()
    }

    /// True if the text lacks it; not asked for an expression that nearly always matches.
    pub(super) fn is_missing(&self, text: &[u8]) -> bool {
        let Some(first) = self.bytes.first().filter(|_| self.astray > 0) else { return false };
        !memchr::memchr_iter(*first, text).any(|at| text[at..].starts_with(&self.bytes))
    }

    /// Notes whether the expression matched.
    pub(super) fn note(&mut self, is_match: bool) {
        self.astray = self.astray.saturating_add(if is_match { -1 } else { 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex::{Options, parse};
    use super::*;

    #[test]
    fn it_is_the_one_that_the_fewest_others_need_and_none_of_a_choice() {
        let trees = ["^Failed (?:x|(y)) from \\d+: gone", "^Failed a* from \\d+ (here)?", "^Lost (from )b"]
            .map(|text| parse(text, Options::default()).unwrap());
        let words = Word::choose(&trees.each_ref(), 0);
        let words: Vec<&[u8]> = words.iter().map(|word| &*word.bytes).collect();
        assert_eq!(words, [&b": gone"[..], b"Failed ", b"Lost from b"]);
    }

    #[test]
    fn it_is_asked_for_once_its_expression_has_led_astray() {
        let mut word = Word { bytes: b": "[..].into(), astray: 0 };
        assert!(!word.is_missing(b"a:b"));
        word.note(false);
        assert!(word.is_missing(b"a:b:") && !word.is_missing(b"a:b: c"));
        word.note(true);
        assert!(!word.is_missing(b"a:b"));
    }
}
