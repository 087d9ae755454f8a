//! Long lines that are made to be slow: grown from lines that filters know, and from their expressions.

use std::collections::HashMap;

use pillory_core::filter::regex::tree::{Category, Class, ClassItem, Kind, Node};

/// The longest line that a source hands out.
pub const LONGEST: usize = 64 << 10;

/// Numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> Option<&'a T> {
        of.get(self.roll(of.len())).copied()
    }

    /// A length from 1 to 64 KiB; half of them are the longest.
    fn length(&mut self) -> usize {
        (1024 << self.roll(12).min(6)).min(LONGEST)
    }

    /// A piece of a text, mostly a short one.
    fn piece<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let start = self.roll(text.len());
        let most = [3, 12, 60, text.len()][self.roll(4)];
        &text[start..(start + 1 + self.roll(most)).min(text.len())]
    }
}

/// A known line with one of its parts said again and again, and some bytes changed.
pub fn from_line(line: &[u8], dice: &mut Dice) -> Vec<u8> {
    let length = dice.length();
    let at = dice.roll(line.len() + 1);
    let mut out = line[..at].to_vec();
    let piece = dice.piece(line).to_vec();
    while !piece.is_empty() && out.len() + line.len() < length {
        out.extend_from_slice(&piece);
        if dice.roll(40) == 0 {
            let other = dice.piece(line).to_vec();
            out.extend_from_slice(&other);
        }
    }
    out.extend_from_slice(&line[at..]);
    damage(&mut out, dice);
    out
}

/// Text that an expression likes for long, in front of what it likes not at all.
///
/// `before`: what stands in front, such as a date.
pub fn from_expression(root: &Node, before: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut growing = Growing { dice, groups: HashMap::new(), out: before.to_vec(), most: 0 };
    growing.most = growing.dice.length();
    while growing.out.len() < growing.most {
        let had = growing.out.len();
        growing.node(root);
        // Some are one long match, some are many.
        if growing.out.len() == had || growing.dice.roll(3) > 0 {
            break;
        }
    }
    let mut out = growing.out;
    damage(&mut out, dice);
    out
}

/// Changes a few bytes, or cuts the end off; a line has no newline.
fn damage(line: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.roll(3) {
        let at = dice.roll(line.len());
        if let Some(byte) = line.get_mut(at) {
            *byte = [b'a', b' ', b'1', b':', b'"', b'\\', b'<', b'[', 0xff, 0xc3][dice.roll(10)];
        }
    }
    if dice.roll(2) == 0 {
        line.truncate(line.len().saturating_sub(1 + dice.roll(9)));
    }
    if dice.roll(4) == 0 {
        line.push(b'!');
    }
    line.retain(|b| *b != b'\n');
    line.truncate(LONGEST);
}

struct Growing<'d> {
    dice: &'d mut Dice,
    /// What groups captured.
    groups: HashMap<u32, Vec<u8>>,
    out: Vec<u8>,
    most: usize,
}

impl Growing<'_> {
    fn node(&mut self, node: &Node) {
        if self.out.len() >= self.most {
            return;
        }
        match &node.kind {
            Kind::Literal { code, .. } => self.code(*code),
            Kind::Class(class) => self.class(class),
            Kind::Group { index, node } => {
                let start = self.out.len();
                self.node(node);
                self.groups.insert(*index, self.out[start..].to_vec());
            }
            Kind::Concat(parts) => parts.iter().for_each(|part| self.node(part)),
            Kind::Alternate(branches) => {
                let at = self.dice.roll(branches.len());
                self.node(&branches[at]);
            }
            Kind::Repeat { node, min, max, .. } => {
                let min = *min as usize;
                let most = max.map_or(LONGEST, |max| max as usize);
                let more = [0, 1, 3, LONGEST][self.dice.roll(4)];
                for _ in 0..(min + more).min(most) {
                    let had = self.out.len();
                    self.node(node);
                    if self.out.len() == had {
                        break;
                    }
                }
            }
            Kind::Backreference { group, .. } => {
                let text = self.groups.get(group).cloned().unwrap_or_default();
                self.out.extend_from_slice(&text);
            }
            Kind::Conditional { group, yes, no } => {
                let branch = if self.groups.contains_key(group) { yes } else { no };
                self.node(branch);
            }
            Kind::Atomic(node) => self.node(node),
            Kind::Empty | Kind::Anchor(_) | Kind::Look { .. } => {}
        }
    }

    fn code(&mut self, code: u32) {
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn class(&mut self, class: &Class) {
        const USUAL: [char; 16] =
            ['a', ' ', '1', '.', ':', 'x', '"', '(', ')', '[', ']', '\'', '-', '=', 'é', ';'];
        let start = self.dice.roll(USUAL.len());
        let mut usual = (0..USUAL.len()).map(|at| USUAL[(start + at) % USUAL.len()]);
        let c = usual.find(|c| class.items.iter().any(|item| holds(item, *c)) != class.negated);
        match (c, class.items.first()) {
            (Some(c), _) => self.code(c.into()),
            (None, Some(ClassItem::Range(first, _))) if !class.negated => self.code(*first),
            _ => self.code('~'.into()),
        }
    }
}

fn holds(item: &ClassItem, c: char) -> bool {
    match item {
        ClassItem::Range(first, last) => (*first..=*last).contains(&c.into()),
        ClassItem::Category { category, negated, .. } => {
            let is = match category {
                Category::Digit => c.is_ascii_digit(),
                Category::Word => c.is_alphanumeric() || c == '_',
                Category::Space => c.is_whitespace(),
            };
            is != *negated
        }
    }
}
