//! What somebody may have meant who mistyped a name: a key, a filter, a jail.

use crate::jail::names::distance;

/// Longer words are no slip of the pen.
const MAX_CHARS: usize = 64;

/// The known name that is closest to `word`, if it is close: one slip in three letters at most, and three in all.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let length = word.chars().count();
    if length > MAX_CHARS {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    let near = |name: &&str| name.chars().count().abs_diff(length) <= allowed;
    let each = known.into_iter().filter(near).map(|name| (distance(name, word), name));
    each.filter(|(slips, _)| *slips <= allowed).min_by_key(|(slips, _)| *slips).map(|(_, name)| name)
}

/// What is wrong, and the cure; behind a question the cure begins a sentence.
pub fn with_cure(what: &str, cure: &str) -> String {
    let mut letters = cure.chars();
    match (letters.next(), what.ends_with('?')) {
        (None, _) => what.to_owned(),
        (Some(first), true) => format!("{what} {}{}", first.to_uppercase(), letters.as_str()),
        (Some(_), false) => format!("{what}; {cure}"),
    }
}

/// `; did you mean sshd?`, or nothing if no known name is close.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    closest(word, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["sshd", "dovecot", "nginx-http-auth", "port"];
        for (word, meant) in [
            ("ssdh", Some("sshd")),
            ("ssh", Some("sshd")),
            ("dovecto", Some("dovecot")),
            ("nginx-htp-aut", Some("nginx-http-auth")),
            ("ports", Some("port")),
            ("exim", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
        assert_eq!(closest(&"s".repeat(1 << 20), known), None);
    }

    #[test]
    fn a_cure_follows_what_is_wrong_and_begins_a_sentence_behind_a_question() {
        assert_eq!(with_cure("x is no key", "remove it"), "x is no key; remove it");
        assert_eq!(with_cure("did you mean y?", "else remove it"), "did you mean y? Else remove it");
        assert_eq!(with_cure("see the log", ""), "see the log");
    }

    #[test]
    fn of_several_the_closest_is_named() {
        assert_eq!(did_you_mean("bantim", ["findtime", "bantime", "banaction"]), "; did you mean bantime?");
        assert_eq!(did_you_mean("colour", ["findtime"]), "");
    }
}
