//! Limits that a process puts on itself and cannot take back.

use std::{fs, io};

/// Bounds this process's processor time, and its address space to `memory_bytes` more than it has now.
/// Beyond the first it is killed; beyond the second allocation fails and it aborts.
///
/// What it has now is not counted because an allocator may have set aside a gigabyte of addresses before
/// the first line of `main`, without any memory behind them.
pub(crate) fn limit(cpu_seconds: u64, memory_bytes: u64) -> io::Result<()> {
    set(libc::RLIMIT_CORE, 0)?;
    set(libc::RLIMIT_CPU, cpu_seconds)?;
    set(libc::RLIMIT_AS, address_space()?.saturating_add(memory_bytes))
}

/// Bytes of address space of this process; 0 where the system does not tell, and does not bound it either.
fn address_space() -> io::Result<u64> {
    let told = match fs::read_to_string("/proc/self/status") {
        Ok(told) => told,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let kib = told
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmSize"))
}

#[expect(unsafe_code, reason = "there is no safe way to set a resource limit in the standard library")]
fn set(resource: libc::__rlimit_resource_t, bound: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bound, rlim_max: bound };
    // SAFETY: `limit` lives through the call and is only read.
    if unsafe { libc::setrlimit(resource, &limit) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
