//! The one place where the Wasm engine is configured (promise P11).
//!
//! Every setting is written out, defaults too, so that a new wasmtime cannot change one behind our
//! back, and each is written into a listing that the fingerprint hashes. The target is the
//! architecture's baseline and never the machine's own processor, so that code, and with it stack use,
//! is equal on every replica.
//!
//! Instances are allocated on demand and not from a pool: an exhausted pool would be a fault that
//! depends on the neighbours (`docs/decisions/0010`).

use crate::{costs, thread::WASM_STACK_BYTES};
use std::{fmt::Write as _, num::NonZeroUsize};
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Inlining, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel, ProfilingStrategy,
    RegallocAlgorithm, Strategy, WasmBacktraceDetails,
};

/// The instruction set every replica compiles for.
pub(crate) const TARGET: &str = if cfg!(target_arch = "x86_64") {
    "x86_64-unknown-linux-gnu"
} else if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    panic!("Althing runs guests on x86_64 and aarch64 only")
};

/// What a guest may be made of; everything else that wasmparser knows is off. SIMD is off too: no
/// guest language needs it, and its code generation has had more wrong answers than the rest.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// How hard the compiler tries. Both give the same outcomes; fingerprints differ nevertheless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimization {
    /// What nodes run.
    #[default]
    Speed,
    /// Quick to compile, slower to run: for authors' tests.
    None,
}

/// A configuration and its canonical listing, one `name = value` a line.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) listing: String,
}

/// Applies settings and lists them.
macro_rules! apply {
    ($settings:ident: $($name:ident = $value:expr),* $(,)?) => {$(
        let value = $value;
        writeln!($settings.listing, "{} = {value:?}", stringify!($name)).expect("a string takes any text");
        $settings.config.$name(value);
    )*};
}

/// The configuration of every engine in every process.
pub(crate) fn settings(optimization: Optimization) -> wasmtime::Result<Settings> {
    let mut settings = Settings { config: Config::new(), listing: String::new() };
    settings.config.target(TARGET)?;
    writeln!(settings.listing, "target = {TARGET}").expect("a string takes any text");
    features(&mut settings);
    compiler(&mut settings, optimization);
    runtime(&mut settings);
    Ok(settings)
}

fn features(settings: &mut Settings) {
    settings.config.wasm_features(WasmFeatures::all().difference(FEATURES), false);
    settings.config.wasm_features(FEATURES, true);
    for (name, feature) in WasmFeatures::all().iter_names() {
        let on = FEATURES.contains(feature);
        writeln!(settings.listing, "feature {name} = {on}").expect("a string takes any text");
    }
}

fn compiler(settings: &mut Settings, optimization: Optimization) {
    let level = match optimization {
        Optimization::Speed => OptLevel::Speed,
        Optimization::None => OptLevel::None,
    };
    apply! { settings:
        strategy = Strategy::Cranelift,
        cranelift_opt_level = level,
        cranelift_regalloc_algorithm = RegallocAlgorithm::Backtracking,
        cranelift_nan_canonicalization = true,
        cranelift_debug_verifier = false,
        cranelift_wasmtime_debug_checks = false,
        compiler_inlining = Inlining::No,
        relaxed_simd_deterministic = true,
        consume_fuel = true,
        epoch_interruption = false,
        signals_based_traps = true,
        generate_address_map = false,
        native_unwind_info = false,
        debug_info = false,
        debug_symbols = false,
    }
    let costs = costs::operators();
    writeln!(settings.listing, "operator_cost = {costs:#?}").expect("a string takes any text");
    settings.config.operator_cost(costs);
    settings.config.module_version(ModuleVersionStrategy::WasmtimeVersion).expect("a known strategy");
}

/// A linear memory is reserved whole, with guard pages, so that it never moves and needs no bounds
/// checks: address space, not memory.
fn runtime(settings: &mut Settings) {
    apply! { settings:
        concurrency_support = false,
        gc_support = false,
        shared_memory = false,
        max_wasm_stack = WASM_STACK_BYTES,
        async_stack_size = WASM_STACK_BYTES,
        async_stack_zeroing = false,
        wasm_backtrace_max_frames = NonZeroUsize::new(1),
        wasm_backtrace_details = WasmBacktraceDetails::Disable,
        profiler = ProfilingStrategy::None,
        memory_reservation = 4 << 30,
        memory_guard_size = 32 << 20,
        memory_reservation_for_growth = 0,
        memory_may_move = false,
        guard_before_linear_memory = true,
        memory_init_cow = true,
        memory_guaranteed_dense_image_size = 16 << 20,
        force_memory_init_memfd = false,
        table_lazy_init = true,
    }
    settings.config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_and_admission_know_the_same_features() {
        for optimization in [Optimization::Speed, Optimization::None] {
            let engine = wasmtime::Engine::new(&settings(optimization).unwrap().config).unwrap();
            assert_eq!(engine.get_wasm_features(), FEATURES);
        }
    }

    #[test]
    fn optimization_is_part_of_the_listing() {
        assert_ne!(
            settings(Optimization::Speed).unwrap().listing,
            settings(Optimization::None).unwrap().listing
        );
    }
}
