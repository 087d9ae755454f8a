//! What syslog and journal lines carry before the message: `host ident[pid]: `.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

/// The parts before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Who wrote the line; nothing if the line does not say.
    pub host: Option<&'a [u8]>,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// Where the message begins.
    pub message: usize,
}

impl Header<'_> {
    /// The host as a number; 0 if the line does not say.
    pub fn host_hash(&self) -> u64 {
        self.host.map_or(0, |host| {
            let mut hasher = DefaultHasher::new();
            host.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// Reads the header of a line whose date has been cut out: `host ident[pid]: `, `ident[pid]: `, or RFC 5424's
/// `<38>1  host ident pid - - `. Nothing if the line begins otherwise.
pub fn parse(text: &[u8]) -> Option<Header<'_>> {
    let mut rest = Words { text, at: 0 };
    let first = rest.next()?;
    if let Some(version) = after_priority(first) {
        if version == b"1" {
            return parse_5424(rest);
        }
        if version.is_empty() {
            let first = rest.next()?;
            return ident_or_host(first, &mut rest);
        }
        return ident_or_host(version, &mut rest);
    }
    ident_or_host(first, &mut rest)
}

fn ident_or_host<'a>(first: &'a [u8], rest: &mut Words<'a>) -> Option<Header<'a>> {
    if let Some(pid) = ident(first) {
        return Some(Header { host: None, pid, message: rest.message() });
    }
    let pid = ident(rest.next()?)?;
    Some(Header { host: Some(first), pid, message: rest.message() })
}

/// `host ident pid msgid structured-data message`.
fn parse_5424(mut rest: Words<'_>) -> Option<Header<'_>> {
    let host = rest.next()?;
    rest.next()?;
    let pid = number(rest.next()?);
    rest.next()?;
    rest.next().filter(|data| *data == b"-")?;
    Some(Header { host: Some(host), pid, message: rest.message() })
}

/// The text behind `<38>`.
fn after_priority(word: &[u8]) -> Option<&[u8]> {
    let inner = word.strip_prefix(b"<")?;
    let end = inner.iter().position(|b| *b == b'>')?;
    (end > 0 && inner[..end].iter().all(u8::is_ascii_digit)).then(|| &inner[end + 1..])
}

/// `ident:` and `ident[pid]:`; the pid if there is one.
fn ident(word: &[u8]) -> Option<Option<u32>> {
    let word = word.strip_suffix(b":")?;
    let Some(inner) = word.strip_suffix(b"]") else { return (!word.is_empty()).then_some(None) };
    let open = inner.iter().rposition(|b| *b == b'[')?;
    Some(number(&inner[open + 1..]))
}

/// A decimal number of at most 32 bits, nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    u32::try_from(value).ok()
}

/// Reads the headers of a log: most begin like the one before, and only the number of the process is another.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// The last one, up to the bracket before its number.
    head: Vec<u8>,
    host: Option<Range<usize>>,
}

impl Headers {
    /// What [`parse`] makes of a text.
    pub(super) fn parse<'t>(&mut self, text: &'t [u8]) -> Option<Header<'t>> {
        self.known(text).or_else(|| {
            let header = parse(text)?;
            self.learn(text, header);
            Some(header)
        })
    }

    fn known<'t>(&self, text: &'t [u8]) -> Option<Header<'t>> {
        let rest = text.strip_prefix(self.head.as_slice()).filter(|_| !self.head.is_empty())?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let is_end = rest[digits..].starts_with(b"]: ");
        let mut behind = Words { text, at: self.head.len() + digits + 2 };
        is_end.then(|| Header {
            host: self.host.clone().and_then(|host| text.get(host)),
            pid: number(&rest[..digits]),
            message: behind.message(),
        })
    }

    fn learn(&mut self, text: &[u8], header: Header<'_>) {
        let blanks = text.iter().take_while(|b| **b == b' ').count();
        let open = text[..header.message].iter().rposition(|b| *b == b'[');
        // A priority is another form.
        let Some(open) = open.filter(|_| header.pid.is_some() && text.get(blanks) != Some(&b'<')) else {
            return;
        };
        self.head.clear();
        self.head.extend_from_slice(&text[..=open]);
        self.host = header.host.map(|host| blanks..blanks + host.len());
    }
}

struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let rest = self.text.get(self.at..)?;
        let len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        self.at += len;
        (len > 0).then(|| &rest[..len])
    }

    fn skip_blanks(&mut self) {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    fn message(&mut self) -> usize {
        self.skip_blanks();
        self.at
    }
}

/// rsyslog's `message repeated 5 times: [ text]`: how often, and the text.
pub fn repeated(message: &[u8]) -> Option<(u32, &[u8])> {
    let rest = message.strip_prefix(b"message repeated ")?;
    let digits = rest.iter().position(|b| *b == b' ')?;
    let times = number(&rest[..digits]).filter(|times| *times > 0)?;
    let inner = rest[digits..].strip_prefix(b" times: [")?.strip_suffix(b"]")?;
    Some((times, inner.strip_prefix(b" ").unwrap_or(inner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_syslog_and_the_journal_write() {
        for (text, host, pid, message) in [
            (" vm sshd[42]: x y", Some("vm"), Some(42), "x y"),
            ("sshd[42]: x", None, Some(42), "x"),
            (" vm sudo:   bob", Some("vm"), None, "bob"),
            ("<38>1  vm sshd 42 - - x", Some("vm"), Some(42), "x"),
            ("<38> vm sshd[7]: x", Some("vm"), Some(7), "x"),
        ] {
            let header = parse(text.as_bytes()).unwrap();
            assert_eq!(header.host, host.map(str::as_bytes), "{text}");
            assert_eq!(header.pid, pid, "{text}");
            assert_eq!(&text[header.message..], message, "{text}");
        }
        for text in ["", "Failed password for root", "192.0.2.7 - - [] \"GET /: x\"", "<x>1 a b"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_remembered_of_headers_changes_nothing() {
        let heads = [
            " vm sshd[",
            "sshd[",
            "  vm  sshd[",
            "vm a[b[",
            "vm [",
            "<38>vm sshd[",
            "<38>1 vm sshd 7 - - a[",
            "vm: a[",
        ];
        let rests = [
            "42]: x",
            "7]:  x",
            "7]:",
            "7]:x",
            "]: x",
            "4294967296]: x",
            "12345678901]: x",
            "7] x",
            "x7]: y",
            "7 ]: x",
        ];
        let mut headers = Headers::default();
        for head in heads.iter().chain(&heads) {
            for (a, b) in rests.iter().flat_map(|a| rests.map(|b| (a, b))) {
                for text in [a, &b].map(|rest| format!("{head}{rest}")) {
                    assert_eq!(headers.parse(text.as_bytes()), parse(text.as_bytes()), "{text}");
                }
            }
        }
        assert!(headers.parse(b" vm sshd[1]: x").is_some() && headers.known(b" vm sshd[22]: y").is_some());
    }

    #[test]
    fn a_repeated_message_holds_its_text() {
        assert_eq!(repeated(b"message repeated 5 times: [ a]b]"), Some((5, &b"a]b"[..])));
        assert_eq!(repeated(b"message repeated 0 times: [ a]"), None);
        assert_eq!(repeated(b"message repeated 5 times: a"), None);
    }
}
