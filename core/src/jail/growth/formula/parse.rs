//! From the text of a formula to a tree, by Python's rules of precedence.

use std::cmp::Ordering;

use super::functions::{CONSTANTS, FUNCTIONS, Function};
use super::value::{self, Computed, Value};
use super::{FormulaError, MAX_CHARS, MAX_DEPTH};

/// Whether a comparison holds.
type Holds = fn(Option<Ordering>) -> bool;

/// A part of a formula.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Number(Value),
    Time,
    Count,
    Factor,
    Unary(Sign, Box<Node>),
    Binary(fn(Value, Value) -> Computed, Box<[Node; 2]>),
    /// `a < b <= c`: each pair must hold.
    Compare(Box<Node>, Vec<(Holds, Node)>),
    /// `and` and `or`: the left one if its truth is `until`, else the right one.
    Either {
        until: bool,
        both: Box<[Node; 2]>,
    },
    /// The value, the condition, the other value: in the order in which they are written.
    If(Box<[Node; 3]>),
    Call(Function, Vec<Node>),
}

/// A word of the language.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(Value),
    Name(String),
    Sign(&'static str),
}

/// The signs; the longer ones come first.
const SIGNS: [&str; 23] = [
    "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", ",", "~",
    "&", "|", "^", "=",
];

type Operator = (&'static str, fn(Value, Value) -> Computed);

/// Operators of two numbers that are read from the left, those that bind least first.
const LEVELS: [&[Operator]; 6] = [
    &[("|", value::bit_or)],
    &[("^", value::bit_xor)],
    &[("&", value::bit_and)],
    &[("<<", value::shift_left), (">>", value::shift_right)],
    &[("+", value::add), ("-", value::subtract)],
    &[("*", value::multiply), ("/", value::divide), ("//", value::floor_divide), ("%", value::modulo)],
];

type Sign = fn(Value) -> Computed;

const SIGNED: [(&str, Sign); 3] = [("-", value::negate), ("+", value::keep), ("~", value::invert)];

const COMPARISONS: [(&str, Holds); 6] = [
    ("<", |order| order == Some(Ordering::Less)),
    ("<=", |order| matches!(order, Some(Ordering::Less | Ordering::Equal))),
    (">", |order| order == Some(Ordering::Greater)),
    (">=", |order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
    ("==", |order| order == Some(Ordering::Equal)),
    ("!=", |order| order != Some(Ordering::Equal)),
];

const WORDS: &str =
    "write ban.Time, ban.Count, banFactor, numbers, and Python's operators, min, max and math functions";

/// Reads a whole formula.
pub(super) fn parse(text: &str) -> Result<Node, FormulaError> {
    let error = |column, what: String, cure| FormulaError { column, what, cure };
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > MAX_CHARS {
        return Err(error(MAX_CHARS + 1, format!("it has more than {MAX_CHARS} characters"), "write less"));
    }
    let mut parser = Parser { tokens: tokens(&chars)?, at: 0, depth: 0, end: chars.len() + 1 };
    let root = parser.expression()?;
    match parser.tokens.get(parser.at) {
        None => Ok(root),
        Some(_) => Err(parser.unexpected()),
    }
}

fn tokens(chars: &[char]) -> Result<Vec<(Token, usize, String)>, FormulaError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let rest = &chars[at..];
        let starts_number =
            c.is_ascii_digit() || (*c == '.' && rest.get(1).is_some_and(char::is_ascii_digit));
        let (token, len) = if starts_number {
            let len = number_len(rest);
            let shown: String = rest[..len].iter().collect();
            let wrong = || FormulaError {
                column: at + 1,
                what: format!("{shown:?} is no number"),
                cure: "write for example 60, 1.5 or 1e3",
            };
            (Token::Number(number(&shown).ok_or_else(wrong)?), len)
        } else if c.is_ascii_alphabetic() || *c == '_' {
            let is_part = |c: &&char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            let len = rest.iter().take_while(is_part).count();
            (Token::Name(rest[..len].iter().collect()), len)
        } else {
            let is_here = |sign: &&&str| sign.chars().eq(rest.iter().copied().take(sign.len()));
            let sign = SIGNS.iter().find(is_here).ok_or_else(|| FormulaError {
                column: at + 1,
                what: format!("\"{}\" is not understood", c.escape_default()),
                cure: WORDS,
            })?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push((token, at + 1, rest[..len].iter().collect()));
        at += len;
    }
    Ok(tokens)
}

/// How many characters belong to a number, or to what should be one.
fn number_len(rest: &[char]) -> usize {
    let mut len = 0;
    while let Some(c) = rest.get(len) {
        let is_exponent_sign =
            matches!(c, '+' | '-') && matches!(rest.get(len - 1), Some('e' | 'E')) && rest[1] != 'x';
        if !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || (len > 0 && is_exponent_sign)) {
            break;
        }
        len += 1;
    }
    len
}

/// A number as Python writes it; whole ones beyond 127 bits become fractions.
fn number(shown: &str) -> Option<Value> {
    let is_parted = shown
        .split('_')
        .all(|part| part.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) && !part.is_empty());
    let digits = shown.replace('_', "").to_ascii_lowercase();
    if !is_parted {
        return None;
    }
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return i128::from_str_radix(digits, base)
                .ok()
                .filter(|_| !digits.starts_with('+'))
                .map(Value::Int);
        }
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let has_zero = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0');
        let whole = digits.parse().map(Value::Int).or_else(|_| digits.parse().map(Value::Float));
        return whole.ok().filter(|_| !has_zero);
    }
    let is_fraction = digits.bytes().all(|b| b.is_ascii_digit() || b"e+-.".contains(&b));
    digits.parse().ok().filter(|_| is_fraction).map(Value::Float)
}

struct Parser {
    /// With the column and the text of each.
    tokens: Vec<(Token, usize, String)>,
    at: usize,
    depth: usize,
    /// The column behind the last character.
    end: usize,
}

type Parsed = Result<Node, FormulaError>;

impl Parser {
    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(_, column, _)| *column)
    }

    fn unexpected(&self) -> FormulaError {
        let what = match self.tokens.get(self.at) {
            Some((_, _, text)) => format!("\"{text}\" cannot stand here"),
            None => "the formula ends too early".to_owned(),
        };
        FormulaError { column: self.column(), what, cure: WORDS }
    }

    fn eats(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|(next, ..)| next == token);
        self.at += usize::from(is_next);
        is_next
    }

    fn eats_word(&mut self, word: &str) -> bool {
        self.eats(&Token::Name(word.to_owned()))
    }

    fn eats_sign(&mut self, sign: &'static str) -> bool {
        self.eats(&Token::Sign(sign))
    }

    fn wants(&mut self, is_there: bool) -> Result<(), FormulaError> {
        if is_there { Ok(()) } else { Err(self.unexpected()) }
    }

    /// One level deeper, as long as there may be one.
    fn deeper(&mut self, inner: impl FnOnce(&mut Parser) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("it nests more than {MAX_DEPTH} deep");
            return Err(FormulaError { column: self.column(), what, cure: "write it flatter" });
        }
        let node = inner(self);
        self.depth -= 1;
        node
    }

    /// `a if c else b`
    fn expression(&mut self) -> Parsed {
        self.deeper(|parser| {
            let then = parser.either(true)?;
            if !parser.eats_word("if") {
                return Ok(then);
            }
            let condition = parser.either(true)?;
            let has_else = parser.eats_word("else");
            parser.wants(has_else)?;
            let other = parser.expression()?;
            Ok(Node::If(Box::new([then, condition, other])))
        })
    }

    /// `or`, whose left side wins if it is true, and within it `and`, the other way round.
    fn either(&mut self, until: bool) -> Parsed {
        let side = |parser: &mut Parser| if until { parser.either(false) } else { parser.negation() };
        let mut node = side(self)?;
        while self.eats_word(if until { "or" } else { "and" }) {
            node = Node::Either { until, both: Box::new([node, side(self)?]) };
        }
        Ok(node)
    }

    fn negation(&mut self) -> Parsed {
        if self.eats_word("not") {
            return self.deeper(|parser| Ok(Node::Unary(value::not, Box::new(parser.negation()?))));
        }
        let first = self.binary(0)?;
        let mut others = Vec::new();
        while let Some((_, holds)) = COMPARISONS.into_iter().find(|(sign, _)| self.eats_sign(sign)) {
            others.push((holds, self.binary(0)?));
        }
        Ok(if others.is_empty() { first } else { Node::Compare(Box::new(first), others) })
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = LEVELS.get(level) else { return self.signed() };
        let mut node = self.binary(level + 1)?;
        while let Some((_, apply)) = operators.iter().find(|(sign, _)| self.eats_sign(sign)) {
            node = Node::Binary(*apply, Box::new([node, self.binary(level + 1)?]));
        }
        Ok(node)
    }

    fn signed(&mut self) -> Parsed {
        if let Some((_, apply)) = SIGNED.into_iter().find(|(sign, _)| self.eats_sign(sign)) {
            return self.deeper(|parser| Ok(Node::Unary(apply, Box::new(parser.signed()?))));
        }
        let base = self.atom()?;
        if !self.eats_sign("**") {
            return Ok(base);
        }
        self.deeper(|parser| Ok(Node::Binary(value::power, Box::new([base, parser.signed()?]))))
    }

    fn atom(&mut self) -> Parsed {
        if self.eats_sign("(") {
            let node = self.expression()?;
            let is_closed = self.eats_sign(")");
            self.wants(is_closed)?;
            return Ok(node);
        }
        let node = match self.tokens.get(self.at) {
            Some((Token::Number(value), ..)) => Node::Number(*value),
            Some((Token::Name(name), ..)) => match name.clone().as_str() {
                "ban.Time" => Node::Time,
                "ban.Count" => Node::Count,
                "banFactor" => Node::Factor,
                "if" | "else" | "and" | "or" => return Err(self.unexpected()),
                name => match CONSTANTS.iter().find(|(known, _)| *known == name) {
                    Some((_, value)) => Node::Number(*value),
                    None => return self.call(name),
                },
            },
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(node)
    }

    fn call(&mut self, name: &str) -> Parsed {
        let column = self.column();
        let error = |what, cure| FormulaError { column, what, cure };
        let Some((_, takes, function)) = FUNCTIONS.into_iter().find(|(known, ..)| *known == name) else {
            let cure = if name.starts_with("random") { "chance is added by rndtime" } else { WORDS };
            return Err(error(format!("\"{name}\" is not known"), cure));
        };
        self.at += 1;
        let is_call = self.eats_sign("(");
        self.wants(is_call)?;
        let mut arguments = Vec::new();
        while !self.eats_sign(")") {
            arguments.push(self.expression()?);
            if !self.eats_sign(",")
                && self.tokens.get(self.at).is_none_or(|(next, ..)| *next != Token::Sign(")"))
            {
                return Err(self.unexpected());
            }
        }
        if !takes.contains(&arguments.len()) {
            let what = format!("{name} cannot be called with {} numbers", arguments.len());
            return Err(error(what, "give it as many as Python's takes; min and max take two at least"));
        }
        Ok(Node::Call(function, arguments))
    }
}
