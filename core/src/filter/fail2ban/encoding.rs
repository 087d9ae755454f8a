//! `logencoding`: from the bytes of a log to UTF-8, which is what expressions read.
//!
//! What cannot be read becomes U+FFFD, as in fail2ban, so a broken byte hides no line. UTF-8 is not touched. Lines come
//! parted at the byte 0x0A; in UTF-16 the other half of that character is left over and dropped here.

use std::borrow::Cow;
use std::str::FromStr;

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `utf-8`, and `auto`, whatever the host's locale.
    #[default]
    Utf8,
    /// `ascii`: what is beyond is unreadable.
    Ascii,
    /// `latin-1`, `iso-8859-1`.
    Latin1,
    /// `iso-8859-15`: Latin-1 with the euro sign and seven letters.
    Latin9,
    /// `cp1252`, `windows-1252`: Latin-1 with printed characters from 0x80 to 0x9F.
    Windows1252,
    /// `utf-16`, `utf-16-le`; a byte order mark may say otherwise for its line.
    Utf16Le,
    /// `utf-16-be`.
    Utf16Be,
}

/// An encoding that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("encoding {0:?} is not supported; write auto, utf-8, ascii, latin-1, iso-8859-15, cp1252 or utf-16")]
pub struct EncodingError(pub String);

/// Names as Python takes them, in small letters and without `-`, `_` and blanks.
const NAMES: [(&str, Encoding); 25] = [
    ("auto", Encoding::Utf8),
    ("utf8", Encoding::Utf8),
    ("u8", Encoding::Utf8),
    ("utf8sig", Encoding::Utf8),
    ("ascii", Encoding::Ascii),
    ("usascii", Encoding::Ascii),
    ("646", Encoding::Ascii),
    ("latin1", Encoding::Latin1),
    ("latin", Encoding::Latin1),
    ("l1", Encoding::Latin1),
    ("iso88591", Encoding::Latin1),
    ("88591", Encoding::Latin1),
    ("cp819", Encoding::Latin1),
    ("latin9", Encoding::Latin9),
    ("l9", Encoding::Latin9),
    ("iso885915", Encoding::Latin9),
    ("cp1252", Encoding::Windows1252),
    ("1252", Encoding::Windows1252),
    ("windows1252", Encoding::Windows1252),
    ("utf16", Encoding::Utf16Le),
    ("u16", Encoding::Utf16Le),
    ("utf16le", Encoding::Utf16Le),
    ("unicodelittleunmarked", Encoding::Utf16Le),
    ("utf16be", Encoding::Utf16Be),
    ("unicodebigunmarked", Encoding::Utf16Be),
];

/// What ISO 8859-15 changes. Source: ISO/IEC 8859-15.
const LATIN9: [(u8, char); 8] =
    [(0xA4, '€'), (0xA6, 'Š'), (0xA8, 'š'), (0xB4, 'Ž'), (0xB8, 'ž'), (0xBC, 'Œ'), (0xBD, 'œ'), (0xBE, 'Ÿ')];

/// 0x80 to 0x9F of Windows-1252; five places are empty. Source: Unicode's CP1252.TXT.
const WINDOWS1252: [char; 32] = [
    '€', '\u{FFFD}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{FFFD}', 'Ž', '\u{FFFD}',
    '\u{FFFD}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{FFFD}', 'ž', 'Ÿ',
];

impl FromStr for Encoding {
    type Err = EncodingError;

    /// Takes the names that Python takes.
    fn from_str(text: &str) -> Result<Encoding, EncodingError> {
        let skipped = |c: &char| !matches!(c, '-' | '_' | ' ');
        let name: String = text.trim().to_lowercase().chars().filter(skipped).collect();
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, encoding)| *encoding).ok_or_else(|| EncodingError(text.to_owned()))
    }
}

impl Encoding {
    /// The line as UTF-8; `bytes` as they are if they are that already.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let byte: fn(u8) -> char = match self {
            Encoding::Utf8 => return Cow::Borrowed(bytes),
            Encoding::Utf16Le => return Cow::Owned(utf16(bytes, false).into_bytes()),
            Encoding::Utf16Be => return Cow::Owned(utf16(bytes, true).into_bytes()),
            _ if bytes.is_ascii() => return Cow::Borrowed(bytes),
            Encoding::Ascii => |byte| if byte.is_ascii() { char::from(byte) } else { '\u{FFFD}' },
            Encoding::Latin1 => char::from,
            Encoding::Latin9 => {
                |byte| LATIN9.iter().find(|(at, _)| *at == byte).map_or(char::from(byte), |(_, c)| *c)
            }
            Encoding::Windows1252 => |byte| match byte {
                0x80..=0x9F => WINDOWS1252[usize::from(byte - 0x80)],
                other => char::from(other),
            },
        };
        Cow::Owned(bytes.iter().map(|b| byte(*b)).collect::<String>().into_bytes())
    }
}

fn utf16(bytes: &[u8], mut is_big: bool) -> String {
    let mut bytes = match bytes {
        [0xFF, 0xFE, rest @ ..] => {
            is_big = false;
            rest
        }
        [0xFE, 0xFF, rest @ ..] => {
            is_big = true;
            rest
        }
        // The upper half of the line end before this line.
        [0, rest @ ..] if !is_big => rest,
        all => all,
    };
    // The upper half of this line's own end.
    if let (true, [rest @ .., 0]) = (is_big && bytes.len() % 2 == 1, bytes) {
        bytes = rest;
    }
    let pairs = bytes.chunks(2).map(|pair| match (pair, is_big) {
        ([a, b], true) => u16::from_be_bytes([*a, *b]),
        ([a, b], false) => u16::from_le_bytes([*a, *b]),
        // Half a character.
        _ => 0xFFFD,
    });
    char::decode_utf16(pairs).map(|c| c.unwrap_or('\u{FFFD}')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(name: &str, bytes: &[u8]) -> String {
        String::from_utf8(name.parse::<Encoding>().unwrap().decode(bytes).into_owned()).unwrap()
    }

    #[test]
    fn single_bytes_become_characters() {
        assert_eq!(decoded("latin-1", b"M\xfcller \xa4\x80"), "Müller ¤\u{80}");
        assert_eq!(decoded("ISO-8859-15", b"M\xfcller \xa4"), "Müller €");
        assert_eq!(decoded("cp1252", b"M\xfcller \x80\x81"), "Müller €\u{FFFD}");
        assert_eq!(decoded("US-ASCII", b"M\xfcller"), "M\u{FFFD}ller");
    }

    #[test]
    fn utf8_is_not_touched() {
        let broken = b"M\xfcller";
        for name in ["auto", "UTF-8", "utf8"] {
            assert_eq!(&*name.parse::<Encoding>().unwrap().decode(broken), broken);
        }
    }

    #[test]
    fn utf16_is_read_line_by_line_as_it_is_parted_at_line_ends() {
        let text = "\u{FEFF}erste Zeile ü\nzweite 😀\ndritte";
        for (name, bytes) in [
            ("utf-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
            ("utf-16-be", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ] {
            let lines: Vec<String> = bytes.split(|b| *b == b'\n').map(|line| decoded(name, line)).collect();
            assert_eq!(lines, ["erste Zeile ü", "zweite 😀", "dritte"], "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!("ebcdic".parse::<Encoding>(), Err(EncodingError("ebcdic".to_owned())));
    }
}
