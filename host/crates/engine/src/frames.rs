//! Whether compiled frames are as small as the depth limit believes.
//!
//! [`crate::depth`] charges a frame by what the wasm shows. The optimiser may keep more values
//! alive than that (a common subexpression computed once before a call and used after it), so a
//! hostile function could take more native stack than it is charged, and recursion would end
//! in a native overflow, which is a fault. So every compiled function's frame is read from its
//! prologue, and a component with a frame larger than its cost is refused. Same fingerprint, same
//! code, same answer on every replica.

use crate::{admission::Survey, depth};
use wasmtime::component::Component;

/// A function whose compiled frame is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "function {function} of core module {module} takes {bytes} bytes of stack, at most {bytes_max} were expected: split it into smaller functions"
)]
pub struct LargeFrame {
    /// The module's place in the component.
    pub module: u32,
    /// The function's index in the module.
    pub function: u32,
    /// What its frame takes.
    pub bytes: u32,
    /// What it may take.
    pub bytes_max: u32,
}

/// Compares every function's frame with its cost.
pub(crate) fn check(component: &Component, survey: &Survey) -> Result<(), LargeFrame> {
    let text = component.text();
    for compiled in component.functions() {
        let (module, function) = (compiled.module.as_u32(), compiled.index.as_u32());
        let bytes_max = allowed(survey, module, function);
        let code = &text[compiled.offset..compiled.offset + compiled.len];
        let bytes = frame_bytes(code);
        if bytes > bytes_max {
            return Err(LargeFrame { module, function, bytes, bytes_max });
        }
    }
    Ok(())
}

/// What an adapter between nested components may take. Wasmtime makes them after the component's own modules;
/// entering a component again traps, so at most one for each nested component is on the stack.
const ADAPTER_BYTES_MAX: u32 = 8 << 10;

/// What a function may take; the one that traps, and functions not charged, what a leaf may.
fn allowed(survey: &Survey, module: u32, function: u32) -> u32 {
    let Some(plan) = survey.modules.get(module as usize) else { return ADAPTER_BYTES_MAX };
    let plan = function.checked_sub(plan.imported_functions).and_then(|own| plan.functions.get(own as usize));
    plan.filter(|plan| plan.guarded).map_or(depth::LEAF_BYTES_MAX, |plan| plan.cost)
}

/// The bytes of a function's frame, return address and saved frame pointer included.
///
/// Cranelift's prologue is `push rbp; mov rbp, rsp`, then, unless the function is a leaf without a
/// frame, a comparison with the stack limit that adds up exactly what we look for (for large frames after a
/// comparison without the frame). What does not begin like that counts as larger than anything.
#[cfg(target_arch = "x86_64")]
fn frame_bytes(code: &[u8]) -> u32 {
    const LINKAGE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
    /// `mov r10, [rdi + 8]; mov r10, [r10 + 24]`: the stack limit, from the VM context.
    const LIMIT: [u8; 8] = [0x4c, 0x8b, 0x57, 0x08, 0x4d, 0x8b, 0x52, 0x18];
    const LINKAGE_BYTES: u32 = 16;

    let Some(body) = code.strip_prefix(&LINKAGE) else { return u32::MAX };
    let Some(check) = body.strip_prefix(&LIMIT) else {
        return match body {
            // A frame without a comparison would be one that we have not understood.
            [0x48, 0x81 | 0x83, 0xec, ..] => u32::MAX,
            _ => LINKAGE_BYTES,
        };
    };
    // `cmp r10, rsp; ja trap`
    let check = match check {
        [0x4c, 0x3b, 0xd4, 0x0f, 0x87, _, _, _, _, rest @ ..] => rest,
        _ => check,
    };
    // `add r10, frame`
    match check {
        [0x49, 0x83, 0xc2, small, ..] => u32::from(*small),
        [0x49, 0x81, 0xc2, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => u32::MAX,
    }
}

/// Not read on other processors: there the constant part of the cost is the only margin.
#[cfg(not(target_arch = "x86_64"))]
fn frame_bytes(_code: &[u8]) -> u32 {
    0
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_from_prologues() {
        let small = "55 4889e5 4c8b5708 4d8b5218 4983c220 4c3bd4 0f87c6000000 4883ec10";
        let large = "55 4889e5 4c8b5708 4d8b5218 4c3bd4 0f8700000000 4981c200000100 4c3bd4 0f87c6000000";
        let leaf = "55 4889e5 8bc2 4889ec 5d c3";
        let unknown = "55 4889e5 4881ec00000100";
        let bytes = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
        assert_eq!(frame_bytes(&bytes(small)), 32);
        assert_eq!(frame_bytes(&bytes(large)), 65_536);
        assert_eq!(frame_bytes(&bytes(leaf)), 16);
        assert_eq!(frame_bytes(&bytes(unknown)), u32::MAX);
        assert_eq!(frame_bytes(&[]), u32::MAX);
    }
}
