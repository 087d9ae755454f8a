//! The plainest forms of three stamps, read by hand: what nearly every line begins with.
//!
//! Each takes only texts of which its template's expression makes the same, and nothing else: two digits where two
//! fit, nothing behind it that might still belong to it. Whatever is in doubt is left to the expression.

use super::stamp::{Fields, MONTHS};
use super::zone::UtcOffset;

/// Which form a template has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `2026-11-22T07:57:11.123+01:00`; with the last decade that it takes, as 202.
    Iso(i64),
    /// `Nov 22 07:57:11`.
    Syslog,
    /// `22/Nov/2026:07:57:11 +0000`; as above.
    Access(i64),
}

impl Form {
    /// Reads a stamp that begins at `at`; where it ends, and what it says.
    pub(super) fn read(self, bytes: &[u8], at: usize) -> Option<(usize, Fields)> {
        let mut scan = Scan { bytes, at };
        let mut fields = Fields::default();
        match self {
            Form::Iso(last) => iso(&mut scan, &mut fields, last)?,
            Form::Syslog => syslog(&mut scan, &mut fields)?,
            Form::Access(last) => access(&mut scan, &mut fields, last)?,
        }
        let follows = scan.peek(0);
        (!follows.is_some_and(is_word)).then_some((scan.at, fields))
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let b = self.peek(0).filter(|b| wanted.contains(b))?;
        self.at += 1;
        Some(b)
    }

    fn digit(&mut self) -> Option<i64> {
        let b = self.peek(0).filter(u8::is_ascii_digit)?;
        self.at += 1;
        Some(i64::from(b - b'0'))
    }

    fn two(&mut self, low: i64, high: i64) -> Option<i64> {
        let value = self.digit()? * 10 + self.digit()?;
        (low..=high).contains(&value).then_some(value)
    }

    fn year(&mut self, last: i64) -> Option<i64> {
        let decade = self.two(20, 99)? * 10 + self.digit()?;
        let year = decade * 10 + self.digit()?;
        (200..=last).contains(&decade).then_some(year)
    }

    fn month_name(&mut self) -> Option<i64> {
        let shown = self.bytes.get(self.at..self.at + 3)?;
        let month = (1..).zip(MONTHS).find(|(_, name)| shown.eq_ignore_ascii_case(&name.as_bytes()[..3]))?.0;
        self.at += 3;
        Some(month)
    }

    fn clock(&mut self, fields: &mut Fields) -> Option<()> {
        fields.hour = self.two(0, 23)?;
        self.one_of(b":")?;
        fields.minute = self.two(0, 59)?;
        self.one_of(b":")?;
        fields.second = self.two(0, 59)?;
        Some(())
    }

    /// `+0100` or `+01:00`.
    fn offset(&mut self) -> Option<i64> {
        let len = if self.peek(3) == Some(b':') { 6 } else { 5 };
        let shown = self.bytes.get(self.at..self.at + len)?;
        self.at += len;
        UtcOffset::read(shown).ok().map(UtcOffset::minutes)
    }
}

fn iso(scan: &mut Scan<'_>, fields: &mut Fields, last: i64) -> Option<()> {
    fields.year = Some(scan.year(last)?);
    let separator = scan.one_of(b"-/.")?;
    fields.month = Some(scan.two(1, 12)?);
    scan.one_of(&[separator])?;
    fields.day = Some(scan.two(1, 31)?);
    scan.one_of(b"T ")?;
    scan.clock(fields)?;
    if matches!(scan.peek(0), Some(b'.' | b',')) {
        let digits =
            (1..=7).take_while(|offset| scan.peek(*offset).is_some_and(|b| b.is_ascii_digit())).count();
        if !(1..=6).contains(&digits) {
            return None;
        }
        scan.at += 1 + digits;
    }
    match scan.peek(0) {
        Some(b'+' | b'-') => fields.east = Some(scan.offset()?),
        Some(b'Z') => {
            fields.east = Some(0);
            scan.at += 1;
        }
        // A zone may stand behind any number of blanks.
        Some(b) if is_blank(b) => {
            let next = scan.peek(1)?;
            if is_blank(next) || b"ZUG+-".contains(&next) {
                return None;
            }
        }
        _ => {}
    }
    Some(())
}

/// What Python's expressions call blank.
fn is_blank(b: u8) -> bool {
    matches!(b, b'\t'..=b'\r' | 0x1c..=b' ')
}

fn syslog(scan: &mut Scan<'_>, fields: &mut Fields) -> Option<()> {
    fields.month = Some(scan.month_name()?);
    scan.one_of(b" ")?;
    fields.day = Some(match scan.one_of(b" ") {
        Some(_) => scan.digit().filter(|day| *day > 0)?,
        None => scan.two(1, 31)?,
    });
    scan.one_of(b" ")?;
    scan.clock(fields)?;
    // A fraction or a year may follow.
    let may_go_on = scan.peek(0) == Some(b'.') || (scan.peek(0) == Some(b' ') && scan.peek(1) == Some(b'2'));
    (!may_go_on).then_some(())
}

fn access(scan: &mut Scan<'_>, fields: &mut Fields, last: i64) -> Option<()> {
    fields.day = Some(scan.two(1, 31)?);
    let separator = scan.one_of(b"-/")?;
    fields.month = Some(scan.month_name()?);
    scan.one_of(&[separator])?;
    fields.year = Some(scan.year(last)?);
    scan.one_of(b" :")?;
    scan.clock(fields)?;
    match (scan.peek(0), scan.peek(1)) {
        (Some(b'.'), _) => return None,
        (Some(b' '), Some(b'+' | b'-')) => {
            scan.at += 1;
            fields.east = Some(scan.offset()?);
        }
        // `Z`, `UTC`, `GMT`, in either case.
        (Some(b' '), Some(b)) if b"ZUG".contains(&b.to_ascii_uppercase()) => return None,
        _ => {}
    }
    Some(())
}
