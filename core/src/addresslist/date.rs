//! Dates in notes: `12/2016. WP login attempts`, `2016-12-24 ssh`, `24.12.2016`.

use crate::time::Timestamp;

/// A date as a note gives it: a month, or a day of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteDate {
    /// The year, 1990 to 2199.
    pub year: i16,
    /// The month from 1.
    pub month: i8,
    /// The day from 1, if it is given.
    pub day: Option<i8>,
}

impl NoteDate {
    fn new(year: i16, month: i8, day: Option<i8>) -> Option<NoteDate> {
        let date = NoteDate { year, month, day };
        (1990..2200).contains(&year).then_some(date).filter(|date| date.first_day().is_some())
    }

    fn first_day(self) -> Option<jiff::civil::Date> {
        jiff::civil::Date::new(self.year, self.month, self.day.unwrap_or(1)).ok()
    }

    /// The first moment of the day or month, in UTC.
    pub fn begin(self) -> Timestamp {
        at_midnight(self.first_day())
    }

    /// The moment after the day or month, in UTC.
    pub fn end(self) -> Timestamp {
        let span = match self.day {
            Some(_) => jiff::Span::new().days(1),
            None => jiff::Span::new().months(1),
        };
        at_midnight(self.first_day().and_then(|first| first.checked_add(span).ok()))
    }
}

fn at_midnight(date: Option<jiff::civil::Date>) -> Timestamp {
    let zoned = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    Timestamp::from_secs(zoned.map_or(0, |zoned| zoned.timestamp().as_second()))
}

/// `12/2016`, `2016-12-24`; a day where there is none leaves just the month out of reach.
impl std::fmt::Display for NoteDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.day {
            None => write!(f, "{}/{}", self.month, self.year),
            Some(day) => write!(f, "{:04}-{:02}-{day:02}", self.year, self.month),
        }
    }
}

/// The note without its date, and the first date in it.
pub(super) fn split(note: &str) -> (&str, Option<NoteDate>) {
    let starts = note.char_indices().filter(|(at, c)| {
        c.is_ascii_digit()
            && !note[..*at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.')
    });
    for (start, _) in starts {
        let length = note[start..]
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '/' | '-' | '.'))
            .unwrap_or(note.len() - start);
        let word = note[start..start + length].trim_end_matches(['/', '-', '.']);
        let Some(date) = date(word) else { continue };
        let rest = match start {
            0 => super::clean(note[word.len()..].trim_start_matches(['.', ' '])),
            // A date in the middle is part of what the note says.
            _ => note,
        };
        return (rest, Some(date));
    }
    (note, None)
}

fn date(word: &str) -> Option<NoteDate> {
    let parts: Vec<&str> = word.split(['/', '-', '.']).collect();
    let number = |text: &str| text.parse::<i16>().ok();
    let small = |text: &str| text.parse::<i8>().ok().filter(|_| text.len() <= 2);
    let is_year = |text: &str| text.len() == 4;
    match parts.as_slice() {
        [month, year] if is_year(year) => NoteDate::new(number(year)?, small(month)?, None),
        [year, month] if is_year(year) => NoteDate::new(number(year)?, small(month)?, None),
        [year, month, day] if is_year(year) => NoteDate::new(number(year)?, small(month)?, Some(small(day)?)),
        [day, month, year] if is_year(year) && word.contains('.') => {
            NoteDate::new(number(year)?, small(month)?, Some(small(day)?))
        }
        // Day and month may stand in either order between slashes; where the order is open, the month is.
        [one, two, year] if is_year(year) => {
            let (one, two, year) = (small(one)?, small(two)?, number(year)?);
            match (one > 12, two > 12) {
                (true, false) => NoteDate::new(year, two, Some(one)),
                (false, true) => NoteDate::new(year, one, Some(two)),
                (false, false) if one == two => NoteDate::new(year, one, Some(two)),
                _ => None,
            }
        }
        _ => None,
    }
}
