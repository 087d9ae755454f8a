//! What an entry says: which feeds want it, and its text in the form of a log line.

use std::io;

use pillory_core::hash::FastMap;

use super::layout::{Entry, JournalFile, damaged};
use crate::sources::{FeedId, MAX_LINE_BYTES};

/// The fields that make a line.
const FIELDS: [&[u8]; 6] = [b"_HOSTNAME", b"SYSLOG_IDENTIFIER", b"_COMM", b"_PID", b"SYSLOG_PID", b"MESSAGE"];
const COMM: usize = 2;
const MESSAGE: usize = 5;

/// So many shared values are remembered per file; more are looked up again.
const MAX_KNOWN: usize = 1024;

/// Longer values are not remembered.
const MAX_KNOWN_BYTES: usize = 256;

/// What feeds want of the journal, as one list of `FIELD=value` pairs.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pairs: Vec<Vec<u8>>,
    feeds: Vec<(FeedId, Vec<Alternative>)>,
}

/// What an entry must have of one field.
#[derive(Debug, Default)]
struct Wanted {
    /// The pairs of which one must be there.
    pairs: Vec<usize>,
    /// The pairs that stand in for a missing `_COMM`: journald reads it from the process, which may have ended
    /// before; the kernel vouches for `_UID` all the same.
    stand_ins: Vec<usize>,
}

type Alternative = Vec<Wanted>;

impl Matches {
    /// Adds a feed: an entry is for it if any alternative has, for each of its fields, one of its pairs.
    /// Without alternatives it is for every entry.
    pub(super) fn add(&mut self, feed: FeedId, alternatives: &[Vec<(String, String)>]) {
        let mut compiled = Vec::new();
        for pairs in alternatives {
            let has_uid = pairs.iter().any(|(field, _)| field == "_UID");
            let mut fields: Vec<(&str, Wanted)> = Vec::new();
            for (field, value) in pairs {
                let number = self.number_of(field, value);
                let stand_in =
                    (has_uid && field == "_COMM").then(|| self.number_of("SYSLOG_IDENTIFIER", value));
                let at = fields.iter().position(|(name, _)| name == field).unwrap_or_else(|| {
                    fields.push((field, Wanted::default()));
                    fields.len() - 1
                });
                if let Some((_, wanted)) = fields.get_mut(at) {
                    wanted.pairs.push(number);
                    wanted.stand_ins.extend(stand_in);
                }
            }
            compiled.push(fields.into_iter().map(|(_, wanted)| wanted).collect());
        }
        if compiled.is_empty() {
            compiled.push(Vec::new());
        }
        self.feeds.push((feed, compiled));
    }

    fn number_of(&mut self, field: &str, value: &str) -> usize {
        let pair = format!("{field}={value}").into_bytes();
        self.pairs.iter().position(|known| *known == pair).unwrap_or_else(|| {
            self.pairs.push(pair);
            self.pairs.len() - 1
        })
    }

    /// All feeds, in the order in which they were added.
    pub(super) fn feeds(&self) -> impl Iterator<Item = FeedId> {
        self.feeds.iter().map(|(feed, _)| *feed)
    }

    fn wanting(&self, held: &[usize], has_comm: bool) -> Vec<FeedId> {
        let any = |numbers: &[usize]| numbers.iter().any(|number| held.contains(number));
        let has = |alternative: &Alternative| {
            alternative.iter().all(|wanted| any(&wanted.pairs) || !has_comm && any(&wanted.stand_ins))
        };
        self.feeds.iter().filter(|(_, any)| any.iter().any(has)).map(|(feed, _)| *feed).collect()
    }

    fn pair(&self, payload: &[u8]) -> Option<usize> {
        self.pairs.iter().position(|pair| pair == payload)
    }
}

/// A value that many entries share.
#[derive(Debug, Clone)]
struct Known {
    pair: Option<usize>,
    field: Option<(usize, Vec<u8>)>,
}

/// Reads the entries of one file; remembers values that are shared, because nearly all are.
#[derive(Debug, Default)]
pub(super) struct Reader {
    known: FastMap<u64, Known>,
}

impl Reader {
    /// Appends an entry's text to `bytes` if any feed wants it, and returns those that do.
    /// # Errors
    /// What the kernel says to a read; [`io::ErrorKind::InvalidData`] if the file is damaged there.
    pub(super) fn read(
        &mut self,
        file: &JournalFile,
        entry: &Entry,
        matches: &Matches,
        bytes: &mut Vec<u8>,
    ) -> io::Result<Vec<FeedId>> {
        let offsets = file.data_offsets(entry)?;
        let mut held = Vec::new();
        let mut fields: [Option<Vec<u8>>; FIELDS.len()] = Default::default();
        let mut message_at = None;
        for offset in offsets {
            let known = match self.known.get(&offset) {
                Some(known) => known.clone(),
                None => self.look_up(file, offset, matches)?,
            };
            held.extend(known.pair);
            match known.field {
                Some((MESSAGE, _)) => message_at = message_at.or(Some(offset)),
                Some((field, value)) => {
                    if let Some(slot) = fields.get_mut(field) {
                        slot.get_or_insert(value);
                    }
                }
                None => {}
            }
        }
        let feeds = matches.wanting(&held, fields[COMM].is_some());
        if feeds.is_empty() {
            return Ok(feeds);
        }
        if let Some(offset) = message_at {
            let begin = "MESSAGE=".len();
            let payload = file.data(offset, MAX_LINE_BYTES + begin)?.payload;
            fields[MESSAGE] = Some(payload.get(begin..).unwrap_or(&[]).to_vec());
        }
        write_line(fields, bytes);
        Ok(feeds)
    }

    fn look_up(&mut self, file: &JournalFile, offset: u64, matches: &Matches) -> io::Result<Known> {
        let longest = matches.pairs.iter().map(Vec::len).max().unwrap_or(0);
        // One byte more than the longest pair, so that no longer value looks like one.
        let data = file.data(offset, MAX_KNOWN_BYTES.max(longest + 1))?;
        let payload = data.payload;
        let equals = memchr::memchr(b'=', &payload).ok_or_else(|| damaged("a value has no field name"))?;
        let (name, value) = payload.split_at(equals);
        let field = FIELDS.iter().position(|field| *field == name);
        let field = field.map(|field| (field, value.get(1..).unwrap_or(&[]).to_vec()));
        let known = Known { pair: matches.pair(&payload), field };
        if data.shared_by > 1 && payload.len() < MAX_KNOWN_BYTES {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            self.known.insert(offset, known.clone());
        }
        Ok(known)
    }
}

/// `HOST IDENT[PID]: MESSAGE`, as a log would have it, without a stamp.
fn write_line(fields: [Option<Vec<u8>>; FIELDS.len()], bytes: &mut Vec<u8>) {
    let begin = bytes.len();
    let [host, identifier, comm, pid, syslog_pid, message] = fields;
    bytes.extend(host.unwrap_or_default());
    if bytes.len() > begin {
        bytes.push(b' ');
    }
    let identifier = identifier.or(comm).filter(|name| !name.is_empty());
    bytes.extend(identifier.unwrap_or_else(|| b"unknown".to_vec()));
    if let Some(pid) = pid.or(syslog_pid) {
        bytes.push(b'[');
        bytes.extend(pid);
        bytes.push(b']');
    }
    bytes.extend(b": ");
    bytes.extend(message.unwrap_or_default());
    bytes.truncate(begin + MAX_LINE_BYTES);
    // A line is one line, whatever the message is.
    for byte in bytes.iter_mut().skip(begin).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}
