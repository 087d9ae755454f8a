//! The package's sample logs, read as its own test case reads them: lines, what is noted about them, and with which
//! options of the filter each is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Options of a filter; those of the test itself begin with `test.`.
pub type Opts = Map<String, Value>;

/// A line to judge.
pub struct Sample {
    /// `sshd:12`.
    pub place: String,
    pub line: String,
    /// What is noted: `match`, `host`, `time` ..; empty if nothing is, which means that it must not match.
    pub note: Map<String, Value>,
    /// With which options it is judged, in this order.
    pub options: Vec<Opts>,
}

/// Where the package keeps them.
pub fn logs(tools: &Path) -> PathBuf {
    tools.join("usr/lib/python3/dist-packages/fail2ban/tests/files/logs")
}

/// Filters that the package has samples for: the stock ones, and those of its own tests.
pub fn filters(tools: &Path) -> Vec<String> {
    let of = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.filter_map(|name| name.to_str()?.strip_suffix(".conf").map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    let mut names = of(tools.join("etc/fail2ban/filter.d"));
    names.retain(|name| !name.ends_with("common"));
    let own = of(tools.join("usr/lib/python3/dist-packages/fail2ban/tests/config/filter.d"));
    names.extend(own.into_iter().filter(|name| name.starts_with("zzz-")));
    names.sort();
    names
}

/// All lines for a filter, those of the files that its file adds included.
pub fn samples(tools: &Path, filter: &str) -> Vec<Sample> {
    let mut reader = Reader { filter, common: Opts::new(), options: Vec::new(), files: vec![filter.into()] };
    let mut samples = Vec::new();
    let mut next = 0;
    while let Some(name) = reader.files.get(next).cloned() {
        next += 1;
        let bytes = std::fs::read(logs(tools).join(&name)).unwrap();
        reader.read(&name, &String::from_utf8_lossy(&bytes), &mut samples);
    }
    samples
}

struct Reader<'a> {
    filter: &'a str,
    /// What `fileOptions` said; it holds for all files behind it.
    common: Opts,
    /// What `filterOptions` said last.
    options: Vec<Opts>,
    files: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, name: &str, text: &str, samples: &mut Vec<Sample>) {
        let mut left_out = false;
        let mut lines = text.split_terminator('\n').enumerate();
        while let Some((number, line)) = lines.next() {
            let mut sample = (number, line, Map::new());
            match directive(line) {
                Some(("fileOptions", value)) => {
                    self.common = object(value);
                    continue;
                }
                Some(("filterOptions", value)) => {
                    left_out = self.filter_options(value);
                    continue;
                }
                Some(("addFILE", value)) => {
                    self.files.push(value.as_str().unwrap().to_owned());
                    continue;
                }
                Some((_, note)) => {
                    let (number, line) = lines.next().unwrap();
                    sample = (number, line, object(note));
                }
                None if line.starts_with('#') || line.trim().is_empty() => continue,
                None => {}
            }
            if left_out {
                continue;
            }
            if self.options.is_empty() {
                self.options.push(Opts::new());
            }
            let (number, line, note) = sample;
            let constraint = note.get("constraint").and_then(Value::as_str);
            let holds = |opts: &&Opts| constraint.is_none_or(|condition| holds(condition, self.filter, opts));
            samples.push(Sample {
                place: format!("{name}:{}", number + 1),
                line: line.trim_end_matches(['\r', '\n']).to_owned(),
                options: self.options.iter().filter(holds).cloned().collect(),
                note,
            });
        }
    }

    /// Options for the lines that follow; true if these are left out.
    fn filter_options(&mut self, value: Value) -> bool {
        let several = match value {
            Value::Array(several) => several,
            one => vec![one],
        };
        self.options.clear();
        let mut left_out = false;
        for one in several {
            let mut opts = self.common.clone();
            opts.extend(object(one));
            if let Some(condition) = opts.get("test.condition").and_then(Value::as_str) {
                left_out = !holds(condition, self.filter, &opts);
            }
            if !left_out {
                self.options.push(opts);
            }
        }
        left_out
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("no object: {other}"),
    }
}

/// `# failJSON: {..}`, `# filterOptions: [..]` and so on.
fn directive(line: &str) -> Option<(&str, Value)> {
    let rest = line.strip_prefix('#')?.trim_start_matches('#');
    let (word, value) = rest.strip_prefix(' ').unwrap_or(rest).split_once(':')?;
    let known = ["failJSON", "fileOptions", "filterOptions", "addFILE"].contains(&word);
    known.then(|| (word, serde_json::from_str(value).unwrap()))
}

/// The two forms of conditions that the samples have: `name == 'x'` and `opts.get('mode') != 'x'`.
fn holds(condition: &str, filter: &str, opts: &Opts) -> bool {
    let (left, equal, right) = match (condition.split_once("=="), condition.split_once("!=")) {
        (Some((left, right)), None) => (left, true, right),
        (None, Some((left, right))) => (left, false, right),
        _ => panic!("a condition that is not understood: {condition}"),
    };
    let quoted =
        |text: &str| text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).map(str::to_owned);
    let key = left.trim().strip_prefix("opts.get(").and_then(|rest| rest.strip_suffix(')')).and_then(quoted);
    let value = match key {
        Some(key) => opts.get(&key).and_then(Value::as_str),
        None if left.trim() == "name" => Some(filter),
        None => panic!("a condition that is not understood: {condition}"),
    };
    (value == Some(quoted(right.trim()).unwrap().as_str())) == equal
}

/// The name of a filter with its options, as a jail gives them: `sshd[mode="ddos"]`.
pub fn named(filter: &str, opts: &Opts) -> String {
    let own: BTreeMap<&String, &Value> = opts.iter().filter(|(key, _)| !key.starts_with("test.")).collect();
    let own: Vec<String> =
        own.iter().map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap())).collect();
    if own.is_empty() { filter.to_owned() } else { format!("{filter}[{}]", own.join(",")) }
}
