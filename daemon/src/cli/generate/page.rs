//! A manual page in the language of man(7).

use roff::{Inline, Roff, bold, italic, roman};

/// A page that grows from its head on.
pub(super) struct Page(Roff);

impl Page {
    pub(super) fn new(name: &str, section: &str, what: &str) -> Page {
        let mut page = Page(Roff::new());
        let program = concat!("pillory ", env!("CARGO_PKG_VERSION"));
        // A blank for the date: pages of one version are the same whenever they are made.
        page.0.control("TH", [name.to_uppercase().as_str(), section, " ", program, "Pillory"]);
        // No hyphens, and no blanks to fill lines up: what stands there is often typed.
        page.0.control("nh", []).control("ad", ["l"]);
        page.heading("NAME").text(&format!("{name} - {what}"));
        page
    }

    pub(super) fn heading(&mut self, name: &str) -> &mut Page {
        self.0.control("SH", [name]);
        self
    }

    pub(super) fn subheading(&mut self, name: &str) -> &mut Page {
        self.0.control("SS", [name]);
        self
    }

    /// A paragraph; what stands between backticks is set in bold.
    pub(super) fn text(&mut self, text: &str) -> &mut Page {
        self.0.text(inlines(text));
        self
    }

    /// Another one.
    pub(super) fn paragraph(&mut self, text: &str) -> &mut Page {
        self.0.control("PP", []);
        self.text(text)
    }

    /// Something with its explanation.
    pub(super) fn item(&mut self, name: &str, values: &str, text: &str) -> &mut Page {
        let mut term = vec![bold(name)];
        if !values.is_empty() {
            term.extend([roman(" "), italic(values)]);
        }
        self.0.control("TP", []).text(term);
        self.text(text)
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
        self.0.control("RS", []);
        fill(self);
        self.0.control("RE", []);
        self
    }

    /// Lines as they are.
    pub(super) fn literal(&mut self, text: &str) -> &mut Page {
        self.0.control("PP", []).control("RS", ["4"]).control("nf", []);
        for line in text.lines() {
            match line {
                "" => self.0.control("sp", []),
                line => self.0.text([roman(line)]),
            };
        }
        self.0.control("fi", []).control("RE", []);
        self
    }

    pub(super) fn render(&self) -> String {
        self.0.render()
    }
}

fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
