//! Every surface that takes bytes from outside, with its corpus and small changes of it: nothing panics, nothing hangs,
//! and no stranger's mistake is called the host's (`cargo xtask fuzz` looks further).
//!
//! `ALTHING_WRITE_SEEDS=1` writes the seeds into the corpora first.

use althing_tests::surfaces::{ALL, Surface, changed, named};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn try_all(name: &str) {
    let surface = named(name);
    if std::env::var_os("ALTHING_WRITE_SEEDS").is_some() {
        surface.sow().expect("the corpus can be written");
    }
    let inputs = surface.inputs();
    for (file, bytes) in &inputs {
        must_take(surface, bytes, file);
    }
    for place in 0..surface.changes {
        let (file, bytes) = &inputs[place % inputs.len()];
        let (_, other) = &inputs[place * 7 % inputs.len()];
        let changed = changed(bytes, other, place as u64);
        must_take(surface, &changed, &format!("change {place} of {file}"));
    }
}

fn must_take(surface: Surface, bytes: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (surface.take)(bytes))).is_err() {
        panic!("{}: {what} breaks it (see above): {}", surface.name, hex::encode(bytes));
    }
}

#[test]
fn every_surface_has_a_corpus_with_its_seeds() {
    for surface in ALL {
        let names: Vec<String> = surface.inputs().into_iter().map(|(name, _)| name).collect();
        for (seed, _) in (surface.seeds)() {
            assert!(
                names.contains(&format!("seed-{seed}")),
                "{}: ALTHING_WRITE_SEEDS=1 writes {seed}",
                surface.name
            );
        }
    }
}

#[test]
fn records() {
    try_all("records");
}

#[test]
fn batches() {
    try_all("batches");
}

#[test]
fn manifest() {
    try_all("manifest");
}

#[test]
fn chunks() {
    try_all("chunks");
}

#[test]
fn segments() {
    try_all("segments");
}

#[test]
fn component() {
    try_all("component");
}

#[test]
fn values() {
    try_all("values");
}

#[test]
fn exports() {
    try_all("exports");
}

#[test]
fn peers() {
    try_all("peers");
}

#[test]
fn door() {
    try_all("door");
}
