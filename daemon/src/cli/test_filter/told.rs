//! What a filter made of one line, as JSON and as text.

use serde_json::{Map, Value, json};

use pillory_core::time::Timestamp;

use crate::escape::escape;

use super::shorten;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Failure,
    NoFail,
    Success,
    Ignored,
    Miss,
}

impl Verdict {
    /// All of them, each at its own number.
    pub(super) const ALL: [&str; 5] = ["failure", "nofail", "success", "ignored", "miss"];

    pub(super) fn word(self) -> &'static str {
        Verdict::ALL[self as usize]
    }
}

/// What became of one line.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) verdict: Verdict,
    /// The address as seen.
    pub(super) prefix: Option<String>,
    /// An identity that is no address.
    pub(super) id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) class: Option<&'static str>,
    pub(super) time: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) failregex: Option<usize>,
    pub(super) successregex: Option<usize>,
    pub(super) ignoreregex: Option<usize>,
    pub(super) captures: Map<String, Value>,
    pub(super) date: Option<Date>,
    /// The lines that led to it, if there were several.
    pub(super) lines: Vec<String>,
}

/// The date of a line.
#[derive(Debug)]
pub(super) struct Date {
    /// As it stands there.
    pub(super) text: String,
    /// The template that found it; empty for any of the usual stamps.
    pub(super) template: String,
}

impl Told {
    /// Nothing but a verdict.
    pub(super) fn new(verdict: Verdict) -> Told {
        Told {
            verdict,
            prefix: None,
            id: None,
            user: None,
            class: None,
            time: None,
            attempts: 0,
            failregex: None,
            successregex: None,
            ignoreregex: None,
            captures: Map::new(),
            date: None,
            lines: Vec::new(),
        }
    }

    /// One object, as the interface promises it.
    pub(super) fn value(&self, number: u64) -> Value {
        json!({
            "line": number,
            "verdict": self.verdict.word(),
            "prefix": self.prefix,
            "id": self.id,
            "user": self.user,
            "class": self.class,
            "time": self.time.map(|time| time.millis() as f64 / 1000.0),
            "attempts": self.attempts,
            "failregex": self.failregex,
            "captures": self.captures,
        })
    }

    /// The line with its verdict, and below it what was read from it.
    pub(super) fn text(&self, number: u64, bytes: &[u8]) -> String {
        let mut text =
            format!("{number:>6} {} {}\n", self.colored(), shorten(&String::from_utf8_lossy(bytes)));
        let mut below = |what: String| text += &format!("       {what}\n");
        if !matches!(self.verdict, Verdict::Miss | Verdict::Ignored) {
            below(self.summary());
            for line in self.lines.iter().take(self.lines.len().saturating_sub(1)) {
                below(format!("  with: {}", shorten(line)));
            }
            if let Some(date) = &self.date {
                let by =
                    if date.template.is_empty() { String::new() } else { format!(" by {}", date.template) };
                below(format!("  date: {:?}{}", escape(&date.text), shorten(&by)));
            }
            for (name, value) in &self.captures {
                let value = value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
                below(format!("  {}: {}", escape(name), shorten(&value)));
            }
        } else if let Some(index) = self.ignoreregex {
            below(format!("= ignoreregex {index}"));
        }
        text
    }

    /// The verdict in eight columns, to be seen at once.
    fn colored(&self) -> String {
        let word = format!("{:<8}", self.verdict.word());
        match self.verdict {
            Verdict::Failure => super::super::red(&word),
            _ => word,
        }
    }

    /// Who, when, and by which expression.
    fn summary(&self) -> String {
        let host = |prefix: &String| {
            let bare = prefix.strip_suffix("/32").or_else(|| prefix.strip_suffix("/128"));
            bare.map_or_else(|| prefix.clone(), str::to_owned)
        };
        let who = self.prefix.as_ref().map(host).or_else(|| self.id.as_deref().map(escape));
        let mut parts = vec![format!("= {}", who.as_deref().unwrap_or("nobody yet"))];
        parts.extend(self.user.as_deref().map(|user| format!("user {}", escape(user))));
        parts.extend(self.class.map(str::to_owned));
        if self.attempts > 1 {
            parts.push(format!("x{}", self.attempts));
        }
        parts.push(self.time.map_or_else(|| "no time".to_owned(), |time| time.to_string()));
        parts.extend(self.failregex.map(|index| format!("failregex {index}")));
        parts.extend(self.successregex.map(|index| format!("successregex {index}")));
        parts.join(" ")
    }
}
