//! A manual page, in the language of man(7) and as a chapter of the book.

use roff::{Inline, Roff, bold, italic, roman};

/// A page that grows from its head on. In texts, what stands between backticks is typed so.
pub(super) struct Page {
    name: String,
    section: &'static str,
    what: &'static str,
    pieces: Vec<Piece>,
}

enum Piece {
    Heading(String),
    Subheading(String),
    Text(String),
    Paragraph(String),
    /// Something, what its values are called, and its explanation.
    Item(String, String, String),
    /// What stands between these stands further to the right.
    Right,
    Left,
    /// Lines as they are.
    Literal(String),
}

impl Page {
    pub(super) fn new(name: &str, section: &'static str, what: &'static str) -> Page {
        Page { name: name.to_owned(), section, what, pieces: Vec::new() }
    }

    fn add(&mut self, piece: Piece) -> &mut Page {
        self.pieces.push(piece);
        self
    }

    pub(super) fn heading(&mut self, name: &str) -> &mut Page {
        self.add(Piece::Heading(name.to_owned()))
    }

    pub(super) fn subheading(&mut self, name: &str) -> &mut Page {
        self.add(Piece::Subheading(name.to_owned()))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Page {
        self.add(Piece::Text(text.to_owned()))
    }

    /// Another paragraph.
    pub(super) fn paragraph(&mut self, text: &str) -> &mut Page {
        self.add(Piece::Paragraph(text.to_owned()))
    }

    /// Something with its explanation.
    pub(super) fn item(&mut self, name: &str, values: &str, text: &str) -> &mut Page {
        self.add(Piece::Item(name.to_owned(), values.to_owned(), text.to_owned()))
    }

    /// The same for each row.
    pub(super) fn items<'r>(&mut self, rows: impl IntoIterator<Item = &'r (&'r str, &'r str)>) -> &mut Page {
        for (name, text) in rows {
            self.item(name, "", text);
        }
        self
    }

    /// What `fill` adds stands further to the right.
    pub(super) fn indented(&mut self, fill: impl FnOnce(&mut Page)) -> &mut Page {
        self.add(Piece::Right);
        fill(self);
        self.add(Piece::Left)
    }

    /// Lines as they are.
    pub(super) fn literal(&mut self, text: &str) -> &mut Page {
        self.add(Piece::Literal(text.to_owned()))
    }

    /// In the language of man(7).
    pub(super) fn roff(&self) -> String {
        let mut page = Roff::new();
        let program = concat!("pillory ", env!("CARGO_PKG_VERSION"));
        // A blank for the date: pages of one version are the same whenever they are made.
        page.control("TH", [self.name.to_uppercase().as_str(), self.section, " ", program, "Pillory"]);
        // No hyphens, and no blanks to fill lines up: what stands there is often typed.
        page.control("nh", []).control("ad", ["l"]);
        page.control("SH", ["NAME"]).text(inlines(&format!("{} - {}", self.name, self.what)));
        for piece in &self.pieces {
            match piece {
                Piece::Heading(name) => page.control("SH", [name.as_str()]),
                Piece::Subheading(name) => page.control("SS", [name.as_str()]),
                Piece::Text(text) => page.text(inlines(text)),
                Piece::Paragraph(text) => page.control("PP", []).text(inlines(text)),
                Piece::Item(name, values, text) => {
                    let mut term = vec![bold(name)];
                    if !values.is_empty() {
                        term.extend([roman(" "), italic(values)]);
                    }
                    page.control("TP", []).text(term).text(inlines(text))
                }
                Piece::Right => page.control("RS", []),
                Piece::Left => page.control("RE", []),
                Piece::Literal(text) => literal(&mut page, text),
            };
        }
        page.render()
    }

    /// As a chapter of the book.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# {}({})\n\nThe manual page: {}.\n`pillory generate` makes it, and this chapter, of the tables that the parsers read.\n",
            self.name, self.section, self.what
        );
        let mut depth = 0;
        let mut follows_item = false;
        for piece in &self.pieces {
            let is_item = matches!(piece, Piece::Item(..));
            let gap = if is_item && follows_item { "" } else { "\n" };
            match piece {
                Piece::Heading(name) => text.push_str(&format!("\n## {}\n", plain(&sentence(name)))),
                Piece::Subheading(name) => text.push_str(&format!("\n### {}\n", plain(name))),
                Piece::Text(words) | Piece::Paragraph(words) => {
                    if !words.is_empty() {
                        text.push_str(&format!("\n{}\n", spans(words)));
                    }
                }
                Piece::Item(name, values, words) => {
                    let term = format!("{name} {values}");
                    let colon = if words.is_empty() { "" } else { ": " };
                    let lead = "  ".repeat(depth);
                    text.push_str(&format!("{gap}{lead}- `{}`{colon}{}\n", term.trim(), spans(words)));
                }
                Piece::Right => depth += 1,
                Piece::Left => depth -= 1,
                Piece::Literal(lines) => text.push_str(&format!("\n```text\n{lines}\n```\n")),
            }
            follows_item = match piece {
                Piece::Right | Piece::Left => follows_item,
                _ => is_item,
            };
        }
        text
    }
}

fn literal<'r>(page: &'r mut Roff, text: &str) -> &'r mut Roff {
    page.control("PP", []).control("RS", ["4"]).control("nf", []);
    for line in text.lines() {
        match line {
            "" => page.control("sp", []),
            line => page.text([roman(line)]),
        };
    }
    page.control("fi", []).control("RE", [])
}

/// A text in pieces: as it is, and in every second one what is typed.
fn parts(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.split('`').enumerate().map(|(at, part)| (at % 2 == 1, part)).filter(|(_, part)| !part.is_empty())
}

fn inlines(text: &str) -> Vec<Inline> {
    parts(text).map(|(is_typed, part)| if is_typed { bold(part) } else { roman(part) }).collect()
}

fn spans(text: &str) -> String {
    parts(text).map(|(is_typed, part)| if is_typed { format!("`{part}`") } else { plain(part) }).collect()
}

/// A text in which nothing is a sign of Markdown.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if matches!(c, '<' | '>' | '[' | ']' | '*' | '_' | '\\' | '|' | '#') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// `KEYS OF A JAIL` as a heading of the book.
fn sentence(heading: &str) -> String {
    let (first, rest) = heading.split_at(heading.len().min(1));
    format!("{first}{}", rest.to_lowercase())
}
