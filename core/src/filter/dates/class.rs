//! What a backslash or a bracket begins: escapes and classes.

use super::parse::{BACKREFERENCE, Parse, Parser};
use super::tokens::BOUND;
use super::tree::{Node, push_byte};

impl Parser<'_> {
    /// What stands behind a backslash.
    pub(super) fn escape(&mut self) -> Parse<Node> {
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(self.syntax("a backslash at the end", "write \\\\ for a backslash"));
        };
        let assertion = match c {
            'b' => Some(r"\b"),
            'B' => Some(r"\B"),
            'A' => Some(r"\A"),
            'Z' => Some(r"\z"),
            _ => None,
        };
        if let Some(text) = assertion {
            return Ok(self.fixed(text));
        }
        if let Some(class) = shorthand(c) {
            return Ok(self.fixed(&format!("[{class}]")));
        }
        if c.is_ascii_digit() && c != '0' {
            return Err(self.error(BACKREFERENCE));
        }
        Ok(Node::OneOf(vec![self.escaped_char()?]))
    }

    /// The character that stands behind a backslash.
    fn escaped_char(&mut self) -> Parse<char> {
        let Some(c) = self.peek() else {
            return Err(self.syntax("a backslash at the end", "write \\\\ for a backslash"));
        };
        self.at += 1;
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            '0' => '\0',
            'x' => {
                let digits: String = (self.at..self.at + 2).filter_map(|at| self.tokens.get(at)).collect();
                let value = u8::from_str_radix(&digits, 16).ok().filter(u8::is_ascii);
                let Some(value) = value else {
                    return Err(self.unsupported("this \\x escape", "two digits of a character in ASCII are"));
                };
                self.at += 2;
                char::from(value)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            _ => {
                self.at -= 1;
                return Err(self.unsupported("this escape", "write the character itself"));
            }
        })
    }

    /// `[a-z]`.
    pub(super) fn class(&mut self) -> Parse<Node> {
        let start = self.at;
        self.at += 1;
        let negated = self.eat("^");
        let (mut singles, mut text, mut is_simple) = (Vec::new(), String::new(), !negated);
        let first = self.at;
        loop {
            let Some(c) = self.peek().filter(|c| *c != BOUND) else {
                self.at = start;
                return Err(self.syntax("this class is never closed", "add the missing \"]\", or write \\["));
            };
            if c == ']' && self.at > first {
                self.at += 1;
                break;
            }
            if c == '\\'
                && let Some(class) = self.tokens.get(self.at + 1).and_then(shorthand)
            {
                self.at += 2;
                is_simple = false;
                text.push_str(&format!("[{class}]"));
                continue;
            }
            let low = self.class_char()?;
            push_byte(&mut text, low);
            match self.range_end(low)? {
                Some(high) => {
                    text.push('-');
                    push_byte(&mut text, high);
                    is_simple = false;
                }
                None => singles.push(low),
            }
        }
        if is_simple {
            return Ok(Node::OneOf(singles));
        }
        Ok(Node::Text(if negated { format!("[^{text}]") } else { format!("[{text}]") }))
    }

    /// The other end of a range such as `a-z`, if `low` begins one.
    fn range_end(&mut self, low: char) -> Parse<Option<char>> {
        if self.peek() != Some('-') || self.tokens.get(self.at + 1).is_none_or(|c| c == ']') {
            return Ok(None);
        }
        self.at += 1;
        let high = self.class_char()?;
        if high < low {
            return Err(self.syntax("a range runs backwards", "write the lower character first"));
        }
        Ok(Some(high))
    }

    fn class_char(&mut self) -> Parse<char> {
        match self.peek() {
            Some('\\') => {
                self.at += 1;
                if self.peek() == Some('b') {
                    self.at += 1;
                    return Ok('\x08');
                }
                self.escaped_char()
            }
            Some(c) if c.is_ascii() => {
                self.at += 1;
                Ok(c)
            }
            _ => Err(self.unsupported("a character beyond ASCII", "write . for it, or \\w for a letter")),
        }
    }
}

/// The inside of a class; blanks are what Python calls so.
fn shorthand(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "^0-9",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        's' => r"\t-\r\x1c-\x20",
        'S' => r"^\t-\r\x1c-\x20",
        _ => return None,
    })
}
