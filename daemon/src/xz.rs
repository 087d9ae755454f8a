//! The xz container, as far as packed logs and journald's values need it: streams of blocks that only LZMA2 packed.
//!
//! Checks of the plain form are passed over: what is damaged beyond them shows in lines that say nothing.
//! Source: "The .xz File Format", 1.2.1.

use std::io::{self, Read};

use lzma_rust2::Lzma2Reader;

/// How every stream begins.
pub(crate) const MAGIC: &[u8] = b"\xfd7zXZ\0";

/// What `xz -9` needs; more is refused, because a header may ask for 4 GiB.
const MAX_DICTIONARY: u32 = 64 << 20;

/// Bytes of the check behind a block, by its kind in the stream's flags.
const CHECK_BYTES: [usize; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/// Unpacks what it reads.
pub(crate) struct XzReader<R> {
    at: At<R>,
    check_bytes: usize,
}

enum At<R> {
    /// Before the first stream.
    Begin(Counted<R>),
    Block(Box<Lzma2Reader<Counted<R>>>),
    /// At the end, or where it broke.
    End,
}

/// Counts what was read: everything is padded to four bytes.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Read> Counted<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.by_ref().take(bytes), &mut io::sink())?;
        if passed == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn pass_padding(&mut self) -> io::Result<()> {
        self.pass(self.bytes.wrapping_neg() % 4)
    }

    /// A number of 7 bits a byte, the lowest first.
    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    /// The rest of a stream's header; returns how long its checks are.
    fn stream_header(&mut self) -> io::Result<usize> {
        let [_, check, ..] = self.array::<6>()?;
        CHECK_BYTES.get(usize::from(check)).copied().ok_or_else(|| damaged("the check is unknown"))
    }

    /// A block's header behind its first byte; returns the size of the dictionary.
    fn block_header(&mut self, first: u8) -> io::Result<u32> {
        let end = self.bytes - 1 + (u64::from(first) + 1) * 4;
        let flags = self.byte()?;
        for flag in [0x40, 0x80] {
            if flags & flag != 0 {
                self.number()?;
            }
        }
        let (filter, sizes) = (self.number()?, self.number()?);
        if flags & 3 != 0 || filter != 0x21 || sizes != 1 {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is packed with other filters than LZMA2",
            ));
        }
        let bits = self.byte()?;
        let rest = end.checked_sub(self.bytes).ok_or_else(|| damaged("a header is too short"))?;
        self.pass(rest)?;
        let size = (2 | u64::from(bits & 1)) << (bits / 2 + 11).min(40);
        let size = u32::try_from(size).ok().filter(|size| *size <= MAX_DICTIONARY);
        size.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "unpacking it takes more than 64 MiB"))
    }

    /// What follows the last block up to the end of its stream.
    fn index(&mut self) -> io::Result<()> {
        for _ in 0..self.number()? {
            self.number()?;
            self.number()?;
        }
        self.pass_padding()?;
        self.pass(4 + 12)
    }

    /// Passes zeros to the next stream; false if there is none.
    fn next_stream(&mut self) -> io::Result<bool> {
        let mut magic = [0; MAGIC.len()];
        loop {
            if self.read(&mut magic[..1])? == 0 {
                return Ok(false);
            }
            if magic[0] != 0 {
                self.read_exact(&mut magic[1..])?;
                return if magic == MAGIC { Ok(true) } else { Err(damaged("something else follows")) };
            }
        }
    }
}

impl<R: Read> XzReader<R> {
    /// Nothing is read yet.
    pub(crate) fn new(inner: R) -> XzReader<R> {
        XzReader { at: At::Begin(Counted { inner, bytes: 0 }), check_bytes: 0 }
    }

    /// Begins the next block, of this stream or, if `ended` says so, of the next one.
    fn next_block(&mut self, mut from: Counted<R>, mut ended: bool) -> io::Result<()> {
        loop {
            if ended {
                if !from.next_stream()? {
                    return Ok(());
                }
                from.bytes = MAGIC.len() as u64;
                self.check_bytes = from.stream_header()?;
            }
            let first = from.byte()?;
            if first != 0 {
                let dictionary = from.block_header(first)?;
                self.at = At::Block(Box::new(Lzma2Reader::new(from, dictionary, None)));
                return Ok(());
            }
            from.index()?;
            ended = true;
        }
    }
}

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.at, At::End) {
                At::Begin(from) => self.next_block(from, true)?,
                At::End => return Ok(0),
                At::Block(mut block) => {
                    let read = block.read(into)?;
                    if read > 0 || into.is_empty() {
                        self.at = At::Block(block);
                        return Ok(read);
                    }
                    let mut from = block.into_inner();
                    from.pass_padding()?;
                    from.pass(self.check_bytes as u64)?;
                    self.next_block(from, false)?;
                }
            }
        }
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::XzReader;

    /// Three blocks, with CRC-64, as `xz --block-size=400` makes them of [`lines`].
    const BLOCKS: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\x01\x8f\0']\x006\x1aJ\x1f\x08\xa0&\x03M\x06\x9d\xef\xed\x8a\xa7\x06\xfd4\x8b2\xc9\xf0\x9aW\x84YZ\x02)\xe3\xbeN\x05!\x02]\xbb9\x80\0\0\xb7\xba}\x10\xc0\x9e\xa0\x15\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\x01\x8f\0']\x006\x1aJ\x1f\x08\xa0<\xbb\xcd\x06\x9d\xef\xed\x8a\xa7\x06\xfd4\x8b3\x96\x88\xd4\"\xe6\xfd+'\xee^\xd0\x9b\xd1\xa72\\\xd4\x10\x80\0\0\x90\xee\xf7\x95\xfb;\xce\xf2\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\0\x9f\0&]\x006\x1aJ\x1f\x08\xa0+\xb1m\x06\x9d\xef\xed\x8a\xa7\x06\xfd4\x8b2\xfd\x16\xa9+\xf0\xca=m\xea\xb0\xe5\xdc\xf7\xb2i\xa2`\0\0\0\0(\xd1NI\x09 \x07\x11\0\x03C\x90\x03C\x90\x03B\xa0\x01\0\xf0\xa6\xfb\x0d\x14\x17;0\x03\0\0\0\0\x04YZ";

    /// One stream of [`lines`], eight zeros, one of "more\n" with SHA-256, an empty one without checks.
    const STREAMS: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\x03\xbf\0+]\x006\x1aJ\x1f\x08\xa0&\x03M\x06\x9d\xef\xed\x8a\xa7\x06\xfd4\x8b2\xc9\xf0\x9aW\x84YZ\x02)\xe3\xbeN\x05!\x02\x8e\xd3\xfd\xc2\xd3\xbd$\0\0\0E\xa3\x0b\x99\x02\xec\xd1c\0\x01G\xc0\x07\0\0\0k>\xca\xa5\xb1\xc4g\xfb\x02\0\0\0\0\x04YZ\0\0\0\0\0\0\0\0\xfd7zXZ\0\0\x0a\xe1\xfb\x0c\xa1\x02\0!\x01\x16\0\0\0t/\xe5\xa3\x01\0\x04more\x0a\0\0\0\0#\x96\x09\x9cl\x08O\xa4\xb9\xbe\xac\x9f\x0dR\xcf;\xe9\xcf\x8dG\x04\x0e\xf1'\x88=S+W\x90\xcdt\0\x015\x05\x12\x83\xdd\xf2\x18\x9bK\x9a\x01\0\0\0\0\x0aYZ\xfd7zXZ\0\0\0\xff\x12\xd9A\0\0\0\0\x1c\xdfD!\x06r\x9ez\x01\0\0\0\0\0YZ";

    fn lines() -> String {
        (0..60).map(|at| format!("line {} of a log\n", at % 7)).collect()
    }

    fn unpack(packed: &[u8]) -> std::io::Result<String> {
        let mut plain = String::new();
        XzReader::new(packed).read_to_string(&mut plain).map(|_| plain)
    }

    #[test]
    fn all_blocks_and_all_streams_unpack() {
        assert_eq!(unpack(BLOCKS).unwrap(), lines());
        assert_eq!(unpack(STREAMS).unwrap(), lines() + "more\n");
    }

    #[test]
    fn what_is_cut_off_is_an_error_after_what_is_there() {
        // Between two streams is no cut.
        let last = STREAMS.windows(6).rposition(|at| at == super::MAGIC).unwrap();
        for end in 1..BLOCKS.len() {
            assert!(unpack(&BLOCKS[..end]).is_err(), "{end}");
        }
        assert!(unpack(&STREAMS[..last]).is_ok());
        let mut plain = Vec::new();
        let cut = XzReader::new(&BLOCKS[..120]).read_to_end(&mut plain);
        assert!(cut.is_err() && lines().as_bytes().starts_with(&plain) && plain.len() >= 400, "{cut:?}");
    }

    #[test]
    fn no_changed_byte_makes_it_fail_in_another_way_than_by_an_error() {
        for at in 0..STREAMS.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = STREAMS.to_vec();
                damaged[at] ^= change;
                let mut plain = Vec::new();
                // Checks are passed over, so some changes are not seen.
                drop(XzReader::new(damaged.as_slice()).take(1 << 16).read_to_end(&mut plain));
            }
        }
    }
}
