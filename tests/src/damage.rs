//! What a failing disk does to what a stopped node has stored: a flipped bit.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// How the first chunk of every snapshot begins: the chunk's format, and the key under which a community's
/// header lies (`althing_core::snapshot`, golden vector `chunk`).
const BEGINNING: &[u8] = b"\x01\x07\x00header";

/// In the first frame of SQLite's WAL: everything behind it is taken for not written.
pub const FIRST_FRAME: u64 = 32 + 24 + 100;

/// Flips the lowest bit of a byte of a file.
///
/// # Panics
/// When the file is not there, or not that long.
pub fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 1], at).expect("it can be written");
}

/// Flips a bit of the first chunk of the snapshots of a community that lie in a data directory: of the one
/// at `sequence`, or of all. How many bits.
///
/// # Panics
/// When the archive cannot be read or written.
#[must_use]
pub fn flip_snapshots(data: &Path, community: u64, sequence: Option<u64>) -> usize {
    let path = data.join("archive.db");
    let bytes = fs::read(&path).expect("the node has an archive");
    let file = OpenOptions::new().write(true).open(&path).expect("it can be written");
    let mut flipped = 0;
    for place in 0..bytes.len().saturating_sub(BEGINNING.len()) {
        if !bytes[place..].starts_with(BEGINNING) {
            continue;
        }
        // A record: its length, its format, the community, the sequence.
        let mut rest = &bytes[place + BEGINNING.len()..];
        let [_, _, found, at] = [(); 4].map(|()| number(&mut rest));
        if found == community && sequence.is_none_or(|sequence| sequence == at) {
            let last = place + BEGINNING.len() - 1;
            file.write_all_at(&[bytes[last] ^ 1], last as u64).expect("it can be written");
            flipped += 1;
        }
    }
    file.sync_all().expect("it can be written");
    flipped
}

/// A number as records hold it: seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0..10 {
        let Some((&byte, rest)) = bytes.split_first() else { return number };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    number
}
