use super::*;
use std::io::Write;

fn remove(path: &Path) {
    std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path)).unwrap();
    // Each has a directory of its own.
    let _ = path.parent().map(std::fs::remove_dir);
}

fn temporary(name: &str, content: &[u8]) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("pillory-scan-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn lines_of(content: &[u8]) -> Vec<usize> {
    let path = temporary(&format!("lines-{}", content.len()), content);
    let mut pieces = files::open(&path).unwrap().into_pieces();
    let mut lengths = Vec::new();
    while let Some(piece) = pieces.lines() {
        lengths.extend(piece.split(|b| *b == b'\n').map(<[u8]>::len));
    }
    remove(&path);
    lengths
}

#[test]
fn lines_are_whole_and_long_ones_cut() {
    assert_eq!(lines_of(b"a\nbb\n\nccc"), [1, 2, 0, 3]);
    let mut long = vec![b'x'; 5_000_000];
    long.extend_from_slice(b"\nnext\n");
    assert_eq!(lines_of(&long), [crate::sources::MAX_LINE_BYTES, 4]);
    let many = b"0123456789\n".repeat(300_000);
    let lengths = lines_of(&many);
    assert_eq!((lengths.len(), lengths.iter().all(|length| *length == 10)), (300_000, true));
}

#[test]
fn a_packed_log_is_unpacked() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"one\ntwo\n").unwrap();
    let path = temporary("packed.gz", &packed.finish().unwrap());
    let opened = files::open(&path).unwrap();
    assert_eq!((opened.format, opened.head.as_slice()), (Format::Text, b"one\ntwo\n".as_slice()));
    remove(&path);
}

#[test]
fn a_directory_is_refused_with_the_cure() {
    let path = temporary("x", b"");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(&path).unwrap();
    let refused = files::open(&path).err().unwrap();
    remove(&path);
    assert!(refused.contains("directory") && refused.contains("name the files"), "{refused}");
}
