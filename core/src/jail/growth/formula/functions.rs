//! What a formula may call.

use std::cmp::Ordering;

use super::value::{Computed, Value, negate, power, real_of};
use Value::{Float, Int};

/// A function of some numbers.
pub(super) type Function = fn(&[Value]) -> Computed;

/// Its name, how many numbers it takes, and itself.
type Row = (&'static str, std::ops::RangeInclusive<usize>, Function);

const ONE: std::ops::RangeInclusive<usize> = 1..=1;
const TWO: std::ops::RangeInclusive<usize> = 2..=2;

pub(super) const FUNCTIONS: [Row; 27] = [
    ("int", ONE, |of| whole(of, f64::trunc)),
    ("float", ONE, |of| Ok(Float(first(of).real()))),
    ("abs", ONE, |of| match first(of) {
        value if value.compare(Int(0)) == Some(Ordering::Less) => negate(value),
        Float(number) => Ok(Float(number.abs())),
        value => Ok(value),
    }),
    ("min", 2..=usize::MAX, |of| Ok(best(of, Ordering::Less))),
    ("max", 2..=usize::MAX, |of| Ok(best(of, Ordering::Greater))),
    ("round", ONE, |of| whole(of, f64::round_ties_even)),
    ("pow", TWO, |of| power(first(of), second(of))),
    ("math.floor", ONE, |of| whole(of, f64::floor)),
    ("math.ceil", ONE, |of| whole(of, f64::ceil)),
    ("math.trunc", ONE, |of| whole(of, f64::trunc)),
    ("math.fabs", ONE, |of| real(of, f64::abs)),
    ("math.exp", ONE, |of| real(of, f64::exp)),
    ("math.expm1", ONE, |of| real(of, f64::exp_m1)),
    ("math.log", 1..=2, |of| match of {
        [_, base] => {
            let (number, base) = (real(of, f64::ln)?.real(), real(&[*base], f64::ln)?);
            super::value::divide(Float(number), base)
        }
        _ => real(of, f64::ln),
    }),
    ("math.log2", ONE, |of| real(of, f64::log2)),
    ("math.log10", ONE, |of| real(of, f64::log10)),
    ("math.log1p", ONE, |of| real(of, f64::ln_1p)),
    ("math.sqrt", ONE, |of| real(of, f64::sqrt)),
    ("math.pow", TWO, |of| {
        let (base, exponent) = (first(of).real(), second(of).real());
        real_of(base.powf(exponent), [base, exponent])
    }),
    ("math.sin", ONE, |of| real(of, f64::sin)),
    ("math.cos", ONE, |of| real(of, f64::cos)),
    ("math.tan", ONE, |of| real(of, f64::tan)),
    ("math.atan", ONE, |of| real(of, f64::atan)),
    ("math.sinh", ONE, |of| real(of, f64::sinh)),
    ("math.cosh", ONE, |of| real(of, f64::cosh)),
    ("math.tanh", ONE, |of| real(of, f64::tanh)),
    ("bool", ONE, |of| Ok(Int(i128::from(first(of).is_true())))),
];

/// Numbers that have a name.
pub(super) const CONSTANTS: [(&str, Value); 6] = [
    ("True", Int(1)),
    ("False", Int(0)),
    ("math.pi", Float(std::f64::consts::PI)),
    ("math.e", Float(std::f64::consts::E)),
    ("math.tau", Float(std::f64::consts::TAU)),
    ("math.inf", Float(f64::INFINITY)),
];

// Invariant of both: the parser calls no function with fewer numbers than its row says.
fn first(of: &[Value]) -> Value {
    of.first().copied().unwrap_or(Int(0))
}

fn second(of: &[Value]) -> Value {
    of.get(1).copied().unwrap_or(Int(0))
}

fn whole(of: &[Value], round: fn(f64) -> f64) -> Computed {
    match first(of) {
        Float(number) => Value::truncated(round(number)),
        whole => Ok(whole),
    }
}

fn real(of: &[Value], function: fn(f64) -> f64) -> Computed {
    let number = first(of).real();
    real_of(function(number), [number])
}

/// The first of those that none is beyond.
fn best(of: &[Value], beyond: Ordering) -> Value {
    let better = |best: Value, other: &Value| {
        if other.compare(best) == Some(beyond) { *other } else { best }
    };
    of.iter().skip(1).fold(first(of), better)
}
