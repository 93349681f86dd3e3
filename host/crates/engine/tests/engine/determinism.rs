//! Same component, same calls: same outcomes and same fuel, in another engine and from the cache.

use crate::support::*;
use althing_core::{ids::Hash, program::Program, state::Keyspace};
use althing_engine::{Engine, EngineOptions, Optimization};
use std::{fs, path::Path};

/// Counts in the state, computes with floats, grows memory, sometimes rejects, traps or loops.
fn moody() -> Reducer {
    let items = "
        (global $n (mut i32) (i32.const 0)) (global $f (mut f64) (f64.const 0.1))
        (func $work (param $k i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (global.set $f (f64.div (f64.sqrt (f64.sub (global.get $f) (f64.convert_i32_s (local.get $k)))) (f64.const 0)))
          (f64.store (i32.const 3000) (global.get $f))
          (i32.store (i32.const 3008) (global.get $n))
          (drop (memory.grow (i32.and (local.get $k) (i32.const 3))))
          (i32.store (i32.const 3012) (memory.size))
          (call $set (i32.const 3008) (i32.const 4) (i32.const 3000) (i32.const 16))
          (call $emit (i32.const 512) (i32.const 5) (i32.const 3000) (i32.const 16)))";
    Reducer {
        items: items.into(),
        ..Reducer::reduce(
            "(call $work (i32.load8_u (local.get $op)))
             (if (i32.eq (i32.load8_u (local.get $op)) (i32.const 3)) (then (return (call $reject))))
             (if (i32.eq (i32.load8_u (local.get $op)) (i32.const 5)) (then unreachable))
             (if (i32.eq (i32.load8_u (local.get $op)) (i32.const 6)) (then (loop (br 0))))
             (call $ok (i32.const 3000) (i32.const 16))",
        )
    }
}

/// Everything that came of 24 operations, as text.
fn transcript(engine: &Engine, component: Hash) -> Vec<String> {
    let mut program = engine.load(&manifest(component, &[])).expect("the host has no fault");
    let mut state = state(&[]);
    let mut told = Vec::new();
    for n in 0..24_u8 {
        if n % 8 == 0 {
            program.begin_batch();
        }
        let run =
            reduce_over(&mut program, state.clone(), &[n % 8], 10_000_000).expect("the host has no fault");
        let (end, fuel) = (run.end, run.fuel);
        let written = run.overlay.into_written();
        told.push(format!("{end:?} {fuel} {written:?}"));
        for write in written.writes {
            state.put(Keyspace::Program, &write.key, write.value);
        }
    }
    told
}

fn cached(directory: &Path) -> Engine {
    Engine::new(EngineOptions { cache_dir: Some(directory.to_owned()), ..EngineOptions::default() })
        .expect("the host has no fault")
}

fn cache_files(directory: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(directory)
        .expect("the host has no fault")
        .map(|entry| entry.expect("the host has no fault").path())
        .collect()
}

#[test]
fn engines_artifacts_and_optimization_levels_agree() {
    let directory = tempfile::tempdir().unwrap();
    for reducer in [moody(), moody().per_batch()] {
        let component = reducer.component();
        let first = cached(directory.path());
        let hash = prepare(&first, &component).unwrap();
        let expected = transcript(&first, hash);
        assert_eq!(transcript(&first, hash), expected, "twice on one engine");

        let from_cache = cached(directory.path());
        assert!(from_cache.is_prepared(hash), "another process finds the artifact");
        assert_eq!(transcript(&from_cache, hash), expected, "from the artifact");

        for optimization in [Optimization::Speed, Optimization::None] {
            let other = Engine::new(EngineOptions { optimization, ..EngineOptions::default() }).unwrap();
            prepare(&other, &component).unwrap();
            assert_eq!(transcript(&other, hash), expected, "{optimization:?}");
        }
    }
}

#[test]
fn a_damaged_cache_entry_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let component = moody().component();
    let hash = prepare(&cached(directory.path()), &component).unwrap();
    let [file] = &cache_files(directory.path())[..] else { panic!("one file is there") };
    let whole = fs::read(file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&b""[..], &whole[..whole.len() - 1], &whole[..40], &flipped] {
        fs::write(file, damaged).unwrap();
        let engine = cached(directory.path());
        assert!(!engine.is_prepared(hash), "a damaged entry is none");
        assert!(engine.load(&manifest(hash, &[])).is_err());
        prepare(&engine, &component).unwrap();
        assert_eq!(fs::read(file).unwrap(), whole, "compiled again, byte for byte");
    }
}

#[test]
fn the_cache_tells_engines_apart() {
    let directory = tempfile::tempdir().unwrap();
    let component = moody().component();
    let hash = prepare(&cached(directory.path()), &component).unwrap();
    let other = Engine::new(EngineOptions {
        cache_dir: Some(directory.path().to_owned()),
        optimization: Optimization::None,
        ..EngineOptions::default()
    })
    .unwrap();
    assert_ne!(other.fingerprint(), cached(directory.path()).fingerprint());
    assert!(!other.is_prepared(hash));
    prepare(&other, &component).unwrap();
    assert_eq!(cache_files(directory.path()).len(), 2);
}

#[test]
fn half_written_files_are_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("left.123.0.tmp"), b"half").unwrap();
    let _engine = cached(directory.path());
    assert!(cache_files(directory.path()).is_empty());
}

#[test]
fn a_component_that_was_never_prepared_is_a_fault_to_load() {
    let Err(fault) = engine().load(&manifest(Hash::default(), &[])) else { panic!("it is nowhere") };
    assert!(fault.what.contains("not prepared"), "{fault}");
}
