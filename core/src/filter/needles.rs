//! Words of which every line that filters match holds one: a buffer is searched for all of them at once, and lines
//! without any need not be looked at.

use regex_automata::MatchKind;
use regex_automata::util::prefilter::Prefilter;

use super::Filter;
use super::regex::{Tree, head};

/// A shorter word stands nearly everywhere.
const SHORTEST: usize = 3;

/// What stands in a line that is judged by what it unfolds to, where a word may be put together that it does not hold.
const FOLDED: &str = "message repeated ";

/// Finds the lines that filters may match.
#[derive(Debug)]
pub struct Needles(Prefilter);

impl Needles {
    /// Nothing if a filter may match lines that hold none of a few words.
    pub fn of<'f>(filters: impl Iterator<Item = &'f Filter>) -> Option<Needles> {
        let mut words = vec![FOLDED.to_owned()];
        for filter in filters {
            words.extend(filter.needles()?);
        }
        words.sort_by_key(String::len);
        let mut fewest: Vec<String> = Vec::new();
        for word in words {
            if !fewest.iter().any(|shorter| word.contains(shorter.as_str())) {
                fewest.push(word);
            }
        }
        let search = Prefilter::new(MatchKind::LeftmostFirst, &fewest)?;
        // Otherwise it looks at every byte, as who judges lines does.
        search.is_fast().then_some(Needles(search))
    }

    /// The lines that may match, in their order.
    ///
    /// `text`: lines with the newlines between them.
    pub fn lines<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let at = self.0.find(text, (from..text.len()).into())?.start;
            let begin = memchr::memrchr(b'\n', &text[from..at]).map_or(from, |before| from + before + 1);
            let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
            from = text.len().min(end + 1);
            Some(&text[begin..end])
        })
    }
}

/// A word that stands in every line of which the text matches; nothing if there is no good one.
///
/// The date may be cut out of a line's midst: behind a bracket, or behind a priority or blanks with which the line begins.
/// So a word that begins with a letter and holds no bracket does not come about by that.
pub(super) fn needle(tree: &Tree) -> Option<String> {
    let words = head::words(tree, 0);
    let pieces = words.iter().flat_map(|word| word.split(|c: char| !c.is_ascii() || "[\r\n".contains(c)));
    let begun = pieces.map(|piece| piece.trim_start_matches(|c: char| !c.is_ascii_alphabetic()));
    begun.max_by_key(|piece| piece.len()).filter(|piece| piece.len() >= SHORTEST).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Line;
    use crate::filter::{Clock, FilterSpec, Verdict, catalog};
    use crate::time::Timestamp;

    fn builtin(name: &str) -> Filter {
        Filter::compile(&catalog::builtin(name).unwrap()).unwrap()
    }

    fn is_hit(filter: &mut Filter, line: &[u8]) -> bool {
        let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
        filter.judge(&Line { bytes: line, stamp: None }, &clock) != Verdict::Miss
    }

    /// Lines that filters know, and what else may come of their words.
    fn variants(line: &str) -> impl Iterator<Item = String> {
        let folded = line
            .split_once("]: ")
            .map(|(head, said)| format!("{head}]: message repeated 3 times: [ {said}]"));
        let places = (0..line.len()).filter(|at| line.is_char_boundary(*at));
        let dates = ["[22/Nov/2026:07:57:11 +0000]", "<38>1 2026-11-22T07:57:11Z"];
        let dated =
            places.flat_map(move |at| dates.map(|date| format!("{}{date}{}", &line[..at], &line[at..])));
        std::iter::once(line.to_owned()).chain(folded).chain(dated)
    }

    #[test]
    fn no_line_that_matches_is_left_out() {
        let mut without = Vec::new();
        for name in catalog::names() {
            let mut filter = builtin(name);
            let Some(needles) = Needles::of([&filter].into_iter()) else {
                without.push(name);
                continue;
            };
            let path = format!("{}/samples/{name}.log", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let mut hits = 0;
            for line in text.lines().flat_map(variants) {
                let is_hit = is_hit(&mut filter, line.as_bytes());
                assert!(!is_hit || needles.lines(line.as_bytes()).eq([line.as_bytes()]), "{name}: {line}");
                hits += u32::from(is_hit);
            }
            assert!(hits > 20, "{name}: {hits}");
        }
        for name in ["sshd", "wordpress", "dropbear", "proftpd", "vsftpd"] {
            assert!(!without.contains(&name), "{without:?}");
        }
    }

    #[test]
    fn lines_come_whole_and_each_once() {
        let filters = ["sshd", "wordpress"].map(builtin);
        let needles = Needles::of(filters.iter()).unwrap();
        let text = b"x\n\nInvalid user Invalid user\nInvalid use\n\n a wp-login.php\nr a\nxInvalid user a";
        let lines: Vec<&[u8]> = needles.lines(text).collect();
        assert_eq!(lines, [&b"Invalid user Invalid user"[..], b" a wp-login.php", b"xInvalid user a"]);
        assert_eq!(needles.lines(b"").count() + needles.lines(b"\n\n").count(), 0);
    }

    #[test]
    fn there_are_none_where_a_line_may_hold_anything() {
        let of = |failregex: &str, datepattern: Option<&str>| {
            let spec = FilterSpec {
                failregex: vec![failregex.to_owned()],
                datepattern: datepattern.map(str::to_owned),
                ..FilterSpec::default()
            };
            Needles::of([Filter::compile(&spec).unwrap()].iter()).is_some()
        };
        assert!(of("^Failed for <HOST>", None));
        for anything in
            ["^(?:Failed|Lost) <HOST>", "(?i)^failed for <HOST>", "^\\[a <HOST>", "^a[a-z]+ <HOST>"]
        {
            assert!(!of(anything, None), "{anything}");
        }
        assert!(!of("^Failed for <HOST>", Some("^%Y-%m-%d")));
        let own =
            FilterSpec { failregex: vec!["^Failed for <HOST>".into()], own: true, ..FilterSpec::default() };
        assert!(Needles::of([Filter::compile(&own).unwrap()].iter()).is_none());
    }
}
