//! The language of `bantime.formula` against Python itself: random expressions over random numbers.
//!
//! Without python3 there is nothing to compare with, and the test says so.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a test may run the program that it compares with")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use pillory_core::jail::growth::formula::{Formula, Value};
use serde_json::{Value as Json, json};

/// Computes each line's formula, and notes whether a whole number came up that a fraction cannot hold exactly.
const ORACLE: &str = r"
import ast, json, math, sys
class Ban: pass
class Watch(ast.NodeTransformer):
    def visit(self, node):
        self.generic_visit(node)
        if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Call)) and not getattr(node, 'watched', False):
            call = ast.Call(ast.Name('watch', ast.Load()), [node], [])
            call.watched = True
            return ast.copy_location(call, node)
        return node
large = False
def watch(value):
    global large
    if isinstance(value, complex):
        raise ValueError
    large = large or (isinstance(value, int) and abs(value) >= 2**53)
    return value
for line in sys.stdin:
    text, ban = json.loads(line), Ban()
    text, ban.Time, ban.Count, factor = text
    large = False
    try:
        tree = ast.fix_missing_locations(Watch().visit(ast.parse(text, mode='eval')))
        value = eval(compile(tree, 'formula', 'eval'), {'math': math, 'watch': watch, 'ban': ban, 'banFactor': factor})
        out = ['int', str(int(value))] if isinstance(value, int) else ['float', float(value).hex()]
    except SyntaxError:
        out = ['none', '']
    except (ArithmeticError, ValueError, TypeError):
        out = ['error', '']
    print(json.dumps(out + [large]))
";

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.roll(6) == 0 {
            return self
                .one(&[
                    "ban.Time",
                    "ban.Count",
                    "banFactor",
                    "0",
                    "1",
                    "2",
                    "3",
                    "7",
                    "20",
                    "1_000",
                    "0x1f",
                    "0b101",
                    "0o17",
                    "00",
                    "0.5",
                    "1.5",
                    "2.",
                    ".25",
                    "1e3",
                    "2.5e-1",
                    "1E+2",
                    "True",
                    "False",
                    "math.pi",
                    "math.e",
                    "math.inf",
                ])
                .to_owned();
        }
        let a = self.expression(depth - 1);
        let b = self.expression(depth - 1);
        match self.roll(13) {
            0..=3 => {
                let sign = self
                    .one(&["+", "-", "*", "/", "//", "%", "+", "*", " - ", "<", "<=", ">", ">=", "==", "!="]);
                format!("{a}{sign}{b}")
            }
            4 if self.roll(4) == 0 => format!("({a}) << min(20, {b})"),
            4 => format!("({a}) {} ({b})", self.one(&["&", "|", "^", ">>", "and", "or", "//", "%"])),
            5 => format!("{}({a})", self.one(&["-", "+", "~", "not ", "- -"])),
            // Python's own whole numbers would grow without end.
            6 => format!(
                "({a})**{}",
                self.one(&["2", "3", "-1", "0.5", "-0.5", "0", "min(ban.Count, 5)", "-2**2"])
            ),
            7 => format!("({a} if {b} else {})", self.expression(depth - 1)),
            8 => format!("{}({a}, {b})", self.one(&["min", "max", "pow", "math.pow", "math.log"])),
            9 => format!("({a} < {b} <= {})", self.expression(depth - 1)),
            10 | 11 => {
                let name = self.one(&[
                    "int",
                    "float",
                    "abs",
                    "round",
                    "bool",
                    "math.floor",
                    "math.ceil",
                    "math.trunc",
                    "math.fabs",
                    "math.exp",
                    "math.expm1",
                    "math.log",
                    "math.log2",
                    "math.log10",
                    "math.log1p",
                    "math.sqrt",
                    "math.sin",
                    "math.cos",
                    "math.tan",
                    "math.atan",
                    "math.sinh",
                    "math.cosh",
                    "math.tanh",
                ]);
                format!("{name}({a})")
            }
            _ => format!("({a})*({b})"),
        }
    }
}

/// `pow` of two large numbers would keep Python busy for ever.
fn is_harmless(text: &str) -> bool {
    !text.replace("math.pow(", "").contains("pow(") || text.len() < 40
}

fn ask(questions: &[Json]) -> Option<Vec<Json>> {
    let child =
        Command::new("python3").args(["-c", ORACLE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no python3 to compare with");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = questions.iter().map(ToString::to_string).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.join("\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    assert!(output.status.success(), "the oracle failed, see above");
    written.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn hex(text: &str) -> f64 {
    match text {
        "inf" => return f64::INFINITY,
        "-inf" => return f64::NEG_INFINITY,
        "nan" => return f64::NAN,
        _ => {}
    }
    let (sign, rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (digits, exponent) = rest.strip_prefix("0x").unwrap().split_once('p').unwrap();
    let (first, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa = u64::from_str_radix(&format!("{first}{fraction}"), 16).unwrap();
    let exponent = exponent.parse::<i32>().unwrap() - 4 * i32::try_from(fraction.len()).unwrap();
    // In two steps, for the smallest numbers.
    sign * mantissa as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}

fn is_near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

#[test]
fn formulas_give_what_python_gives() {
    let mut dice = Dice(11);
    let mut questions = Vec::new();
    while questions.len() < 40_000 {
        let depth = 1 + dice.roll(4);
        let text = dice.expression(depth);
        let time = [60, 600, 3_600, 86_400][dice.roll(4)];
        let factor = [json!(1), json!(2), json!(1.5), json!(24), json!(0.25)][dice.roll(5)].clone();
        if is_harmless(&text) && text.len() < 900 {
            questions.push(json!([text, time, dice.roll(25), factor]));
        }
    }
    let Some(answers) = ask(&questions) else { return };
    assert_eq!(questions.len(), answers.len());
    let (mut numbers, mut errors, mut refused, mut large) = (0, 0, 0, 0);
    for (question, answer) in questions.iter().zip(answers) {
        let formula = Formula::parse(question[0].as_str().unwrap());
        assert_eq!(formula.is_err(), answer[0] == "none", "{question}: {formula:?}");
        let Ok(formula) = formula else {
            refused += 1;
            continue;
        };
        let factor = question[3]
            .as_i64()
            .map_or(Value::Float(question[3].as_f64().unwrap()), |n| Value::Int(n.into()));
        let time = Value::Int(question[1].as_i64().unwrap().into());
        let ours = formula.compute(time, u32::try_from(question[2].as_u64().unwrap()).unwrap(), factor);
        if answer[2] == true {
            large += 1;
            continue;
        }
        let text = answer[1].as_str().unwrap();
        let same = match (answer[0].as_str().unwrap(), ours) {
            ("error", Err(_)) => {
                errors += 1;
                continue;
            }
            ("int", Ok(Value::Int(ours))) => text.parse() == Ok(ours),
            ("float", Ok(Value::Float(ours))) => is_near(ours, hex(text)),
            _ => false,
        };
        assert!(same, "{question}: Python {answer}, ours {ours:?}");
        numbers += 1;
    }
    let told = format!(
        "{numbers} numbers, {errors} errors and {refused} that are no formula alike, {large} beyond what fractions hold"
    );
    eprintln!("{told}");
    assert!(numbers > 25_000 && errors > 1_000 && refused > 100 && large < 6_000, "{told}");
}
