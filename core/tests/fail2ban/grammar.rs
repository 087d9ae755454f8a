//! Texts put together at random, read by Pillory and by fail2ban: the grammar of files, of `name[option=value]`, of
//! times, and tags filled into each other.

use std::collections::{BTreeMap, BTreeSet};

use pillory_core::config::fail2ban::{options, seconds};
use pillory_core::filter::ini;
use pillory_core::filter::settings::tags::{self, Fill};
use pillory_core::filter::settings::{Options, Work};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::peer::{python, tools};

/// The same texts in every run.
fn samples(pattern: &str, count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::string::string_regex(pattern).unwrap();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn ask(cases: &Value) -> Option<Value> {
    let tools = tools()?;
    let mut all = json!({"files": [], "options": [], "times": [], "tags": []});
    for (key, value) in cases.as_object().unwrap() {
        all[key] = value.clone();
    }
    Some(serde_json::from_str(&python(&tools, include_str!("grammar.py"), &[], &all.to_string())).unwrap())
}

fn read_file(text: &str) -> Value {
    let parsed = ini::parse(text);
    if !parsed.problems.is_empty() {
        return Value::Null;
    }
    let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::from([("DEFAULT", BTreeMap::new())]);
    for (name, _) in &parsed.sections {
        sections.entry(name).or_default();
    }
    for entry in &parsed.entries {
        sections.entry(&entry.section).or_default().insert(&entry.key, &entry.value);
    }
    json!(sections)
}

#[test]
fn files_put_together_at_random() {
    let line = "(\\[[A-C]\\]|\\[DEFAULT\\]|\\[A\\] x|\\[\\]|\\[D| [a-f]|  [g-k] = [0-9]| [#;] c|[a-z]{1,2} ?[=:] ?[v-z]?|\
                [A-Z]=1 ;c|[a-z]=1;c|\t+t|    u|[xy]|;|#c| =|)(\r?\n)";
    let texts = samples(&format!("(\\[S\\]\n)({line}){{0,12}}"), 4_000);
    let Some(theirs) = ask(&json!({ "files": texts })) else { return };
    let mut sound = 0;
    for (text, theirs) in texts.iter().zip(theirs["files"].as_array().unwrap()) {
        sound += usize::from(!theirs.is_null());
        assert_eq!(&read_file(text), theirs, "{text:?}");
    }
    assert!(sound > 200, "{sound}");
}

#[test]
fn options_put_together_at_random() {
    let part = "([ab][-_.]?|[=\\[\\],]|[ \n]|\"|'|=\"[ab,\\] ]*\"|='x'|\\]\\[|c=1,? |\\[d=)";
    let texts = samples(&format!("([a-c]\\[)?{part}{{0,14}}(\\])?"), 6_000);
    let Some(theirs) = ask(&json!({ "options": texts })) else { return };
    let mut sound = 0;
    for (text, theirs) in texts.iter().zip(theirs["options"].as_array().unwrap()) {
        let ours: Vec<Value> = options::split(text)
            .into_iter()
            .map(|item| json!([item, options::extract(item).ok().map(|(name, given)| json!([name, given]))]))
            .collect();
        sound +=
            ours.iter().filter(|item| item[1][1].as_object().is_some_and(|given| !given.is_empty())).count();
        // One item that is refused leaves the jail out, however the rest would be split.
        let is_refused = |items: &[Value]| items.iter().any(|item| item[1].is_null());
        match theirs.as_array() {
            Some(items) if is_refused(items) => assert!(is_refused(&ours), "{text:?}: {ours:?}"),
            _ => assert_eq!(&json!(ours), theirs, "{text:?}"),
        }
    }
    assert!(sound > 200, "{sound}");
}

/// In seconds; more is an error here.
const TEN_THOUSAND_YEARS: f64 = 3.2e11;

#[test]
fn times_put_together_at_random() {
    let texts = samples(
        "-?[1-9][0-9]{0,2}( ?(s|m|h|d|w|mo|y|min|sec|hours?|days|months?|year|wee|da|MM))?([ +*-][1-9][0-9]?(s|m|h|d|Mo| w)?){0,3}",
        3_000,
    );
    let Some(theirs) = ask(&json!({ "times": texts })) else { return };
    let mut sound = 0;
    for (text, theirs) in texts.iter().zip(theirs["times"].as_array().unwrap()) {
        // What fail2ban refuses may be understood: it stumbles over a digit between two blanks.
        if let Some(theirs) = theirs.as_f64().filter(|theirs| theirs.abs() <= TEN_THOUSAND_YEARS) {
            assert_eq!(seconds::parse(text), Ok(theirs), "{text:?}");
            sound += 1;
        }
    }
    assert!(sound > 1_000, "{sound}");
}

#[test]
fn tags_put_together_at_random() {
    // Each refers to those behind it only: what goes round grows beyond all measure in fail2ban.
    let patterns = [
        ("a", "(<[b-e]>|<<c>-x>|<|>|[a-e ]|<HOST>|<d<e>>){0,5}"),
        ("b", "(<[c-e]>|<<d>-x>|<<e>|[c-e ]|<none>){0,5}"),
        ("c", "(<[de]>|d|e|<<e>>){0,2}"),
        ("d", "(<e>|e|< e>){0,2}"),
        ("dx", "[xy]<e>"),
        ("e", "(|x|e|<|>)"),
        ("e-x", "[xy]<<>"),
        ("d-x", "<e-x>|<x"),
    ];
    let columns = patterns.map(|(name, pattern)| (name, samples(pattern, 1_000)));
    let row =
        |at: usize| columns.iter().map(|(name, values)| ((*name).to_owned(), values[at].clone())).collect();
    let sets: Vec<Options> = (0..1_000).map(row).collect();
    let Some(theirs) = ask(&json!({ "tags": sets })) else { return };
    let ignore = BTreeSet::new();
    let mut sound = 0;
    for (set, theirs) in sets.iter().zip(theirs["tags"].as_array().unwrap()) {
        let mut how = Fill { ignore: &ignore, condition: None, more: &mut |_, _| Ok(None) };
        let ours = tags::fill(set, &mut how, &mut Work::default()).ok();
        sound += usize::from(ours.is_some());
        assert_eq!(&json!(ours), theirs, "{set:?}");
    }
    assert!(sound > 50, "{sound}");
}
