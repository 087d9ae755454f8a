//! Reading order, includes, references, tags; and files that mean harm.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Files in memory.
#[derive(Default)]
pub(crate) struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Memory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(path).cloned())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let inside = |path: &String| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
        Ok(self.0.keys().filter_map(inside).filter(|name| !name.contains('/')).collect())
    }
}

fn get(files: &[(&str, &str)], section: &str, option: &str) -> Result<Option<String>, TextProblem> {
    let memory = Memory::new(files);
    let settings = Loader::new(&memory).load("d/x").unwrap();
    settings.get(section, option, &Options::new(), &mut Work::default())
}

fn value(files: &[(&str, &str)], option: &str) -> String {
    get(files, "A", option).unwrap().unwrap()
}

#[test]
fn later_files_win_in_fail2bans_order() {
    let files = [
        ("d/x.conf", "[A]\na = conf\nb = conf\nc = conf\nd = conf\n"),
        ("d/x.d/2.conf", "[A]\nb = 2\nc = 2\nd = 2\n"),
        ("d/x.d/1.conf", "[A]\nb = 1\n"),
        ("d/x.local", "[A]\nc = local\nd = local\n"),
        ("d/x.d/1.local", "[A]\nd = 1.local\n"),
        ("d/x.d/.hidden.conf", "[A]\na = hidden\n"),
    ];
    assert_eq!(["a", "b", "c", "d"].map(|option| value(&files, option)), ["conf", "2", "local", "1.local"]);
}

#[test]
fn included_files_bring_their_local_ones() {
    let files = [
        ("d/x.conf", "[INCLUDES]\nbefore = b.conf\nafter = none.local\n c.conf\n[A]\na = x\nb = %(b)s\n"),
        ("d/b.conf", "[A]\na = b\n[DEFAULT]\nz = b\n"),
        ("d/b.local", "[DEFAULT]\nz = b.local\n"),
        ("d/c.conf", "[A]\nb = <%(z)s %(known/a)s>\n"),
    ];
    assert_eq!(value(&files, "b"), "<b.local b>");
    assert_eq!(value(&files, "a"), "x");
}

#[test]
fn references_reach_other_sections_and_earlier_files() {
    let files = [
        ("d/x.conf", "[DEFAULT]\nq = 0\n[A]\na = 1\n[b-c]\na = 2\n"),
        ("d/x.local", "[A]\na = %(known/a)s,%(b-c/a)s,%(default/q)s,%(b-c/q)s,%(__name__)s,100%%,%(Q)s\n"),
    ];
    assert_eq!(value(&files, "a"), "1,2,0,0,A,100%,0");
}

#[test]
fn a_reference_that_leads_nowhere_is_named() {
    let conf = |text: &'static str| get(&[("d/x.conf", text)], "A", "a");
    assert_eq!(conf("[A]\na = %(b)s\n"), Err(TextProblem::NoOption("b".into())));
    assert_eq!(conf("[A]\na = 5 % b\n"), Err(TextProblem::Percent("% b".into())));
    assert_eq!(conf("[A]\na = %(a)s\n"), Err(TextProblem::Endless("a".into())));
    assert_eq!(conf("[A]\nb = 1\n"), Ok(None));
}

fn combined(text: &str) -> Result<Options, definition::Fault> {
    let memory = Memory::new(&[("x.conf", text)]);
    let settings = Loader::new(&memory).load("x").unwrap();
    let mut work = Work::default();
    let init = Options::from([("mode".to_owned(), "b".to_owned())]);
    let mut definition = Definition::new(&settings, &["a", "c"], init);
    definition.read(&Options::new(), false, &mut work).map_err(|mut faults| faults.remove(0))?;
    definition.combined(&["later"], &mut work)
}

#[test]
fn tags_are_filled_in_from_everywhere_and_unknown_ones_stay() {
    let text = "[Definition]\na = <<mode>/x> <HOST> <later> <only> <ip>\nonly = %(known)s\nknown = k\n[b]\nx = <n>\n\
                [Init]\nmode = a\nn = 1 <known/mode>\nlater = z\nip = 4\n[Init?family=inet6]\nip = 6\n";
    let options = combined(text).unwrap();
    assert_eq!(options["a"], "1 a <HOST> <later> k <ip>");
    assert_eq!(options["ip?family=inet6"], "6");
}

#[test]
fn tags_that_go_round_are_an_error_with_a_line() {
    for text in ["[Definition]\nb = <a>\na = <b>\n", "[Definition]\n\na = <b><b>\nb = <c><c>\nc = <b><b>\n"] {
        let fault = combined(text).unwrap_err();
        assert_eq!((fault.place.line, fault.problem), (3, TextProblem::Endless("a".into())), "{text}");
    }
}

#[test]
fn circles_of_includes_and_floods_of_files_end() {
    let text = "[INCLUDES]\nbefore = y.conf\n y.conf\n x.conf\n[A]\na = 1\n";
    let memory = Memory::new(&[("d/x.conf", text), ("d/y.conf", &text.replace("y.conf\n x", "z.conf\n x"))]);
    let mut loader = Loader::new(&memory);
    assert!(loader.load("d/x").is_some());
    let problems = loader.take_problems();
    assert!(problems.iter().any(|(place, problem)| {
        (&*place.file, place.line) == ("d/x.conf", 2) && matches!(problem, TextProblem::IncludeDepth(_))
    }));
    // Each file includes the next one twice: 2^15 readings if nobody stopped them.
    let mut doubling = Memory::default();
    for n in 0..15 {
        let text = format!("[INCLUDES]\nbefore = {}.conf\n {}.conf\n", n + 1, n + 1);
        doubling.0.insert(format!("{n}.conf"), text.into_bytes());
    }
    let mut loader = Loader::new(&doubling);
    assert!(loader.load("0").unwrap().files().len() <= MAX_FILES_READ);
    assert!(loader.take_problems().iter().any(|(_, problem)| *problem == TextProblem::TooManyFiles));
}

const MAX_FILES_READ: usize = load::MAX_FILES + load::MAX_INCLUDE_DEPTH;

#[test]
fn a_file_that_is_not_utf8_is_left_out() {
    let mut memory = Memory::new(&[("x.conf", "[A]\na = 1\n")]);
    memory.0.insert("x.local".into(), b"[A]\na = \xff\n".to_vec());
    let mut loader = Loader::new(&memory);
    let settings = loader.load("x").unwrap();
    assert_eq!(settings.files(), ["x.conf".into()]);
    assert_eq!(loader.take_problems()[0].1, TextProblem::NotUtf8(8));
}

#[test]
fn values_that_grow_without_end_are_stopped_soon() {
    let mut text = "[Definition]\na = %(v0)s\nc = <v0>\n".to_owned();
    for n in 0..9 {
        let next = format!("%(v{})s", n + 1).repeat(30);
        text += &format!("v{n} = {next}\n");
    }
    text += &format!("v9 = {}\n", "x".repeat(100_000));
    assert!(matches!(combined(&text).unwrap_err().problem, TextProblem::Endless(_)));
    let mut text = "[Definition]\na = <v0>\n".to_owned();
    for n in 0..200 {
        text += &format!("v{n} = <v{}><v{}>\n", n + 1, n + 2);
    }
    assert!(matches!(combined(&text).unwrap_err().problem, TextProblem::Endless(_)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_text_upsets_the_reader(text in "(\\[(INCLUDES|Definition|Init|DEFAULT|Init\\?f=1)\\]?\n|(before|after|a|b|c) ?[=:]|x.conf|[ -~]|%\\((known/)?[abc]\\)s|<(known/)?[abc]>|\n ?|é|\u{0}){0,60}") {
        let memory = Memory::new(&[("x.conf", &text), ("x.local", &text)]);
        let settings = Loader::new(&memory).load("x").unwrap();
        let mut work = Work::default();
        let mut definition = Definition::new(&settings, &["a", "c"], Options::new());
        if definition.read(&Options::new(), true, &mut work).is_ok() {
            let _ = definition.combined(&[], &mut work);
        }
    }
}
