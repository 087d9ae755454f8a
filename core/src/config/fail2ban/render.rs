//! From an action's command to what a shell may run: tags filled in, foreign text kept out of the script.
//!
//! Two steps, as in fail2ban. [`expand`] fills in the action's own properties, again and again, because the operator
//! wrote them. [`render`] fills in what a ban brings (address, matched lines, captures) once, and whatever a shell
//! could take for more than text is handed over as an argument and stands in the script as a variable's name.
//! As in fail2ban, a value that a command leaves outside quotes may still become several words, or one that begins
//! with a dash: quoting is the command's business.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::filter::settings::tags::{self, Fill};
use crate::filter::settings::{MAX_TAG_ROUNDS, MAX_VALUE_BYTES, Options, TextProblem, Work};

/// A script for `sh -c`, with its arguments from `$0` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellCommand {
    /// The script; holds no foreign text but harmless characters.
    pub script: String,
    /// Values of `$0`, `$1` and so on.
    pub arguments: Vec<String>,
}

/// Tags whose values are log lines: never filled in with properties unescaped.
pub(super) const ESCAPED: [&str; 3] = ["matches", "ipmatches", "ipjailmatches"];

/// Fills an action's properties into a command; tags that they do not have stay for [`render`].
///
/// `family`: `inet4` or `inet6`; properties for that family come first. `hosts`: other tags of this host, such as
/// `fq-hostname`. `<br>` is a line end and `<sp>` a blank.
/// # Errors
/// [`TextProblem::Endless`] for properties that refer to themselves.
pub fn expand(
    command: &str,
    properties: &Options,
    family: Option<&str>,
    hosts: &Options,
) -> Result<String, TextProblem> {
    let mut work = Work::default();
    let condition = family.map(|family| format!("family={family}"));
    let ignore: BTreeSet<String> = ESCAPED.iter().map(|name| (*name).to_owned()).collect();
    let mut how = Fill { ignore: &ignore, condition: condition.as_deref(), more: &mut |_, _| Ok(None) };
    let properties = tags::fill(properties, &mut how, &mut work)?;
    let value = |tag: &str| {
        let own = condition.as_ref().and_then(|condition| properties.get(&format!("{tag}?{condition}")));
        let own = own.or_else(|| properties.get(tag))?;
        Some(if ESCAPED.contains(&tag) { escape(own) } else { own.clone() })
    };
    let mut command = command.to_owned();
    for _ in 0..=MAX_TAG_ROUNDS {
        let next =
            substitute(&command, |tag| value(tag).or_else(|| hosts.get(tag).cloned()).or_else(|| blank(tag)));
        if next.len() > MAX_VALUE_BYTES {
            break;
        }
        if next == command || !next.contains('<') {
            return Ok(next);
        }
        command = next;
    }
    Err(TextProblem::Endless(command.chars().take(40).collect()))
}

/// Fills what a ban brings into a command from [`expand`], each tag once.
///
/// `tags`: `ip`, `family`, `failures`, `matches` and so on; a tag that is not there stays. `captures`: what the
/// filter captured, by the names of its groups (`user` for `<F-USER>`); a capture that is not there is empty.
pub fn render(command: &str, tags: &Options, captures: &Options) -> ShellCommand {
    let mut variables = Variables::default();
    let filled = substitute(command, |tag| match tags.get(tag) {
        Some(value) => Some(variables.value(tag, value)),
        None => blank(tag),
    });
    let filled = substitute(&filled, |tag| {
        let name = tag.strip_prefix("F-").filter(|name| is_capture(name))?.to_lowercase();
        let name = match name.as_str() {
            "id" => "fid",
            "port" => "fport",
            other => other,
        };
        let value = captures.get(name).or_else(|| captures.get(&name.replace('-', "_")));
        Some(value.map_or_else(String::new, |value| variables.value(&format!("F_{name}"), value)))
    });
    variables.command(filled)
}

fn is_capture(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    !name.is_empty() && name.bytes().all(fits)
}

fn blank(tag: &str) -> Option<String> {
    match tag {
        "br" => Some("\n".to_owned()),
        "sp" => Some(" ".to_owned()),
        _ => None,
    }
}

/// Replaces every tag that `value` knows, once.
fn substitute(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut from = 0;
    while let Some((start, tag, end)) = tags::next(text, from) {
        if let Some(value) = value(tag) {
            out.push_str(&text[copied..start]);
            // A variable's name must not run on into the text behind it.
            let runs_on = value.starts_with(VARIABLE)
                && text[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            match value.strip_prefix('$').filter(|_| runs_on) {
                Some(name) => {
                    let _ = write!(out, "${{{name}}}");
                }
                None => out.push_str(&value),
            }
            copied = end;
        }
        from = end;
    }
    out.push_str(&text[copied..]);
    out
}

const VARIABLE: &str = "$f2bV_";

/// Values that a shell must not read as script.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    /// The value itself if it is harmless, else the variable that holds it.
    fn value(&mut self, tag: &str, value: &str) -> String {
        let is_harmless = |c: char| !is_special(c) && (!c.is_control() || c == '\t');
        if value.chars().all(is_harmless) {
            return value.to_owned();
        }
        let name: String = tag.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let variable = format!("{}{name}", &VARIABLE[1..]);
        // No argument of a program can hold a NUL.
        let value = value.replace('\0', "");
        match self.0.iter_mut().find(|(known, _)| *known == variable) {
            Some((_, known)) => *known = value,
            None => self.0.push((variable.clone(), value)),
        }
        format!("${variable}")
    }

    fn command(self, script: String) -> ShellCommand {
        if self.0.is_empty() {
            return ShellCommand { script, arguments: Vec::new() };
        }
        let mut head = String::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            // $10 would be $1 and a zero.
            let _ = if index < 10 {
                write!(head, "{name}=${index} ")
            } else {
                write!(head, "{name}=${{{index}}} ")
            };
        }
        let arguments = self.0.into_iter().map(|(_, value)| value).collect();
        ShellCommand { script: format!("{head}\n{script}"), arguments }
    }
}

/// Characters that mean something to a shell.
fn is_special(c: char) -> bool {
    matches!(
        c,
        '\\' | '#'
            | '&'
            | ';'
            | '`'
            | '|'
            | '*'
            | '?'
            | '~'
            | '<'
            | '>'
            | '^'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '$'
            | '\''
            | '"'
            | '\n'
            | '\r'
    )
}

/// A backslash before every character that means something to a shell; line ends become `\n` and `\r`.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if is_special(c) {
            out.push('\\');
        }
        out.push(match c {
            '\n' => 'n',
            '\r' => 'r',
            other => other,
        });
    }
    out
}
