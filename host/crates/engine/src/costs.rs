//! What a guest pays, in fuel: each wasm operator, each host call, each instance.
//!
//! All of it is part of the fingerprint: a change of any number changes outcomes, so it takes
//! effect for a whole community at one place of its history (promise P11). One fuel is about the
//! time of one simple instruction; what costs the machine more, costs more here.

use wasmtime::OperatorCost;

/// A fresh instance, wherever one is made.
pub(crate) const INSTANCE: u64 = 20_000;
/// Any host call.
pub(crate) const HOST_CALL: u64 = 200;
/// A lookup of one key.
pub(crate) const LOOKUP: u64 = 500;
/// A write of one key or one timer, or one event.
pub(crate) const WRITE: u64 = 1_000;
/// The start of a scan.
pub(crate) const SCAN: u64 = 1_000;
/// One pair of a scan.
pub(crate) const SCAN_PAIR: u64 = 200;
/// One byte carried over the boundary, in or out.
pub(crate) const BYTE: u64 = 1;

/// Every number above with its name: for the fingerprint.
pub(crate) const HOST_COSTS: [(&str, u64); 7] = [
    ("instance", INSTANCE),
    ("host-call", HOST_CALL),
    ("lookup", LOOKUP),
    ("write", WRITE),
    ("scan", SCAN),
    ("scan-pair", SCAN_PAIR),
    ("byte", BYTE),
];

/// The cost of each wasm operator. Wasmtime's default of one, but for what measurably takes
/// longer: an `i64.div` loop burned 3.1 G fuel a second at cost one, a plain loop 8.3 G.
pub(crate) fn operators() -> OperatorCost {
    let mut costs = OperatorCost::new();
    for division in [
        &mut costs.I32DivS,
        &mut costs.I32DivU,
        &mut costs.I32RemS,
        &mut costs.I32RemU,
        &mut costs.F32Div,
        &mut costs.F32Sqrt,
    ] {
        *division = 3;
    }
    for division in [
        &mut costs.I64DivS,
        &mut costs.I64DivU,
        &mut costs.I64RemS,
        &mut costs.I64RemU,
        &mut costs.F64Div,
        &mut costs.F64Sqrt,
    ] {
        *division = 4;
    }
    costs.Call = 2;
    costs.CallIndirect = 4;
    costs.MemoryGrow = 200;
    costs.TableGrow = 200;
    costs.variable.memory_grow_per_page = 255;
    costs
}
