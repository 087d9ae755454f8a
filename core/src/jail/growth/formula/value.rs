//! Numbers as Python computes with them: whole ones and fractions.

use std::cmp::Ordering;

use super::Undefined;

/// A number; truths are 1 and 0, as in Python.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i128),
    /// A fraction.
    Float(f64),
}

use Value::{Float, Int};

/// What an operation gives.
pub(super) type Computed = Result<Value, Undefined>;

const BY_ZERO: Undefined = Undefined("a division by zero");
const TOO_LARGE: Undefined = Undefined("a number becomes too large");
const NOT_WHOLE: Undefined = Undefined("bits of a fraction");
const NO_NUMBER: Undefined = Undefined("a number that does not exist");

/// A fraction that is whole is a whole number: so settings are read.
impl From<f64> for Value {
    fn from(number: f64) -> Value {
        if number.fract() == 0.0 && number.abs() < 1e15 { Int(number as i128) } else { Float(number) }
    }
}

impl Value {
    /// As a fraction.
    pub fn real(self) -> f64 {
        match self {
            Int(whole) => whole as f64,
            Float(number) => number,
        }
    }

    pub(super) fn is_true(self) -> bool {
        self.real() != 0.0
    }

    /// Which is larger, exactly; nothing if one is no number.
    pub(super) fn compare(self, other: Value) -> Option<Ordering> {
        match (self, other) {
            (Int(a), Int(b)) => Some(a.cmp(&b)),
            (Float(a), Float(b)) => a.partial_cmp(&b),
            (Int(a), Float(b)) => compare(a, b),
            (Float(a), Int(b)) => compare(b, a).map(Ordering::reverse),
        }
    }

    /// A whole number, cut from a fraction. What is beyond whole numbers stays as it is.
    pub(super) fn truncated(number: f64) -> Computed {
        match number {
            _ if number.is_nan() => Err(NO_NUMBER),
            _ if number.is_infinite() => Err(TOO_LARGE),
            _ if number.abs() < 1e38 => Ok(Int(number as i128)),
            _ => Ok(Float(number.trunc())),
        }
    }
}

fn compare(whole: i128, number: f64) -> Option<Ordering> {
    // 2^127 and above: no whole number here is as large.
    if number.abs() >= 1.7e38 {
        return 0.0.partial_cmp(&number);
    }
    let below = number.floor();
    let order = whole.cmp(&(below as i128));
    match order {
        Ordering::Equal if number > below => Some(Ordering::Less),
        _ if number.is_nan() => None,
        order => Some(order),
    }
}

/// Whole numbers as long as they fit, else fractions.
fn both(a: Value, b: Value, whole: fn(i128, i128) -> Option<i128>, real: fn(f64, f64) -> f64) -> Value {
    let exact = match (a, b) {
        (Int(a), Int(b)) => whole(a, b),
        _ => None,
    };
    exact.map_or_else(|| Float(real(a.real(), b.real())), Int)
}

pub(super) fn add(a: Value, b: Value) -> Computed {
    Ok(both(a, b, i128::checked_add, |a, b| a + b))
}

pub(super) fn subtract(a: Value, b: Value) -> Computed {
    Ok(both(a, b, i128::checked_sub, |a, b| a - b))
}

pub(super) fn multiply(a: Value, b: Value) -> Computed {
    Ok(both(a, b, i128::checked_mul, |a, b| a * b))
}

pub(super) fn divide(a: Value, b: Value) -> Computed {
    if !b.is_true() { Err(BY_ZERO) } else { Ok(Float(a.real() / b.real())) }
}

/// `//`: rounded down.
pub(super) fn floor_divide(a: Value, b: Value) -> Computed {
    if !b.is_true() {
        return Err(BY_ZERO);
    }
    let whole = |a: i128, b: i128| {
        let quotient = a.checked_div(b)?;
        Some(quotient - i128::from(a % b != 0 && (a < 0) != (b < 0)))
    };
    Ok(both(a, b, whole, |a, b| {
        let rest = a % b;
        // The first quotient is whole but for its last bit.
        ((a - rest) / b).round() - f64::from(leans(rest, b))
    }))
}

/// `%`: what `//` leaves, with the sign of the divisor.
pub(super) fn modulo(a: Value, b: Value) -> Computed {
    if !b.is_true() {
        return Err(BY_ZERO);
    }
    let whole = |a: i128, b: i128| {
        let rest = a.checked_rem(b)?;
        Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
    };
    Ok(both(a, b, whole, rest))
}

fn rest(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if leans(rest, b) { rest + b } else { rest }
}

/// True if there is a rest on the other side of zero than the divisor.
fn leans(rest: f64, b: f64) -> bool {
    rest != 0.0 && (rest < 0.0) != (b < 0.0)
}

pub(super) fn power(a: Value, b: Value) -> Computed {
    if let (Int(base), Int(exponent @ 0..)) = (a, b) {
        let exact = u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent));
        return Ok(exact.map_or_else(|| Float(a.real().powf(b.real())), Int));
    }
    let (base, exponent) = (a.real(), b.real());
    if base == 0.0 && exponent < 0.0 && exponent.is_finite() {
        return Err(BY_ZERO);
    }
    real_of(base.powf(exponent), [base, exponent])
}

/// A result that exists where its arguments do.
pub(super) fn real_of<const N: usize>(result: f64, of: [f64; N]) -> Computed {
    if result.is_nan() && !of.iter().any(|number| number.is_nan()) {
        return Err(NO_NUMBER);
    }
    if result.is_infinite() && of.iter().all(|number| number.is_finite()) {
        return Err(TOO_LARGE);
    }
    Ok(Float(result))
}

pub(super) fn shift_left(a: Value, b: Value) -> Computed {
    let (whole, by) = shifted(a, b)?;
    let factor = i32::try_from(by).map_or(f64::INFINITY, |by| 2f64.powi(by));
    let exact = u32::try_from(by).ok().filter(|by| *by < 127).and_then(|by| whole.checked_mul(1 << by));
    match (exact, whole) {
        (Some(exact), _) => Ok(Int(exact)),
        (None, 0) => Ok(Int(0)),
        (None, _) => Ok(Float(whole as f64 * factor)),
    }
}

pub(super) fn shift_right(a: Value, b: Value) -> Computed {
    let (whole, by) = shifted(a, b)?;
    Ok(Int(whole >> by.min(127)))
}

fn shifted(a: Value, b: Value) -> Result<(i128, i128), Undefined> {
    match (a, b) {
        (Int(_), Int(..0)) => Err(Undefined("a shift by less than nothing")),
        (Int(a), Int(b)) => Ok((a, b)),
        _ => Err(NOT_WHOLE),
    }
}

fn bits(a: Value, b: Value, join: fn(i128, i128) -> i128) -> Computed {
    match (a, b) {
        (Int(a), Int(b)) => Ok(Int(join(a, b))),
        _ => Err(NOT_WHOLE),
    }
}

pub(super) fn bit_and(a: Value, b: Value) -> Computed {
    bits(a, b, |a, b| a & b)
}

pub(super) fn bit_or(a: Value, b: Value) -> Computed {
    bits(a, b, |a, b| a | b)
}

pub(super) fn bit_xor(a: Value, b: Value) -> Computed {
    bits(a, b, |a, b| a ^ b)
}

pub(super) fn invert(a: Value) -> Computed {
    bits(a, Int(-1), |a, b| a ^ b)
}

pub(super) fn negate(a: Value) -> Computed {
    match a {
        Int(_) => subtract(Int(0), a),
        Float(number) => Ok(Float(-number)),
    }
}

pub(super) fn keep(a: Value) -> Computed {
    Ok(a)
}

pub(super) fn not(a: Value) -> Computed {
    Ok(Int(i128::from(!a.is_true())))
}
