//! From wasm to machine code, in a process of its own.
//!
//! A component can be small and take minutes to compile. What admission does not see is stopped here: the
//! compiler runs as a child with limits on processor time and address space, priced by the component's
//! size, and its death is an error, not ours. Nodes re-execute their own binary, which calls
//! [`child_main`]; tests and simulations compile in process.

use crate::{
    config::{self, Optimization},
    rlimit,
};
use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, ExitCode, Output, Stdio},
    thread,
};

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CompileMode {
    /// Here, without limits: for components that are trusted.
    #[default]
    InProcess,
    /// In a child process with limits.
    Child {
        /// The program; it must call [`child_main`] when it gets these arguments.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
        /// What it may take.
        allowance: Allowance,
    },
}

/// A component that was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler refused it.
    #[error("the component cannot be compiled: {what}")]
    Refused {
        /// What the compiler said.
        what: String,
    },
    /// The compiler used up what a component of this size may use.
    #[error(
        "compiling the component takes more than the {cpu_seconds} s of processor time or {memory_mib} MiB of memory that a component of its size may take: split its largest functions"
    )]
    TooExpensive {
        /// Processor time allowed.
        cpu_seconds: u64,
        /// Address space allowed.
        memory_mib: u64,
    },
    /// The compiler process could not be run: a matter of this machine.
    #[error("the compiler process could not be run")]
    Process(#[source] io::Error),
    /// The engine could not be configured: a matter of this machine.
    #[error("the engine cannot be configured on this machine: {what}")]
    Engine {
        /// What wasmtime said.
        what: String,
    },
}

/// What a compiler process may take: so much, and so much more for each MiB of the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// … for each MiB.
    pub cpu_seconds_per_mib: u64,
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// … for each MiB.
    pub memory_bytes_per_mib: u64,
}

impl Default for Allowance {
    /// Measured: 2.3 s for 1.7 MB, 14 s for 12 MB, at most 400 MB. A compiler that is not optimised
    /// itself takes ten times as long.
    fn default() -> Self {
        let slow = if cfg!(debug_assertions) { 10 } else { 1 };
        Self {
            cpu_seconds: 10 * slow,
            cpu_seconds_per_mib: 3 * slow,
            memory_bytes: 1 << 30,
            memory_bytes_per_mib: 64 << 20,
        }
    }
}

/// What compiling one component may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price {
    cpu_seconds: u64,
    memory_bytes: u64,
}

impl Allowance {
    const fn price(&self, component_bytes: u64) -> Price {
        let mib = component_bytes.div_ceil(1 << 20);
        Price {
            cpu_seconds: self.cpu_seconds + mib * self.cpu_seconds_per_mib,
            memory_bytes: self.memory_bytes + mib * self.memory_bytes_per_mib,
        }
    }
}

/// What the child is told before the component: how hard to try, and its limits.
const HEADER_BYTES: usize = 17;

fn header(optimization: Optimization, price: Price) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0] = u8::from(optimization == Optimization::Speed);
    header[1..9].copy_from_slice(&price.cpu_seconds.to_be_bytes());
    header[9..].copy_from_slice(&price.memory_bytes.to_be_bytes());
    header
}

fn parse_header(header: &[u8; HEADER_BYTES]) -> (Optimization, Price) {
    let number = |at: usize| header[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let optimization = if header[0] == 0 { Optimization::None } else { Optimization::Speed };
    (optimization, Price { cpu_seconds: number(1), memory_bytes: number(9) })
}

impl CompileMode {
    /// Compiles an instrumented component.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        optimization: Optimization,
        component: &[u8],
    ) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess => precompile(engine, component),
            Self::Child { program, args, allowance } => {
                let price = allowance.price(component.len() as u64);
                let output = run_child(program, args, &header(optimization, price), component)
                    .map_err(CompileError::Process)?;
                child_result(output, price)
            }
        }
    }
}

fn precompile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    engine
        .precompile_component(component)
        .map_err(|error| CompileError::Refused { what: format!("{error:#}") })
}

fn run_child(program: &PathBuf, args: &[String], header: &[u8], component: &[u8]) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("the child has no standard input"))?;
    thread::scope(|scope| {
        // A child that died has closed the pipe; its status says why, the failed write does not.
        scope.spawn(move || {
            let _closed = stdin.write_all(header).and_then(|()| stdin.write_all(component));
        });
        child.wait_with_output()
    })
}

fn child_result(output: Output, price: Price) -> Result<Vec<u8>, CompileError> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // An abort of the standard library, or a panic of one that allocates by itself.
    let out_of_memory = told.contains("memory allocation of") || told.contains("out of memory");
    match (output.status.signal(), output.status.code()) {
        (_, code) if out_of_memory && code != Some(REFUSED) => Err(expensive(price)),
        (Some(libc::SIGXCPU | libc::SIGKILL | libc::SIGABRT | libc::SIGSEGV), _) => Err(expensive(price)),
        (None, Some(REFUSED)) => Err(CompileError::Refused { what: told }),
        _ => Err(CompileError::Process(io::Error::other(format!("{}: {told}", output.status)))),
    }
}

const fn expensive(price: Price) -> CompileError {
    CompileError::TooExpensive { cpu_seconds: price.cpu_seconds, memory_mib: price.memory_bytes >> 20 }
}

/// The child's exit code for a component that the compiler refuses.
const REFUSED: i32 = 65;

/// The whole life of a compiler process: reads a component from standard input, writes machine code to
/// standard output, and takes its own limits before it looks at anything.
#[must_use]
pub fn child_main() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            match error {
                CompileError::Refused { .. } => ExitCode::from(REFUSED as u8),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn child() -> Result<(), CompileError> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input).map_err(CompileError::Process)?;
    let (header, component) = input
        .split_first_chunk()
        .ok_or_else(|| CompileError::Process(io::Error::other("nothing on standard input")))?;
    let (optimization, price) = parse_header(header);
    rlimit::limit(price.cpu_seconds, price.memory_bytes).map_err(CompileError::Process)?;
    let engine = config::settings(optimization)
        .and_then(|settings| wasmtime::Engine::new(&settings.config))
        .map_err(|error| CompileError::Engine { what: format!("{error:#}") })?;
    let code = precompile(&engine, component)?;
    io::stdout().lock().write_all(&code).map_err(CompileError::Process)
}
