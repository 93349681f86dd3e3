//! What takes bytes from outside, one surface a file: given any bytes at all, it neither panics, nor hangs, nor
//! calls the host faulty for what a stranger sent; and what it takes, it takes the same way every time.
//!
//! A surface is tried in two ways. Fuzzing (`cargo xtask fuzz`, in `tests/fuzz/`) looks for bytes that break it.
//! What was found worth keeping lies in `tests/fuzz/corpus/`, and is tried again by `tests/tests/surfaces.rs`
//! with the stable compiler, each with some thousand small changes.

mod batches;
mod chunks;
mod component;
mod door;
mod exports;
mod manifest;
mod peers;
pub mod pieces;
mod records;
mod segments;
mod values;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One surface.
#[derive(Clone, Copy)]
pub struct Surface {
    /// Its name: of its corpus' folder too.
    pub name: &'static str,
    /// Tries bytes on it.
    ///
    /// Panics when the surface does what it must not.
    pub take: fn(&[u8]),
    /// What is well formed, or nearly: where looking begins. Each has a name.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
    /// How many changed inputs a short try makes of the whole corpus.
    pub changes: usize,
}

/// All of them.
pub const ALL: [Surface; 10] = [
    Surface { name: "records", take: records::take, seeds: records::seeds, changes: 20_000 },
    Surface { name: "batches", take: batches::take, seeds: batches::seeds, changes: 3_000 },
    Surface { name: "manifest", take: manifest::take, seeds: manifest::seeds, changes: 10_000 },
    Surface { name: "chunks", take: chunks::take, seeds: chunks::seeds, changes: 5_000 },
    Surface { name: "segments", take: segments::take, seeds: segments::seeds, changes: 5_000 },
    Surface { name: "component", take: component::take, seeds: component::seeds, changes: 1_000 },
    Surface { name: "values", take: values::take, seeds: values::seeds, changes: 500 },
    Surface { name: "exports", take: exports::take, seeds: exports::seeds, changes: 60 },
    Surface { name: "peers", take: peers::take, seeds: peers::seeds, changes: 60 },
    Surface { name: "door", take: door::take, seeds: door::seeds, changes: 60 },
];

/// The surface of a name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> Surface {
    *ALL.iter().find(|surface| surface.name == name).expect("there is such a surface")
}

impl Surface {
    /// Where its corpus lies.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus").join(self.name)
    }

    /// The corpus, in the order of its files' names: each with its name.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.corpus();
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("the corpus can be read");
                let bytes = fs::read(entry.path()).expect("the corpus can be read");
                (entry.file_name().to_string_lossy().into_owned(), bytes)
            })
            .collect();
        inputs.sort();
        inputs
    }

    /// Writes the seeds that the corpus lacks.
    ///
    /// # Errors
    /// The disk's.
    pub fn sow(&self) -> std::io::Result<()> {
        fs::create_dir_all(self.corpus())?;
        for (name, bytes) in (self.seeds)() {
            fs::write(self.corpus().join(format!("seed-{name}")), bytes)?;
        }
        Ok(())
    }
}

/// Bytes at which things change their meaning.
const EDGES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];

/// Bytes with one to four small changes: a bit, a byte, a number at its end, a part away, a part twice, or a part of
/// another input.
#[must_use]
pub fn changed(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut changed = bytes.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=changed.len());
        let length = rng.random_range(0..=(changed.len() - at).min(64));
        match rng.random_range(0..6) {
            0 if at < changed.len() => changed[at] ^= 1 << rng.random_range(0..8),
            1 if at < changed.len() => changed[at] = EDGES[rng.random_range(0..EDGES.len())],
            2 => drop(changed.splice(at..at + length, [0xff; 9])),
            3 => drop(changed.drain(at..at + length)),
            4 => {
                let part = changed[at..at + length].to_vec();
                drop(changed.splice(at..at, part));
            }
            _ => {
                let from = rng.random_range(0..=other.len());
                let until = rng.random_range(from..=other.len());
                drop(changed.splice(at..at + length, other[from..until].iter().copied()));
            }
        }
    }
    changed
}
