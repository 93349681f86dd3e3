//! Limits that a process puts on itself and cannot take back.

use std::io;

/// Bounds this process's processor time and address space. Beyond the first it is killed; beyond
/// the second allocation fails and it aborts.
pub(crate) fn limit(cpu_seconds: u64, memory_bytes: u64) -> io::Result<()> {
    set(libc::RLIMIT_CORE, 0)?;
    set(libc::RLIMIT_CPU, cpu_seconds)?;
    set(libc::RLIMIT_AS, memory_bytes)
}

#[expect(unsafe_code, reason = "there is no safe way to set a resource limit in the standard library")]
fn set(resource: libc::__rlimit_resource_t, bound: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bound, rlim_max: bound };
    // SAFETY: `limit` lives through the call and is only read.
    if unsafe { libc::setrlimit(resource, &limit) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
