//! The peer, a directory for both, and the comparison.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use pillory_core::config::fail2ban::{self, F2bAction, F2bJail, Fail2ban, Files, Kind, ReadOptions, UseDns};
use pillory_core::net::Prefix;
use pillory_core::time::BanTime;
use serde_json::{Map, Value, json};

/// `target/tools`, if fail2ban is there; says so if not.
pub fn tools() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let is_there =
        tools.join("usr/lib/python3/dist-packages/fail2ban").exists() && tools.join("etc/fail2ban").exists();
    if !is_there {
        eprintln!("skipped: {} has no fail2ban; scripts/fetch-test-tools.sh fetches it", tools.display());
    }
    let has_python =
        Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if is_there && !has_python {
        eprintln!("skipped: there is no python3 to run fail2ban");
    }
    (is_there && has_python).then_some(tools)
}

/// Python with fail2ban on its path.
pub fn python(tools: &Path, script: &str, arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new("python3")
        .arg("-c")
        .arg(script)
        .args(arguments)
        .env("PYTHONPATH", tools.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peer failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder that is removed in the end.
pub struct Folder(pub PathBuf);

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Folder {
    /// A copy of fail2ban's own directory, with more files.
    pub fn stock(tools: &Path, files: &[(&str, &str)]) -> Folder {
        let folder = Folder::with(&[]);
        copy(&tools.join("etc/fail2ban"), &folder.0);
        folder.write(files);
        folder
    }

    pub fn with(files: &[(&str, &str)]) -> Folder {
        let name =
            format!("pillory-fail2ban-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder.write(files);
        folder
    }

    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    pub fn base(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn read(&self) -> Fail2ban {
        fail2ban::read(&Disk, self.base(), &ReadOptions::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Files of this host.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
        Ok(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    }
}

/// What the peer makes of a folder: `{"server": {..}, "jails": {name: {..}}}`.
pub fn ask(tools: &Path, folder: &Folder) -> Value {
    serde_json::from_str(&python(tools, include_str!("oracle.py"), &[folder.base()], "")).unwrap()
}

/// Reads a folder both ways and compares. Gives ours, and how many values were compared.
pub fn compare(tools: &Path, folder: &Folder) -> (Fail2ban, usize) {
    let theirs = ask(tools, folder);
    let ours = folder.read();
    let mut expected: Map<String, Value> = theirs["jails"].as_object().unwrap().clone();
    let mut differences = Vec::new();
    let mut compared = 0;
    for jail in &ours.jails {
        let Some(theirs) = expected.remove(jail.name.as_str()) else {
            differences.push(format!("{}: only we have it", jail.name));
            continue;
        };
        let mine = shown(jail);
        let mut theirs = theirs.as_object().unwrap().clone();
        prepare(&mut theirs);
        let keys: std::collections::BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        for key in keys {
            let (mine, theirs) =
                (mine.get(key).unwrap_or(&Value::Null), theirs.get(key).unwrap_or(&Value::Null));
            compared += count(theirs);
            if mine != theirs {
                differences.push(format!("{} {key}:\n  ours   {mine}\n  theirs {theirs}", jail.name));
            }
        }
    }
    differences.extend(expected.keys().map(|name| format!("{name}: only they have it")));
    assert!(differences.is_empty(), "{}\nproblems: {:#?}", differences.join("\n"), ours.problems);
    (ours, compared)
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(items) => items.values().map(count).sum(),
        _ => 1,
    }
}

/// The peer's values in the form of ours.
fn prepare(theirs: &mut Map<String, Value>) {
    for key in ["bantime.increment", "bantime.overalljails", "ignoreself"] {
        theirs.entry(key).or_insert(Value::Bool(key == "ignoreself"));
    }
    for (key, default) in [("maxretry", 3), ("maxmatches", 5), ("bantime", 600), ("findtime", 600)] {
        theirs.entry(key).or_insert(json!(default));
    }
    for key in ["bantime", "findtime", "bantime.rndtime", "bantime.maxtime"] {
        if let Some(seconds) = theirs.get(key).and_then(Value::as_f64) {
            theirs.insert(key.to_owned(), json!((seconds as i64).max(-1)));
        }
    }
    theirs.entry("usedns").or_insert(json!("warn"));
    for key in ["failregex", "ignoreregex", "ignoreip", "logpath", "journalmatch"] {
        theirs.entry(key).or_insert_with(|| json!([]));
    }
    let ignored = theirs["ignoreip"].as_array().unwrap().iter().map(|word| short(word.as_str().unwrap()));
    let ignored: Value = ignored.collect::<Vec<_>>().into();
    theirs.insert("ignoreip".to_owned(), ignored);
    let matches = theirs["journalmatch"].as_array().unwrap();
    let alternatives: Vec<Value> = matches.iter().flat_map(alternatives).collect();
    theirs.insert("journalmatch".to_owned(), alternatives.into());
    // An empty line of logpath finds no file.
    let logs = theirs["logpath"].as_array_mut().unwrap();
    logs.retain(|log| log[0] != "");
    if theirs["backend"].as_str().is_some_and(|backend| backend.starts_with("systemd")) {
        theirs.remove("logpath");
    }
}

/// An address or network without what says nothing; a name as it is.
fn short(word: &str) -> String {
    let text = word.parse::<Prefix>().map_or_else(|_| word.to_owned(), |prefix| prefix.to_string());
    text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(&text).to_owned()
}

fn alternatives(words: &Value) -> Vec<Value> {
    let words: Vec<&str> = words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    words.split(|word| *word == "+").map(|pairs| json!(pairs)).collect()
}

fn shown(jail: &F2bJail) -> Map<String, Value> {
    let filter = &jail.filter;
    let bantime = match jail.bantime {
        BanTime::For(span) => i64::try_from(span.secs()).unwrap(),
        BanTime::Forever => -1,
    };
    let usedns = match filter.usedns {
        UseDns::Yes => "yes",
        UseDns::Warn => "warn",
        UseDns::No => "no",
        UseDns::Raw => "raw",
    };
    let pairs = |pairs: &Vec<(String, String)>| -> Vec<String> {
        pairs.iter().map(|(field, value)| format!("{field}={value}")).collect()
    };
    let ignoreip = jail.ignoreip.iter().map(|prefix| short(&prefix.to_string()));
    let growth = &jail.growth;
    let mut shown = json!({
        "backend": jail.backend, "usedns": usedns, "prefregex": filter.prefregex, "maxlines": filter.maxlines,
        "failregex": filter.failregex, "ignoreregex": filter.ignoreregex, "datepattern": filter.datepattern,
        "journalmatch": filter.journalmatch.iter().map(pairs).collect::<Vec<_>>(),
        "maxretry": jail.maxretry, "maxmatches": jail.maxmatches, "findtime": jail.findtime.secs(), "bantime": bantime,
        "logencoding": jail.logencoding, "logtimezone": jail.logtimezone,
        "ignoreip": ignoreip.chain(jail.ignoreip_names.iter().cloned()).collect::<Vec<_>>(),
        "ignoreself": jail.ignoreself, "ignorecommand": jail.ignorecommand,
        "ignorecache": jail.ignorecache.as_ref().map(|cache| format!(
            "key=\"{}\", max-count={}, max-time={}", cache.key, cache.max_count, cache.max_time)),
        "bantime.increment": jail.increment, "bantime.overalljails": growth.overalljails,
        "bantime.formula": growth.formula.as_ref().map(|formula| formula.text()), "bantime.factor": growth.factor.map(|factor| factor.to_string()),
        "bantime.multipliers": (!growth.multipliers.is_empty()).then(|| {
            growth.multipliers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }),
        "bantime.rndtime": growth.rndtime.map(|span| span.secs()),
        "bantime.maxtime": growth.maxtime.map(|span| span.secs()),
        "actions": jail.actions.iter().map(action).collect::<BTreeMap<_, _>>(),
    });
    if !jail.backend.starts_with("systemd") {
        let logs =
            jail.logpath.iter().map(|log| json!([log.pattern, if log.from_end { "tail" } else { "head" }]));
        shown["logpath"] = logs.collect();
    }
    shown.as_object().unwrap().clone()
}

fn action(action: &F2bAction) -> (String, Value) {
    let mut properties = json!(action.properties);
    if action.kind == Kind::Python {
        properties["python"] = json!(true);
    }
    (action.name.clone(), properties)
}
