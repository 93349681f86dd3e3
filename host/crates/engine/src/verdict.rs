//! What an error of a guest's run means: a trap, which is an outcome, or a fault, which is ours.
//!
//! Everything a guest can bring about is a trap with a message that is equal on every replica: no
//! address, no backtrace, no text of the operating system. Everything else is a fault (promise P3).

use crate::{
    depth::TOO_DEEP,
    host::{NoRun, OutOfFuel},
    limiter::HostRefused,
    run::BOUNDARY_BYTES_MAX,
};
use althing_core::{
    limits::TRAP_MESSAGE_BYTES_MAX,
    overlay::Refused,
    program::Fault,
    transition::{Trap, TrapKind},
};
use wasmtime::WasmBacktrace;

/// Where in a run an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// While the instance was made.
    Instantiating,
    /// In the guest, or while its values were carried over the boundary.
    Calling,
}

/// Judges an error.
pub(crate) fn judge(error: wasmtime::Error, stage: Stage, validator: Option<u32>) -> Result<Trap, Fault> {
    let (kind, mut message) = match understood(&error, stage) {
        Some(understood) => understood,
        None => return Err(Fault::because("a guest could not be run: this replica's engine failed", error)),
    };
    message.truncate(message.floor_char_boundary(TRAP_MESSAGE_BYTES_MAX));
    Ok(Trap { kind, message, validator })
}

fn understood(error: &wasmtime::Error, stage: Stage) -> Option<(TrapKind, String)> {
    if error.downcast_ref::<HostRefused>().is_some() || error.downcast_ref::<NoRun>().is_some() {
        return None;
    }
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return Some((refused.kind, refused.message.clone()));
    }
    if error.downcast_ref::<OutOfFuel>().is_some() {
        return Some(out_of_fuel());
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => by_wasm(*trap, error),
        None if stage == Stage::Calling => by_boundary(error),
        None => None,
    }
}

fn out_of_fuel() -> (TrapKind, String) {
    (TrapKind::OutOfFuel, "the fuel of the operation is used up".into())
}

fn by_wasm(trap: wasmtime::Trap, error: &wasmtime::Error) -> Option<(TrapKind, String)> {
    use wasmtime::Trap as Wasm;
    let message = match trap {
        Wasm::OutOfFuel => return Some(out_of_fuel()),
        Wasm::UnreachableCodeReached if in_too_deep(error) => {
            let message = "the guest's calls nest too deeply: recursion without an end, or very large frames";
            return Some((TrapKind::TooDeep, message.into()));
        }
        Wasm::UnreachableCodeReached => "unreachable code was reached: the guest panicked or aborted",
        Wasm::MemoryOutOfBounds => "memory was accessed out of bounds",
        Wasm::TableOutOfBounds => "a table was accessed out of bounds",
        Wasm::IndirectCallToNull => "an empty table entry was called",
        Wasm::BadSignature => "a function was called with another type than its own",
        Wasm::IntegerOverflow => "an integer overflowed",
        Wasm::IntegerDivisionByZero => "an integer was divided by zero",
        Wasm::BadConversionToInteger => "a number was converted to an integer that cannot hold it",
        Wasm::NullReference => "a null reference was used",
        Wasm::CannotEnterComponent => "the component was entered while it must not be",
        Wasm::CannotLeaveComponent => "the component called the host while it must not",
        Wasm::InvalidChar => "the component gave an invalid character",
        Wasm::StringOutOfBounds => "the component gave a string out of bounds",
        Wasm::ListOutOfBounds => "the component gave a list out of bounds",
        Wasm::InvalidDiscriminant => "the component gave an invalid variant",
        Wasm::UnalignedPointer => "the component gave an unaligned pointer",
        // A native stack overflow above all: where it happens depends on the machine.
        _ => return None,
    };
    Some((TrapKind::Wasm, message.into()))
}

/// Whether the function that traps is the one that [`crate::depth`] put there.
fn in_too_deep(error: &wasmtime::Error) -> bool {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let top = backtrace.and_then(|backtrace| backtrace.frames().first());
    top.is_some_and(|frame| frame.func_name() == Some(TOO_DEEP))
}

/// Errors without a type of their own: values that break the canonical ABI, told as texts.
/// These are all of them that a guest without resources, maps and concurrency can bring about.
const BOUNDARY: [&str; 19] = [
    "realloc return: result not aligned",
    "realloc return: beyond end of memory",
    "return pointer not aligned",
    "pointer not aligned",
    "pointer size overflow",
    "pointer out of bounds",
    "pointer out of bounds of memory",
    "byte length overflow",
    "byte length too large",
    "string pointer not aligned to 2",
    "string pointer/length out of bounds of memory",
    "size overflow copying a list",
    "list pointer/length out of bounds of memory",
    "list pointer is not aligned",
    "invalid option discriminant",
    "invalid expected discriminant",
    "invalid utf8 encoding",
    "invalid utf16 encoding",
    "unaligned pointer",
];

fn by_boundary(error: &wasmtime::Error) -> Option<(TrapKind, String)> {
    let root = error.root_cause();
    let text = root.to_string();
    if text.starts_with("too much data is being copied between the host and the guest") {
        let message = format!("more than {BOUNDARY_BYTES_MAX} bytes in one call between guest and host");
        return Some((TrapKind::Quota, message));
    }
    let known = BOUNDARY.contains(&text.as_str())
        || text.starts_with("unexpected discriminant: ")
        || text.starts_with("string length of ")
        || root.downcast_ref::<std::str::Utf8Error>().is_some()
        || root.downcast_ref::<std::char::DecodeUtf16Error>().is_some();
    known.then(|| (TrapKind::Wasm, format!("the component broke the canonical ABI: {text}")))
}
