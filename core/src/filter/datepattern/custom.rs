//! Date patterns of a filter's own (`datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S`): strptime's directives within an
//! expression.
//!
//! What the complete language adds (`{DATE}`, `{^LN-BEG}`, `**`, EPOCH ..) is refused, not approximated.

use super::{Civil, Date, Found, Minute, Scan};
use crate::filter::program::Program;
use crate::filter::regex::{RegexError, RegexProblem};

/// The date patterns of a filter, in order; the first that matches finds the date.
#[derive(Debug)]
pub(in crate::filter) struct Custom {
    patterns: Vec<Program>,
}

/// Why a date pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatePatternError {
    /// A directive that is not known.
    #[error("the directive %{0} is not supported; Y y m d H M S f b B a A z are")]
    Directive(char),
    /// A word of fail2ban's that is not known.
    #[error("\"{0}\" is not supported in a date pattern; write directives such as %%Y-%%m-%%d %%H:%%M:%%S")]
    Word(&'static str),
    /// No time of day or no day at all.
    #[error("the pattern gives no {0}; a date needs at least a day, a month and a time")]
    Incomplete(&'static str),
    /// The expression around the directives.
    #[error(transparent)]
    Pattern(#[from] RegexError),
}

/// Words that stand for whole patterns or change how one is searched for.
const WORDS: [&str; 9] =
    ["{DATE}", "{NONE}", "{UNB}", "{^LN-BEG}", "**", "{*WD-BEG}", "EPOCH", "TAI64N", "{^"];

impl Custom {
    /// Compiles patterns, one a line.
    /// # Errors
    /// The first pattern that cannot be used.
    pub(in crate::filter) fn compile(text: &str) -> Result<Custom, DatePatternError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let patterns = lines.map(compile_one).collect::<Result<Vec<_>, _>>()?;
        Ok(Custom { patterns })
    }

    /// Finds the date of a line.
    pub(in crate::filter) fn find(&mut self, text: &[u8]) -> Option<Found> {
        self.patterns.iter_mut().find_map(|pattern| {
            let index = pattern.search(text)?;
            read(pattern, index, text)
        })
    }
}

fn compile_one(text: &str) -> Result<Program, DatePatternError> {
    if let Some(word) = WORDS.iter().find(|word| text.contains(**word)) {
        return Err(DatePatternError::Word(word));
    }
    let mut expression = String::new();
    let mut given = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expression.push(c);
            continue;
        }
        // %ExY is fail2ban's way to ask for exactly as many digits as there should be: so it is here anyway.
        let mut directive = chars.next().unwrap_or(' ');
        if directive == 'E' && chars.clone().next() == Some('x') {
            chars.next();
            directive = chars.next().unwrap_or(' ');
        }
        let inner = match directive {
            'Y' => r"[0-9]{4}",
            'y' | 'm' | 'H' | 'M' | 'S' => r"[0-9]{2}",
            'd' => r"[0-9 ]?[0-9]",
            'f' => r"[0-9]{1,9}",
            'b' | 'B' => r"[A-Z][a-z]{2,8}",
            'a' | 'A' => r"[A-Z][a-z]{2,8}",
            'z' => r"Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}",
            '%' => "%",
            other => return Err(DatePatternError::Directive(other)),
        };
        if directive == '%' {
            expression.push('%');
        } else {
            given.push(directive.to_ascii_lowercase());
            expression.push_str(&format!("(?P<_{directive}>{inner})"));
        }
    }
    for (needed, name) in [("d", "day"), ("mb", "month"), ("h", "hour")] {
        if !given.iter().any(|directive| needed.contains(*directive)) {
            return Err(DatePatternError::Incomplete(name));
        }
    }
    // Not inside a longer word or number, wherever it stands.
    let (before, expression) = match expression.strip_prefix('^') {
        Some(rest) => ("^", rest.to_owned()),
        None => (r"(?:^|\W)", expression),
    };
    let whole = format!(r"{before}(?P<date>{expression})(?:\W|$)");
    Program::compile(&[&whole]).map_err(|mut found| match found.pop() {
        Some((_, error)) => DatePatternError::Pattern(error),
        None => DatePatternError::Pattern(RegexError { column: 1, problem: RegexProblem::Empty }),
    })
}

/// What the groups of a match say.
fn read(pattern: &Program, index: usize, text: &[u8]) -> Option<Found> {
    let mut range = None;
    let (mut year, mut month, mut day, mut hour, mut minute, mut second) = (None, 0, 0, 0, 0, 0);
    let (mut millis, mut offset) = (0, None);
    for (name, place) in pattern.named(index) {
        let shown = text.get(place.clone())?;
        let mut scan = Scan { text: shown, at: 0 };
        match name {
            "date" => range = Some(place),
            "_Y" => year = Some(scan.year()?),
            "_y" => year = Some(2000 + i16::from(scan.between(2, 0, 99)?)),
            "_m" => month = scan.between(2, 1, 12)?,
            "_b" | "_B" => month = scan.month_name()?,
            "_d" => day = scan.day()?,
            "_H" => hour = scan.between(2, 0, 23)?,
            "_M" => minute = scan.between(2, 0, 59)?,
            "_S" => second = u8::try_from(scan.between(2, 0, 60)?).ok()?,
            "_f" => {
                let digit = |at: usize| shown.get(at).map_or(0, |b| u16::from(b - b'0'));
                millis = digit(0) * 100 + digit(1) * 10 + digit(2);
            }
            "_z" => offset = Some(scan.zone()?),
            _ => {}
        }
    }
    let minute = Minute { year, month, day, hour, minute, offset };
    Some(Found { range: range?, date: Date::Civil(Civil { minute, second, millis }) })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::super::Clock;
    use super::super::Calendar;
    use super::*;
    use crate::time::Timestamp;

    fn read(pattern: &str, text: &str) -> Option<(String, String)> {
        let found = Custom::compile(pattern).unwrap().find(text.as_bytes())?;
        let clock = Clock { now: Timestamp::from_secs(1_795_348_800), zone: TimeZone::UTC };
        let stamp = Calendar::default().resolve(found.date, &clock)?;
        let rest = format!("{}|{}", &text[..found.range.start], &text[found.range.end..]);
        Some((stamp.to_string(), rest))
    }

    #[test]
    fn reads_directives_wherever_the_pattern_finds_them() {
        for (pattern, text, stamp, rest) in [
            ("^%Y-%m-%d %H:%M:%S", "2026-11-22 07:57:11 x", "2026-11-22T07:57:11Z", "| x"),
            ("%d.%m.%y %H:%M", "app 22.11.26 07:57 x", "2026-11-22T07:57:00Z", "app | x"),
            (
                r"\[%d/%b/%Y:%H:%M:%S %z\]",
                "a [22/Nov/2026:08:57:11 +0100] x",
                "2026-11-22T07:57:11Z",
                "a | x",
            ),
            (r"^%b %d %H:%M:%S(?:\.%f)?", "Nov  2 07:57:11.5 x", "2026-11-02T07:57:11Z", "| x"),
            ("^%Y\n%d/%m %ExH:%ExM", "22/11 07:57", "2026-11-22T07:57:00Z", "|"),
        ] {
            let pattern = pattern.replace("^%Y\n", "");
            assert_eq!(read(&pattern, text), Some((stamp.to_owned(), rest.to_owned())), "{pattern}");
        }
    }

    #[test]
    fn a_date_inside_a_longer_number_is_none() {
        assert_eq!(read("%Y-%m-%d %H:%M", "12026-11-22 07:57"), None);
        assert_eq!(read("%Y-%m-%d %H:%M", "2026-11-22 07:571"), None);
        assert_eq!(read("%Y-%m-%d %H:%M", "2026-13-22 07:57"), None);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for pattern in ["{^LN-BEG}%Y", "EPOCH", "%Y-%m-%d", "%j %H", "%d %m %H:%M("] {
            assert!(Custom::compile(pattern).is_err(), "{pattern}");
        }
    }
}
