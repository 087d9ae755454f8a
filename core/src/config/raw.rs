//! The first step: what a configuration file says, with line numbers and without meaning.

use toml::de::{DeTable, DeValue};

use super::Problem;

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, or a number as it was written.
    Text(String),
    /// True or false.
    Bool(bool),
    /// Several values.
    List(Vec<Value>),
    /// Names with values.
    Table(Vec<(String, Value)>),
}

/// One key with its value and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The jail in whose section it stands; nothing for the top.
    pub jail: Option<String>,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Its line.
    pub line: usize,
}

/// A file, read but not understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawConfig {
    /// The file's name, for messages.
    pub file: String,
    /// Its entries in order.
    pub entries: Vec<Entry>,
    /// Names of the jails that have a section, with its line, even an empty one.
    pub jails: Vec<(String, usize)>,
}

impl RawConfig {
    /// The line of a key in a jail's section, or at the top; nothing if it is not there.
    pub fn line_of(&self, jail: Option<&str>, key: &str) -> Option<usize> {
        let is_it = |entry: &&Entry| entry.jail.as_deref() == jail && entry.key == key;
        self.entries.iter().find(is_it).map(|entry| entry.line)
    }
}

/// At most so many places that are no TOML are named: the first tells most, and garbage has thousands.
const MAX_NAMED: usize = 20;

/// Reads a pillory.toml.
/// # Errors
/// [`Problem`]s if the text is no TOML, with their lines; the last says how many more there are.
pub fn parse(file: &str, text: &str) -> Result<RawConfig, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            file: file.to_owned(),
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            jail: None,
            what: error.message().to_owned(),
            cure: cure(error.message()).to_owned(),
        };
        let mut problems: Vec<Problem> = errors.iter().take(MAX_NAMED).map(problem).collect();
        if errors.len() > MAX_NAMED {
            problems.push(Problem {
                file: file.to_owned(),
                line: 0,
                jail: None,
                what: format!("and {} more places that are no TOML", errors.len() - MAX_NAMED),
                cure: "see whether it is the right file".to_owned(),
            });
        }
        return Err(problems);
    }
    let mut raw = RawConfig { file: file.to_owned(), ..RawConfig::default() };
    for (key, value) in table.get_ref() {
        let line = line_of(text, key.span().start);
        match value.get_ref() {
            DeValue::Table(jails) if key.get_ref() == "jail" => read_jails(text, jails, &mut raw),
            value => raw.entries.push(Entry {
                jail: None,
                key: key.get_ref().to_string(),
                value: read(value),
                line,
            }),
        }
    }
    // The parser's tables are sorted by key; people read from the top.
    raw.entries.sort_by_key(|entry| entry.line);
    Ok(raw)
}

/// Expressions are full of backslashes, and double quotes are what comes to mind.
fn cure(what: &str) -> &'static str {
    match what.contains("escape") {
        true => "in double quotes a backslash begins an escape: use single quotes, as in failregex = ['..']",
        false => "write it as TOML",
    }
}

fn read_jails(text: &str, jails: &DeTable<'_>, raw: &mut RawConfig) {
    for (name, jail) in jails {
        let name_text = name.get_ref().to_string();
        let line = line_of(text, name.span().start);
        raw.jails.push((name_text.clone(), line));
        let DeValue::Table(keys) = jail.get_ref() else {
            raw.entries.push(Entry {
                jail: None,
                key: format!("jail.{name_text}"),
                value: read(jail.get_ref()),
                line,
            });
            continue;
        };
        for (key, value) in keys {
            raw.entries.push(Entry {
                jail: Some(name_text.clone()),
                key: key.get_ref().to_string(),
                value: read(value.get_ref()),
                line: line_of(text, key.span().start),
            });
        }
    }
}

fn read(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Datetime(stamp) => Value::Text(stamp.to_string()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Array(values) => Value::List(values.iter().map(|value| read(value.get_ref())).collect()),
        DeValue::Table(table) => Value::Table(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), read(value.get_ref()))).collect(),
        ),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
