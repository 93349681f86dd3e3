//! Threads that guests run on.
//!
//! Wasm runs on its caller's native stack. The depth budget (`depth`) makes guests meet a
//! deterministic limit first, which holds only where the stack is as large as the configuration
//! says: so the engine runs guests on threads made here and refuses others with a fault.

use std::{
    cell::Cell,
    io, panic,
    thread::{self, JoinHandle},
};

/// Most native stack of wasm frames, in bytes; wasmtime traps beyond.
pub(crate) const WASM_STACK_BYTES: usize = 16 << 20;
/// Native stack of a guest thread: the wasm frames, and as much again for the host's own.
pub const THREAD_STACK_BYTES: usize = 2 * WASM_STACK_BYTES;

const _: () = assert!(THREAD_STACK_BYTES >= WASM_STACK_BYTES + (8 << 20), "host frames have room");

thread_local! {
    static LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread on which guests may run: executors and query workers live on such threads. The
/// stack is reserved address space; only what is touched costs memory.
///
/// # Errors
/// The operating system has no thread to give.
pub fn spawn_guest_thread<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).stack_size(THREAD_STACK_BYTES).spawn(move || marked(work))
}

/// Runs `work` where guests may run and waits for it: here if this is a guest thread, else on one
/// made for it. For tests and rare calls; a thread for each operation would be waste.
///
/// # Panics
/// When `work` does, and when the operating system has no thread to give.
pub fn on_guest_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if is_guest_thread() {
        return work();
    }
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name("guest".into())
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, || marked(work))
            .expect("the operating system gives a thread");
        handle.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}

/// Whether guests may run on this thread.
#[must_use]
pub fn is_guest_thread() -> bool {
    LARGE.get()
}

fn marked<T>(work: impl FnOnce() -> T) -> T {
    LARGE.set(true);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_made_here_are_guest_threads() {
        assert!(!is_guest_thread());
        assert!(on_guest_thread(is_guest_thread));
        assert!(spawn_guest_thread("guest", is_guest_thread).unwrap().join().unwrap());
        assert!(!is_guest_thread());
    }
}
