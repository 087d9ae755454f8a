//! The project's documents as Markdown: their prose, their blocks of code, their headings; and that they lead somewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// What stands behind the fence: `console,fails`.
    pub(crate) info: String,
    /// Its lines.
    pub(crate) lines: Vec<String>,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line of prose.
    Line(String),
    /// A block of code.
    Block(Block),
}

/// A document in pieces. Blocks are fenced by three backticks, as all of the project's are; in a list they are indented.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut open: Option<Block> = None;
    let mut indent = "";
    for line in text.lines() {
        let bare = line.trim_start();
        match (&mut open, bare.strip_prefix("```")) {
            (None, Some(info)) => {
                indent = &line[..line.len() - bare.len()];
                open = Some(Block { info: info.trim().to_owned(), lines: Vec::new() });
            }
            (Some(_), Some(_)) => pieces.extend(open.take().map(Piece::Block)),
            (Some(block), None) => block.lines.push(line.strip_prefix(indent).unwrap_or(line).to_owned()),
            (None, None) => pieces.push(Piece::Line(line.to_owned())),
        }
    }
    assert!(open.is_none(), "a block does not end: {open:?}");
    pieces
}

/// The lines that are prose.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = String> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Line(line) => Some(line),
        Piece::Block(_) => None,
    })
}

/// The documents of a folder, by path.
pub(crate) fn documents_in(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = std::fs::read_dir(folder).expect("the folder can be listed").flatten();
    let paths = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.map(|path| (path.clone(), std::fs::read_to_string(path).expect("a text"))).collect()
}

/// The book's chapters, by path.
pub(crate) fn chapters() -> BTreeMap<PathBuf, String> {
    documents_in(&root().join("docs/src"))
}

/// All documents.
pub(crate) fn documents() -> BTreeMap<PathBuf, String> {
    documents_below(&root())
}

/// Those that lie in this folder as they lie in the project.
pub(crate) fn documents_below(folder: &Path) -> BTreeMap<PathBuf, String> {
    ["", "benches", "docs/src"].iter().flat_map(|part| documents_in(&folder.join(part))).collect()
}

/// Pieces of code in a line of prose.
pub(crate) fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Where a line of prose leads: the targets of its links and pictures.
fn targets(line: &str) -> Vec<String> {
    let without_code: String = line.split('`').step_by(2).collect();
    let ends = without_code.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a document: its headings as GitHub and mdBook name them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let name = |heading: String| {
        let words: String =
            heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
        words.replace(' ', "-")
    };
    headings.map(name).collect()
}

/// What is wrong with a link of the document at `path`; nothing if it leads somewhere, or out of the project.
fn fault(path: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = path.parent().unwrap_or(path);
    let leads_to = if file.is_empty() { path.to_owned() } else { folder.join(file) };
    if !leads_to.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let there = anchors(&std::fs::read_to_string(&leads_to).unwrap_or_default());
    (!there.iter().any(|heading| heading == anchor)).then(|| format!("its headings are {there:?}"))
}

/// The links of documents that lead nowhere, each with the reason.
#[track_caller]
pub(crate) fn dead_links(documents: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut links = 0;
    let mut dead = Vec::new();
    for (path, text) in documents {
        for target in prose(text).flat_map(|line| targets(&line)) {
            links += 1;
            dead.extend(fault(path, &target).map(|why| format!("{}: {target}: {why}", path.display())));
        }
    }
    assert!(links > 40, "only {links} links were found");
    dead
}

#[test]
fn every_link_and_anchor_of_the_documents_leads_somewhere() {
    assert_eq!(dead_links(&documents()), Vec::<String>::new());
}

#[test]
fn no_chapter_points_up_or_down_a_page_without_a_link() {
    for (path, text) in chapters() {
        let points = |line: &&str| line.contains("(below)") || line.contains("(above)");
        assert_eq!(text.lines().find(points), None, "{}: a link says where", path.display());
    }
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    let readme = root().join("README.md");
    for good in ["SECURITY.md", "SECURITY.md#drills", "#install", "docs/wall.png", "https://example.net/x"] {
        assert_eq!(fault(&readme, good), None, "{good}");
    }
    for dead in ["SAFETY.md", "SECURITY.md#dirlls", "#comands"] {
        assert!(fault(&readme, dead).is_some(), "{dead}");
    }
    assert_eq!(targets("see [a](b.md#c), ![d](e.png) and not `[f](g)`"), ["b.md#c", "e.png"]);
}

#[test]
fn the_books_summary_names_every_chapter() {
    let chapters = chapters();
    let summary = &chapters[&root().join("docs/src/SUMMARY.md")];
    let named: Vec<String> = prose(summary).flat_map(|line| targets(&line)).collect();
    let names = chapters.keys().filter_map(|path| path.file_name()?.to_str());
    let missing: Vec<&str> =
        names.filter(|name| *name != "SUMMARY.md" && !named.iter().any(|target| target == name)).collect();
    assert!(missing.is_empty(), "not in docs/src/SUMMARY.md: {missing:?}");
}
