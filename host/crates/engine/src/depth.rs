//! How deep guests may call, decided by us and not by the machine's stack.
//!
//! Where a native stack overflows depends on the compiler, its settings, the processor and the host's own build,
//! so it can never be an outcome (promise P3). Instead every core module is rewritten: a global holds
//! what is left of its *stack budget*; entering a function takes the cost of its frame out, leaving
//! puts it back, and where nothing is left a function named [`TOO_DEEP`] is called, which traps.
//!
//! A frame's cost is a bound on its native size, computed from the wasm alone: a constant (that
//! limits depth to [`limits::GUEST_DEPTH_MAX`] frames) and 16 bytes for each parameter, local and operand. The
//! optimiser can keep more alive than that, so [`crate::frames`] compares the compiled frames with
//! their costs and refuses a component where one is larger: then the budget bounds the native
//! stack. Small functions that call nothing are not charged; only one of them runs at a time.
//!
//! All module instances of a component have budgets of their own, and together one: the largest
//! module three quarters, since in components made of one program and shims only it recurses.

use crate::{
    admission::{AdmissionError, FunctionPlan, ModulePlan, Survey},
    thread::WASM_STACK_BYTES,
};
use althing_core::limits;
use wasm_encoder::{Component, RawSection};
use wasmparser::{Parser, Payload};

mod rewrite;

/// The name of the function that traps when the budget is used up.
pub(crate) const TOO_DEEP: &str = "althing:too-deep";

/// The budget of a whole component, in bytes of native stack.
const BUDGET: u32 = 12 << 20;
/// What every frame costs.
const FRAME: u32 = BUDGET / limits::GUEST_DEPTH_MAX;
/// What every parameter, local and operand costs.
const SLOT: u32 = 16;
/// The largest native frame that goes uncharged.
pub(crate) const LEAF_BYTES_MAX: u32 = 64 << 10;

/// Every number above with its name: for the fingerprint.
pub(crate) const NUMBERS: [(&str, u64); 4] = [
    ("depth budget", BUDGET as u64),
    ("depth frame", FRAME as u64),
    ("depth slot", SLOT as u64),
    ("depth leaf", LEAF_BYTES_MAX as u64),
];

const _: () = {
    assert!(
        BUDGET as usize + (4 << 20) <= WASM_STACK_BYTES,
        "adapters, trampolines, a leaf and host frames fit too"
    );
    assert!(FRAME > 512, "ordinary frames cost more than they take");
};

/// What a function with so many values in its frame costs.
pub(crate) const fn plan(slots: u32, calls: bool) -> FunctionPlan {
    let cost = FRAME.saturating_add(slots.saturating_mul(SLOT));
    FunctionPlan { cost, guarded: calls || cost > LEAF_BYTES_MAX }
}

/// Puts the limit into every core module of a component. Everything else stays as it is, but for
/// custom sections, which go: nothing here reads them.
///
/// # Errors
/// The component cannot be parsed, which its survey has shown not to be so.
pub(crate) fn instrument(bytes: &[u8], survey: &Survey) -> Result<Vec<u8>, AdmissionError> {
    let budgets = budgets(survey);
    let mut component = Component::new();
    let mut plans = survey.modules.iter().zip(budgets);
    let mut level = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| AdmissionError::Malformed { what: error.to_string() })?;
        match &payload {
            Payload::Version { .. } => level += 1,
            Payload::End(_) => level -= 1,
            Payload::CustomSection(_) => {}
            _ if level > 1 => {}
            Payload::ModuleSection { unchecked_range, .. } => {
                let Some((plan, budget)) = plans.next() else { continue };
                let module = rewrite::module(&bytes[unchecked_range.clone()], plan, budget)?;
                component.section(&RawSection { id: MODULE_SECTION, data: &module });
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    component.section(&RawSection { id, data: &bytes[range] });
                }
            }
        }
    }
    Ok(component.finish())
}

/// The id of a core module's section in a component.
const MODULE_SECTION: u8 = 1;

/// The budget of one instance of each module.
fn budgets(survey: &Survey) -> Vec<u32> {
    let charged = |plan: &ModulePlan| plan.functions.iter().any(|function| function.guarded);
    let count = |module: usize| survey.instances.iter().filter(|&&of| of as usize == module).count() as u32;
    let mut largest = None;
    let mut others = 0;
    for (module, plan) in survey.modules.iter().enumerate().filter(|(_, plan)| charged(plan)) {
        others += count(module);
        if largest.is_none_or(|(_, bytes)| plan.code_bytes > bytes) {
            largest = Some((module, plan.code_bytes));
        }
    }
    let Some((largest, _)) = largest else { return vec![0; survey.modules.len()] };
    others -= count(largest);
    let share = if others == 0 { BUDGET } else { BUDGET / 4 * 3 };
    (0..survey.modules.len())
        .map(
            |module| {
                if module == largest {
                    share / count(module).max(1)
                } else {
                    (BUDGET - share) / others.max(1)
                }
            },
        )
        .collect()
}
