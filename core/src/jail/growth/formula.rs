//! `bantime.formula`: how long a repeated ban lasts, as an expression in Python's words.
//!
//! fail2ban hands the text to Python, which may do anything. Here it is a small language without loops, names of its
//! own or effects, parsed once and evaluated as a pure function of three numbers:
//!
//! | word | is |
//! |---|---|
//! | `ban.Time` | seconds of a first ban |
//! | `ban.Count` | how many bans there were before |
//! | `banFactor` | `factor`, 1 if it is not said |
//! | `+ - * / // % **`, `<< >> & \| ^ ~` | as in Python: `/` gives a fraction, `//` and `%` round down |
//! | `< <= > >= == !=`, `and or not`, `a if c else b` | as in Python, chains of comparisons included |
//! | `int float abs min max round pow` | as in Python; `round` of one number, `min` and `max` of two or more |
//! | `math.exp`, `math.log`, `math.sqrt` .. | the functions of one number, `math.log` and `math.pow` of two; `math.pi`, `math.e`, `math.inf` |
//!
//! Whole numbers are exact up to 127 bits and go on as fractions beyond, at last as infinity; Python's never end. An
//! expression is at most [`MAX_CHARS`] long and [`MAX_DEPTH`] deep, and what it gives is cut by whoever uses it.
//! Source: the behaviour of fail2ban 1.0.2 and of Python 3; `core/tests/growth.rs` compares.

mod functions;
mod parse;
mod value;

use parse::Node;
pub use value::Value;

/// As many characters as a formula may have; those that are in use have less than a tenth.
pub const MAX_CHARS: usize = 1_000;

/// As deep as it may nest.
pub const MAX_DEPTH: usize = 40;

/// A formula that is ready to be computed.
#[derive(Debug, Clone)]
pub struct Formula {
    text: String,
    root: Node,
}

/// Two formulas are the same if they are written alike.
impl PartialEq for Formula {
    fn eq(&self, other: &Formula) -> bool {
        self.text == other.text
    }
}

/// Why a text is no formula.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}; {cure}")]
pub struct FormulaError {
    /// Which character, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
    /// What to do.
    pub cure: &'static str,
}

/// Why a formula gives nothing for some numbers, where Python raises an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undefined(pub &'static str);

impl Formula {
    /// Reads a formula.
    /// # Errors
    /// [`FormulaError`] with its column.
    pub fn parse(text: &str) -> Result<Formula, FormulaError> {
        Ok(Formula { text: text.to_owned(), root: parse::parse(text)? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Computes it. `time`: seconds of a first ban; `count`: earlier bans.
    /// # Errors
    /// [`Undefined`] where Python raises an error: a division by zero, the logarithm of nothing.
    pub fn compute(&self, time: Value, count: u32, factor: Value) -> Result<Value, Undefined> {
        evaluate(&self.root, &Ban { time, count, factor })
    }
}

struct Ban {
    time: Value,
    count: u32,
    factor: Value,
}

fn evaluate(node: &Node, ban: &Ban) -> Result<Value, Undefined> {
    match node {
        Node::Number(value) => Ok(*value),
        Node::Time => Ok(ban.time),
        Node::Count => Ok(Value::Int(ban.count.into())),
        Node::Factor => Ok(ban.factor),
        Node::Unary(apply, of) => apply(evaluate(of, ban)?),
        Node::Binary(apply, both) => {
            let [left, right] = &**both;
            apply(evaluate(left, ban)?, evaluate(right, ban)?)
        }
        Node::Compare(first, others) => {
            let mut left = evaluate(first, ban)?;
            for (holds, other) in others {
                let right = evaluate(other, ban)?;
                if !holds(left.compare(right)) {
                    return Ok(Value::Int(0));
                }
                left = right;
            }
            Ok(Value::Int(1))
        }
        Node::Either { until, both } => {
            let [left, right] = &**both;
            let left = evaluate(left, ban)?;
            if left.is_true() == *until { Ok(left) } else { evaluate(right, ban) }
        }
        Node::If(parts) => {
            let [then, condition, other] = &**parts;
            evaluate(if evaluate(condition, ban)?.is_true() { then } else { other }, ban)
        }
        Node::Call(function, arguments) => {
            let values: Result<Vec<Value>, Undefined> =
                arguments.iter().map(|argument| evaluate(argument, ban)).collect();
            function(&values?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What formulas are made of, and what they are not.
    const PIECES: [&str; 40] = [
        "ban.Time",
        "ban.Count",
        "banFactor",
        "0",
        "1",
        "7",
        "1e308",
        "0x7fffffffffffffffffffffffffffffff",
        "1_0",
        ".5",
        "1.",
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "<<",
        ">>",
        "&",
        "|",
        "^",
        "~",
        "(",
        ")",
        ",",
        "<",
        ">=",
        "==",
        " if ",
        " else ",
        " and ",
        " not ",
        "min(",
        "int(",
        "math.exp(",
        "math.inf",
        "é",
        "e+",
    ];

    proptest! {
        #[test]
        fn no_text_and_no_number_is_too_much(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..14),
            time in prop_oneof![any::<u32>().prop_map(f64::from), any::<f64>()],
            count in any::<u32>(),
            factor in any::<f64>(),
        ) {
            if let Ok(formula) = Formula::parse(&pieces.concat()) {
                let _ = formula.compute(time.into(), count, factor.into());
            }
        }
    }

    fn computed(text: &str, count: u32) -> Result<Value, Undefined> {
        Formula::parse(text).unwrap().compute(Value::Int(600), count, Value::Int(2))
    }

    #[test]
    fn the_formulas_of_fail2bans_manual_are_computed() {
        let doubling = "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor";
        assert_eq!(computed(doubling, 3), Ok(Value::Int(9_600)));
        assert_eq!(computed(doubling, 99), Ok(Value::Int(600 * (1 << 20) * 2)));
        let Ok(Value::Float(grown)) =
            computed("ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)", 2)
        else {
            panic!("a fraction is expected")
        };
        assert!((grown - 600.0 * 4f64.exp()).abs() < 1e-6, "{grown}");
    }

    #[test]
    fn errors_point_at_the_column() {
        for (text, column, what) in [
            ("", 1, "ends"),
            ("ban.Time *", 11, "ends"),
            ("ban.Time * ban.Number", 12, "ban.Number"),
            ("__import__(1)", 1, "__import__"),
            ("open('x')", 6, "not understood"),
            ("ban.Time ; 1", 10, "\";\""),
            ("(ban.Time", 10, "ends"),
            ("ban.Time)", 9, "\")\""),
            ("math.exp()", 1, "math.exp"),
            ("min(1)", 1, "min"),
            ("1 if 2", 7, "ends"),
            ("1 < 2 3", 7, "\"3\""),
            ("random.random()", 1, "random.random"),
            ("007", 1, "007"),
            ("1e999 + 0x", 9, "0x"),
            ("ban.Time = 1", 10, "\"=\""),
            ("é", 1, "u{e9}"),
        ] {
            let error = Formula::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let long = format!("1{}", "+1".repeat(MAX_CHARS));
        let deep = format!("{}1{}", "(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1));
        for text in
            [long, deep, "-".repeat(900) + "1", "2**".repeat(300) + "2", "1 if 1 else ".repeat(70) + "1"]
        {
            assert!(Formula::parse(&text).is_err(), "{text}");
        }
        assert_eq!(computed(&format!("1{}", "+1".repeat(499)), 0), Ok(Value::Int(500)));
    }

    #[test]
    fn what_python_refuses_is_undefined() {
        for text in
            ["1/0", "1 % 0", "0 ** -1", "math.log(0)", "(-8) ** 0.5", "1 << -1", "1.5 << 1", "int(math.inf)"]
        {
            assert!(computed(text, 0).is_err(), "{text}");
        }
        // Python carries on with more digits than anybody needs.
        assert_eq!(computed("min(2 ** 9999, 7)", 0), Ok(Value::Int(7)));
    }
}
