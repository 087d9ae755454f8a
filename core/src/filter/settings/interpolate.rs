//! `%(name)s`: values filled in from the caller's options, the section and the defaults, in this order.

use super::super::ini::shown;
use super::{MAX_DEPTH, MAX_VALUE_BYTES, Options, Settings, TextProblem, Work};

/// The section that holds the values that a later file replaced: `KNOWN/Definition`.
pub(super) const KNOWN: &str = "KNOWN/";

/// In which section a value stands, and what the caller gives.
struct Scope<'a> {
    section: &'a str,
    /// The caller's options; their names in lower case.
    given: &'a Options,
}

impl Settings {
    /// The value of an option with all its `%(name)s` filled in.
    ///
    /// `given`: options that come before those of the files, names in lower case. `%(known/name)s` is what an
    /// earlier file said, `%(section/name)s` a value of another section, `%(__name__)s` the section's name.
    /// Nothing if neither the section nor the defaults have it, or if there is no such section.
    /// # Errors
    /// [`TextProblem`] names the reference that cannot be filled in.
    pub fn get(
        &self,
        section: &str,
        option: &str,
        given: &Options,
        work: &mut Work,
    ) -> Result<Option<String>, TextProblem> {
        if !self.sections.contains_key(section) && section != "DEFAULT" {
            return Ok(None);
        }
        let scope = Scope { section, given };
        let Some(text) = self.plain(&scope, &option.to_lowercase()) else { return Ok(None) };
        let mut out = String::new();
        self.fill_in(&scope, text, 1, &mut out, work).map_err(|problem| match problem {
            TextProblem::Endless(_) => TextProblem::Endless(option.to_owned()),
            other => other,
        })?;
        Ok(Some(out))
    }

    /// As [`Settings::get`], where the name may be `section/option` or `known/option`: what a `<tag>` looks up.
    /// # Errors
    /// As [`Settings::get`].
    pub fn get_of(
        &self,
        section: &str,
        name: &str,
        given: &Options,
        work: &mut Work,
    ) -> Result<Option<String>, TextProblem> {
        if let Some((of, option)) =
            of_section(name).filter(|(_, option)| !option.contains(char::is_whitespace))
        {
            let known = format!("{KNOWN}{section}");
            let places: &[&str] = match of.to_lowercase().as_str() {
                "known" => &[&known, section],
                "default" => &["DEFAULT"],
                _ => &[of],
            };
            for place in places {
                let found = self.get(place, option, &Options::new(), work)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        self.get(section, name, given, work)
    }

    fn fill_in(
        &self,
        scope: &Scope<'_>,
        text: &str,
        depth: usize,
        out: &mut String,
        work: &mut Work,
    ) -> Result<(), TextProblem> {
        let endless = || TextProblem::Endless(String::new());
        work.spend(text.len(), "")?;
        if depth > MAX_DEPTH || out.len().saturating_add(text.len()) > MAX_VALUE_BYTES {
            return Err(endless());
        }
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('%') {
                out.push('%');
                rest = tail;
                continue;
            }
            let (name, tail) = reference(after).ok_or_else(|| TextProblem::Percent(shown(&rest[at..])))?;
            let value = self.referred(scope, name).ok_or_else(|| TextProblem::NoOption(shown(name)))?;
            self.fill_in(scope, value, depth + 1, out, work)?;
            rest = tail;
        }
        out.push_str(rest);
        if out.len() > MAX_VALUE_BYTES { Err(endless()) } else { Ok(()) }
    }

    /// The raw text of an option.
    fn plain<'a>(&'a self, scope: &Scope<'a>, option: &str) -> Option<&'a str> {
        if let Some(text) = scope.given.get(option) {
            return Some(text);
        }
        let own = self.sections.get(scope.section).and_then(|keys| keys.get(option));
        own.or_else(|| self.defaults.get(option)).map(|value| value.text.as_ref())
    }

    /// The raw text that `%(name)s` stands for.
    fn referred<'a>(&'a self, scope: &Scope<'a>, name: &str) -> Option<&'a str> {
        let lower = name.to_lowercase();
        if lower == "__name__" {
            return Some(scope.section);
        }
        if let Some(text) = self.plain(scope, &lower) {
            return Some(text);
        }
        // As in fail2ban, a name with a capital letter is looked up in lower case only.
        let (of, option) = of_section(name).filter(|_| lower == name)?;
        let of = match of {
            "known" => self.sections.get(&format!("{KNOWN}{}", scope.section)),
            "default" => None,
            other => Some(self.sections.get(other)?),
        };
        let value = of.and_then(|keys| keys.get(option)).or_else(|| self.defaults.get(option));
        value.map(|value| value.text.as_ref())
    }
}

/// `(name)s` and what follows.
fn reference(after: &str) -> Option<(&str, &str)> {
    let (name, tail) = after.strip_prefix('(')?.split_once(')')?;
    let tail = tail.strip_prefix('s')?;
    (!name.is_empty()).then_some((name, tail))
}

/// `section/option`.
fn of_section(name: &str) -> Option<(&str, &str)> {
    let (section, option) = name.split_once('/')?;
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    (!section.is_empty() && section.chars().all(is_word) && !option.is_empty()).then_some((section, option))
}
