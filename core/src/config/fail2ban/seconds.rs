//! Times as fail2ban takes them: `1h 30m`, `-1`, and sums and products of such.
//!
//! `m` is minutes and `mo` months; parts that stand side by side are added. The units are those of [`crate::time`].

use crate::time::{BanTime, Span, unit_secs};

/// Reads a length of time in seconds, possibly negative.
/// # Errors
/// What is not understood, for a message.
pub fn parse(text: &str) -> Result<f64, String> {
    let mut reader = Reader { rest: text.trim(), depth: 0 };
    if reader.rest.is_empty() {
        return Err("is empty".to_owned());
    }
    let value = reader.sum()?;
    match reader.rest.chars().next() {
        Some(c) => {
            Err(format!("{:?} is no length of time: {c:?} is unexpected", super::options::shorten(text)))
        }
        None if !value.is_finite() || value.abs() > MAX_SECONDS => {
            Err("is longer than 10,000 years".to_owned())
        }
        None => Ok(value),
    }
}

/// As [`parse`], in whole seconds towards zero; nothing may be negative.
/// # Errors
/// What is not understood, for a message.
pub fn span(text: &str) -> Result<Span, String> {
    let seconds = parse(text)?;
    if seconds <= -1.0 { Err("is negative".to_owned()) } else { Ok(Span::from_secs(seconds as u64)) }
}

/// As [`parse`]; a negative time is for ever.
/// # Errors
/// What is not understood, for a message.
pub fn bantime(text: &str) -> Result<BanTime, String> {
    let seconds = parse(text)?;
    Ok(if seconds <= -1.0 { BanTime::Forever } else { BanTime::For(Span::from_secs(seconds as u64)) })
}

/// 10,000 years.
const MAX_SECONDS: f64 = 3.2e11;
/// Parentheses and signs within each other.
const MAX_DEPTH: usize = 32;

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn skip(&mut self, sign: char) -> bool {
        let tail = self.rest.strip_prefix(sign).map(str::trim_start);
        self.rest = tail.unwrap_or(self.rest);
        tail.is_some()
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut sum = self.product()?;
        loop {
            if self.skip('+') {
                sum += self.product()?;
            } else if self.skip('-') {
                sum -= self.product()?;
            } else if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                sum += self.product()?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut product = self.factor()?;
        loop {
            if self.skip('*') {
                product *= self.factor()?;
            } else if self.skip('/') {
                product /= self.factor()?;
            } else {
                return Ok(product);
            }
        }
    }

    fn factor(&mut self) -> Result<f64, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("is nested too deep".to_owned());
        }
        let value = if self.skip('-') {
            -self.factor()?
        } else if self.skip('+') {
            self.factor()?
        } else if self.skip('(') {
            let inner = self.sum()?;
            if !self.skip(')') {
                return Err("a parenthesis is not closed".to_owned());
            }
            inner
        } else {
            self.number()?
        };
        self.depth -= 1;
        Ok(value)
    }

    /// `1.5h`: a number and its unit.
    fn number(&mut self) -> Result<f64, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        let number: f64 = self.rest[..end]
            .parse()
            .map_err(|_| format!("{:?} is no number", super::options::shorten(self.rest)))?;
        self.rest = self.rest[end..].trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let unit = &self.rest[..end];
        let factor =
            unit_secs(unit).ok_or_else(|| format!("unknown unit {unit:?}; use s, m, h, d, w, mo or y"))?;
        self.rest = self.rest[end..].trim_start();
        Ok(number * factor)
    }
}
