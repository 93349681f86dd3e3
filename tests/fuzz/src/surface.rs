//! One binary for every surface: `ALTHING_SURFACE` names the one to break.
#![no_main]

use althing_tests::surfaces::{Surface, named};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static SURFACE: LazyLock<Surface> = LazyLock::new(|| {
    let name = std::env::var("ALTHING_SURFACE").expect("ALTHING_SURFACE names a surface");
    named(&name)
});

fuzz_target!(|bytes: &[u8]| (SURFACE.take)(bytes));
