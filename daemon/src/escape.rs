//! What attackers wrote, made harmless wherever it is shown: on a terminal, in a log, in JSON.
//!
//! Hostile are the controls, which move a terminal's cursor or forge a line, and all that Unicode shows as nothing or
//! that turns the text around it: with these a name looks like another one, or like the words beside it.

/// Whether this character is not to be shown as it is.
///
/// Source: Unicode 16, `DerivedGeneralCategory.txt` (Cc, Cf, Zl, Zp) and `Default_Ignorable_Code_Point` of
/// `DerivedCoreProperties.txt`.
pub(crate) fn is_hostile(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Text from anywhere, safe within a line of a terminal or a log.
pub(crate) fn escape(text: &str) -> String {
    escape_but(text, |_| false)
}

/// A JSON text for people: unquoted, hostile characters escaped.
pub(crate) fn word(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), escape)
}

/// A message that may have several lines: its newlines and tabs stay.
pub(crate) fn lines(text: &str) -> String {
    escape_but(text, |c| matches!(c, '\n' | '\t'))
}

/// What is printed for people, its own newlines, tabs and colours among it: a last look at all that is hostile besides.
pub(crate) fn printed(text: &str) -> String {
    escape_but(text, |c| matches!(c, '\n' | '\t' | '\r' | '\x1b'))
}

fn escape_but(text: &str, stays: fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hostile(c) && !stays(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    safe
}

/// A value, or lines of them, as JSON that a terminal may show: the same value to whoever reads it.
pub(crate) fn json(value: &impl std::fmt::Display) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // A newline stands between values only; within a string it is written as two characters.
        match is_hostile(c) && c != '\n' {
            true => {
                let units = c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                safe.push_str(&units);
            }
            false => safe.push(c),
        }
    }
    safe
}

/// A command as it is to be typed.
pub(crate) fn command_line(words: impl Iterator<Item = String>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quoted = |word: String| match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\0\x1b\x7f\u{85}\u{9b}\u{ad}\u{61c}\u{180e}\u{200b}\u{200e}\u{2028}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{fff9}\u{e0041}";

    #[test]
    fn json_says_the_same_without_what_a_terminal_obeys() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "Ä \"quoted\" \\ \n日本"] });
        let text = json(&value);
        assert!(!text.chars().any(is_hostile), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.contains("\\udb40\\udc41"), "above the BMP a pair of surrogates: {text}");
    }

    #[test]
    fn words_of_any_language_stay_as_they_are() {
        let words = "naïve Ünïcode, кириллица, 日本語, العربية, עברית, हिन्दी 🦀";
        assert_eq!(escape(words), words);
        assert_eq!(json(&words), words);
        assert!(!escape(HOSTILE).chars().any(is_hostile));
    }

    #[test]
    fn lines_keep_their_ends_and_colours_only_where_they_are_ours() {
        assert_eq!(escape("a\n\x1b\u{202e}"), "a\\n\\u{1b}\\u{202e}");
        assert_eq!(lines("a\n\x1b\u{202e}"), "a\n\\u{1b}\\u{202e}");
        assert_eq!(printed("a\n\x1b\u{202e}"), "a\n\x1b\\u{202e}");
    }

    #[test]
    fn a_command_is_quoted_as_a_shell_wants_it() {
        let words = ["pillory", "ban", "2001:db8::/64", "--reason", "it's me", ""].map(str::to_owned);
        assert_eq!(command_line(words.into_iter()), "pillory ban 2001:db8::/64 --reason 'it'\\''s me' ''");
    }
}
