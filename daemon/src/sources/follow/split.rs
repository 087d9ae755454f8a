//! Cuts bytes of a file into records: text lines at their newlines, btmp records at their fixed size.
//!
//! A [`Splitter`] is fed the bytes from the first one that it has not used yet, so it keeps no bytes itself:
//! what it leaves unused is handed to it again, longer. Memory is bounded by the caller's buffer.

use std::ops::Range;

use crate::sources::{MAX_BATCH_RECORDS, MAX_LINE_BYTES};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines of text.
    Lines,
    /// `struct utmp` records.
    Btmp,
}

/// What a splitter made of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The complete records, in order; at most [`MAX_BATCH_RECORDS`].
    pub(crate) records: Vec<Range<usize>>,
    /// How many bytes are dealt with; the rest comes again.
    pub(crate) used: usize,
}

/// Cuts the bytes of one file.
#[derive(Debug, Clone)]
pub(crate) struct Splitter {
    format: Format,
    /// Inside a line that was cut at the cap: everything up to its newline is skipped.
    pub(crate) skipping: bool,
    record_size: Option<usize>,
}

/// Sizes of `struct utmp`: with 32-bit time (x86_64 and most), and with 64-bit time (aarch64, s390x).
/// Source: glibc, `bits/utmp.h`, `__WORDSIZE_TIME64_COMPAT32`.
const RECORD_SIZES: [usize; 2] = [384, 400];

impl Splitter {
    /// `head`: the first bytes of the file, as far as they are there; they tell the size of btmp records.
    pub(crate) fn new(format: Format, head: &[u8], skipping: bool) -> Splitter {
        let record_size = if format == Format::Btmp { guess_record_size(head) } else { None };
        Splitter { format, skipping, record_size }
    }

    /// Cuts `bytes`, which begin at the first byte not used yet.
    pub(crate) fn cut(&mut self, bytes: &[u8]) -> Cut {
        match self.format {
            Format::Lines => self.cut_lines(bytes),
            Format::Btmp => self.cut_records(bytes),
        }
    }

    /// Where to begin so that at most the last `keep` bytes of `size` are read, and whether the rest of a
    /// line is to be skipped there.
    pub(crate) fn begin_near_end(&mut self, size: u64, keep: u64) -> u64 {
        if size <= keep {
            return 0;
        }
        match self.format {
            // One byte earlier, so that a line that begins right there is not skipped.
            Format::Lines => {
                self.skipping = true;
                size - keep - 1
            }
            Format::Btmp => {
                let record = self.record_size.unwrap_or(native_record_size()) as u64;
                (size - keep).div_ceil(record) * record
            }
        }
    }

    fn cut_lines(&mut self, bytes: &[u8]) -> Cut {
        let mut cut = Cut::default();
        for newline in memchr::memchr_iter(b'\n', bytes) {
            if !std::mem::take(&mut self.skipping) {
                let start = cut.used + leading_nuls(bytes.get(cut.used..newline));
                let end = newline.min(start + MAX_LINE_BYTES);
                let end = if end > start && bytes.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
                cut.records.push(start..end);
            }
            cut.used = newline + 1;
            if cut.records.len() == MAX_BATCH_RECORDS {
                return cut;
            }
        }
        if !self.skipping {
            cut.used += leading_nuls(bytes.get(cut.used..));
        }
        if self.skipping {
            cut.used = bytes.len();
        } else if bytes.len() - cut.used >= MAX_LINE_BYTES {
            cut.records.push(cut.used..cut.used + MAX_LINE_BYTES);
            self.skipping = true;
            cut.used = bytes.len();
        }
        cut
    }

    fn cut_records(&mut self, bytes: &[u8]) -> Cut {
        let mut cut = Cut::default();
        let size = match self.record_size.or_else(|| guess_record_size(bytes)) {
            Some(size) => size,
            None if bytes.len() < 2 * RECORD_SIZES[1] => return cut,
            None => native_record_size(),
        };
        self.record_size = Some(size);
        while let Some(record) = bytes.get(cut.used..cut.used + size) {
            let next = bytes.get(cut.used + size..);
            if is_record_of(size, record) || next.is_some_and(|next| is_record_of(size, next)) {
                // An all-zero record is a hole that a truncating rotation left, not a login.
                if record.iter().any(|&b| b != 0) {
                    cut.records.push(cut.used..cut.used + size);
                }
                cut.used += size;
                continue;
            }
            // Out of step, or garbage: go on at the next place that looks like a record.
            let rest = bytes.get(cut.used..).unwrap_or(&[]);
            match (1..=size).find(|&skip| rest.get(skip..).is_some_and(|at| is_record_of(size, at))) {
                Some(skip) => cut.used += skip,
                None if rest.len() >= 2 * size => cut.used += size,
                // What decides has not been written yet.
                None => break,
            }
        }
        cut
    }
}

/// What a hole in a file reads as.
const ZEROS: [u8; 4096] = [0; 4096];

/// Zero bytes before a line: a power failure, or a writer that goes on at its old place after a truncation,
/// leaves them in the midst of a log.
fn leading_nuls(bytes: Option<&[u8]>) -> usize {
    let bytes = bytes.unwrap_or(&[]);
    // By whole pieces first: a hole of gigabytes is read through here where its file system does not tell of it.
    let whole = bytes.chunks_exact(ZEROS.len()).take_while(|chunk| *chunk == ZEROS).count() * ZEROS.len();
    whole + bytes.get(whole..).unwrap_or(&[]).iter().take_while(|&&byte| byte == 0).count()
}

/// The size of the records of the machine that we run on.
fn native_record_size() -> usize {
    if cfg!(any(target_arch = "aarch64", target_arch = "s390x")) { RECORD_SIZES[1] } else { RECORD_SIZES[0] }
}

/// The size under which most of the first records make sense; nothing if none does.
fn guess_record_size(head: &[u8]) -> Option<usize> {
    let sense =
        |size: usize| head.chunks_exact(size).take(8).filter(|record| is_record_of(size, record)).count();
    let [narrow, wide] = RECORD_SIZES.map(sense);
    match narrow.cmp(&wide) {
        std::cmp::Ordering::Greater => Some(RECORD_SIZES[0]),
        std::cmp::Ordering::Less => Some(RECORD_SIZES[1]),
        std::cmp::Ordering::Equal if narrow > 0 => Some(native_record_size()),
        std::cmp::Ordering::Equal => None,
    }
}

/// Whether `bytes` begin with a whole `struct utmp` of that size that makes sense: a known type, zero padding
/// behind it, a time after 2001 and microseconds below a million. All fields that an attacker can fill
/// (user, host) are left out.
fn is_record_of(size: usize, bytes: &[u8]) -> bool {
    let Some(record) = bytes.get(..size) else { return false };
    is_record_with(record, false) || is_record_with(record, true)
}

fn is_record_with(record: &[u8], big_endian: bool) -> bool {
    let number = |at: usize, len: usize| -> u64 {
        let bytes = record.get(at..at + len).unwrap_or(&[]);
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    };
    let (secs, micros) = if record.len() == RECORD_SIZES[1] {
        (number(344, 8), number(352, 8))
    } else {
        (number(340, 4), number(344, 4))
    };
    (1..=9).contains(&number(0, 2))
        && number(2, 2) == 0
        && (1_000_000_000..1 << 33).contains(&secs)
        && micros < 1_000_000
}
