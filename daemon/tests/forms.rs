//! Texts of programs, kept in files under `golden`: what differs from one time to the next is marked, and forms that are
//! equal share a file.

use std::path::{Path, PathBuf};

/// What stands between these, on a line, differs from one time to the next.
const DIFFERS: &[(&str, &str)] = &[
    (", up ", ","),
    ("/var/log/auth.log (", " ago)"),
    ("sandboxed by ", "\n"),
    ("  198.51.100.7  sshd, ", " ago"),
    ("198.51.100.7  sshd  ", " ago"),
    ("/index.html; ", "\n"),
    ("3 failures ", ", 6 points"),
    ("6 attempts in the ", " s"),
    ("so far, since ", ": "),
    ("good logins since ", " ("),
    ("by itself, ", "\n"),
    ("timestamp=", "&"),
    ("attempts+at+", "\n"),
    ("Made ", ","),
    ("valid until ", "\n"),
    (" – ", "."),
];

/// The text with marks in the place of what differs.
pub fn marked(line: &str, text: &str) -> String {
    // What is told what time it is says the same each time.
    if line.contains("--now") {
        return text.to_owned();
    }
    let mut text = text.replace(concat!("pillory ", env!("CARGO_PKG_VERSION")), "pillory VERSION");
    for (before, after) in DIFFERS {
        text = between(&text, before, after);
    }
    text = without_times(&text);
    // Where these lines are broken hangs on the figures.
    if let Some(at) = text.find("1 ban since the start") {
        text.truncate(at);
        text.push_str("1 ban since the start; ..\n");
    }
    if line.starts_with("pillory rescue-code") {
        let codes =
            text.lines().take_while(|line| !line.contains(' ')).map(str::to_owned).collect::<Vec<_>>();
        text = codes.iter().fold(text, |text, code| text.replace(code, "CODE"));
    }
    text
}

/// Two dots wherever something stands between these, on a line.
fn between(text: &str, before: &str, after: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once(before) {
        marked = marked + head + before;
        let end = tail.find(after).filter(|end| !tail[..*end].contains('\n'));
        rest = &tail[end.unwrap_or_default()..];
        marked += if end.is_some() { ".." } else { "" };
    }
    marked + rest
}

/// The same without what a time consists of: `2026-11-22T19:14:01Z`, `Sun Nov 22 20:14:01 2026 UTC`. Of one length, it breaks
/// lines as before.
fn without_times(text: &str) -> String {
    const SHAPES: [&str; 4] =
        ["0000-00-00T00:00:00Z", "Aaa Aaa .0 00:00:00 0000", "Aaa .0 00:00:00", "00:00:00 "];
    let is_alike = |(c, shape): (char, char)| match shape {
        '0' => c.is_ascii_digit(),
        'A' => c.is_ascii_uppercase(),
        'a' => c.is_ascii_lowercase(),
        '.' => c == ' ' || c.is_ascii_digit(),
        _ => c == shape,
    };
    let mut text = text.to_owned();
    for at in 0..text.len() {
        for shape in SHAPES {
            let is_time = |part: &str| part.chars().zip(shape.chars()).all(is_alike);
            if text.get(at..at + shape.len()).is_some_and(is_time) {
                text.replace_range(at..at + shape.len(), shape);
            }
        }
    }
    text
}

/// Width, colour and text of a form.
pub type Form = (String, &'static str, String);

/// Which files hold these forms: one for those that are equal whatever the width, or whatever the colour.
fn files(name: &str, forms: &[Form]) -> Vec<(String, String)> {
    let is_same = |key: fn(&Form) -> &str| {
        forms.iter().all(|one| forms.iter().all(|other| key(one) != key(other) || one.2 == other.2))
    };
    let (any_width, any_colour) = (is_same(|form| form.1), is_same(|form| &form.0));
    let file = |(width, colour, text): &Form| {
        let width = if any_width { "" } else { width.as_str() };
        let colour = if any_colour { "" } else { colour };
        (format!("{name}{width}{colour}.txt"), text.clone())
    };
    let mut files: Vec<(String, String)> = forms.iter().map(file).collect();
    files.sort();
    files.dedup();
    files
}

pub fn compare(name: &str, forms: &[Form]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = files(name, forms);
    let may_be = |file: &str| {
        let rest = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(".txt"));
        rest.is_some_and(|rest| {
            ["", ".80", ".120"]
                .iter()
                .any(|width| rest.strip_prefix(width).is_some_and(|rest| ["", ".colour"].contains(&rest)))
        })
    };
    let there = std::fs::read_dir(&folder).expect("a folder").flatten();
    let stale: Vec<PathBuf> = there
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .is_some_and(|file| may_be(file) && files.iter().all(|(known, _)| known != file))
        })
        .collect();
    let writes = std::env::var_os("GOLDEN").is_some_and(|what| what == "write");
    if writes {
        stale.iter().for_each(|path| std::fs::remove_file(path).expect("it is there"));
        files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).expect("it is written"));
    }
    assert!(writes || stale.is_empty(), "{stale:?} hold no form any more (GOLDEN=write removes them)");
    for (file, text) in files {
        let kept = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert!(kept == text, "{file} differs (GOLDEN=write writes it anew); is:\n{text}\nwas:\n{kept}");
    }
}

#[test]
fn forms_that_are_equal_share_a_file() {
    let forms = |texts: [&str; 4]| -> Vec<Form> {
        let forms = [(".80", ""), (".80", ".colour"), (".120", ""), (".120", ".colour")];
        forms
            .iter()
            .zip(texts)
            .map(|((width, colour), text)| ((*width).to_owned(), *colour, text.to_owned()))
            .collect()
    };
    let names = |texts| files("a", &forms(texts)).into_iter().map(|(file, _)| file).collect::<Vec<_>>();
    assert_eq!(names(["x", "x", "x", "x"]), ["a.txt"]);
    assert_eq!(names(["x", "y", "x", "y"]), ["a.colour.txt", "a.txt"]);
    assert_eq!(names(["x", "x", "y", "y"]), ["a.120.txt", "a.80.txt"]);
    assert_eq!(names(["x", "y", "x", "z"]), ["a.120.colour.txt", "a.120.txt", "a.80.colour.txt", "a.80.txt"]);
    assert_eq!(without_times("at 2026-11-30T00:31:18Z."), "at 0000-00-00T00:00:00Z.");
    assert_eq!(between("up 3s, 1 up 4s, up\n5,", "up ", ","), "up .., 1 up .., up\n5,");
}
