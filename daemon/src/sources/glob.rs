//! Path patterns: `*`, `?` and `[..]` inside a component; a leading dot must be written out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// So many files may match one pattern.
pub(crate) const MAX_MATCHES: usize = 256;

/// So many entries of one directory are looked at.
const MAX_ENTRIES: usize = 16 * 1024;

/// So many directories may match the parts of one pattern.
const MAX_DIRS: usize = 256;

/// A directory in which something that a pattern names may appear or vanish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    /// The pattern of the names that matter in it.
    pub(crate) name: Vec<u8>,
}

/// What a pattern stands for now.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    /// Paths; a pattern without wildcards gives its own path whether it exists or not.
    pub(crate) paths: Vec<PathBuf>,
    /// Where to watch for changes; for a missing directory that is its nearest existing parent.
    pub(crate) places: Vec<Place>,
    /// More matched than are read.
    pub(crate) is_cut: bool,
}

/// Whether a text has wildcards.
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// Looks up what matches a path or pattern now.
pub(crate) fn expand(pattern: &str) -> Expansion {
    let mut found = Expansion::default();
    let mut dirs = vec![PathBuf::new()];
    let mut parts = Path::new(pattern).components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            dirs.iter_mut().for_each(|dir| dir.push(part));
            continue;
        };
        let is_last = parts.peek().is_none();
        let mut next = Vec::new();
        for dir in &dirs {
            let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            let place = Place { dir: here.to_owned(), name: name.as_bytes().to_vec() };
            if is_pattern(name.as_bytes()) {
                found.places.push(place);
                next.extend(matching(here, name).into_iter().map(|name| dir.join(name)));
            } else if is_last {
                found.places.push(place);
                next.push(dir.join(name));
            } else if dir.join(name).is_dir() {
                next.push(dir.join(name));
            } else {
                found.places.push(place);
            }
        }
        let most = if is_last { MAX_MATCHES } else { MAX_DIRS };
        found.is_cut |= next.len() > most;
        next.truncate(most);
        dirs = next;
    }
    found.paths = dirs;
    if !is_pattern(pattern.as_bytes()) {
        found.paths = vec![PathBuf::from(pattern)];
    }
    found
}

/// Whether a path matches a pattern, component by component.
pub(crate) fn matches_path(pattern: &Path, path: &Path) -> bool {
    let bytes = |part: Component<'_>| part.as_os_str().as_bytes().to_vec();
    let (patterns, parts) = (pattern.components().map(bytes), path.components().map(bytes));
    pattern.components().count() == path.components().count()
        && patterns.zip(parts).all(|(pattern, part)| pattern == part || matches(&pattern, &part))
}

/// The names in a directory that match, sorted.
fn matching(dir: &Path, pattern: &OsStr) -> Vec<std::ffi::OsString> {
    // A directory that cannot be listed has no matches; the watch on it, or on its parent, tells when it has.
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.take(MAX_ENTRIES).flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter(|name| matches(pattern.as_bytes(), name.as_bytes())).collect();
    names.sort();
    names
}

/// Whether a name matches a pattern, in time that is bounded by the product of their lengths.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(step) = step(pattern.get(p..).unwrap_or(&[]), byte) {
            p += step;
            n += 1;
        } else if let Some((after, from)) = star {
            // The star takes one byte more.
            star = Some((after, from + 1));
            (p, n) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or(&[]).iter().all(|&b| b == b'*')
}

/// How long the first item of a pattern is if it matches a byte.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match class(pattern, byte) {
            Some((holds, len)) => holds.then_some(len),
            None => (byte == b'[').then_some(1),
        },
        b'\\' if pattern.len() > 1 => (pattern.get(1) == Some(&byte)).then_some(2),
        &literal => (literal == byte).then_some(1),
    }
}

/// Whether a byte is in a bracket expression, and how long that is; nothing if it has no end.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let first = at;
    let mut holds = false;
    loop {
        let &low = pattern.get(at)?;
        if low == b']' && at > first {
            return Some((holds != negated, at + 1));
        }
        let high = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                at += 2;
                high
            }
            _ => low,
        };
        holds |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_match_inside_a_name() {
        for (pattern, name, expected) in [
            ("*.log", "auth.log", true),
            ("*.log", ".hidden.log", false),
            (".*", ".hidden", true),
            ("auth.log", "auth.log", true),
            ("auth.log", "auth.log.1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_little() {
        assert!(!matches("*a".repeat(50).as_bytes(), &b"a".repeat(255)[..49]));
    }
}
