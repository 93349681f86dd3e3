//! What has to be installed: cargo, and the target.

use crate::build::TARGET;
use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the toolchain lacks.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No compiler.
    #[error("rustc cannot be started: install Rust from https://rustup.rs")]
    NoCompiler(#[source] io::Error),
    /// No target, and no way to add it.
    #[error("the target {TARGET} is not installed, and rustup did not add it: `rustup target add {TARGET}`")]
    NoTarget,
}

/// The cargo to call: the one that runs us, if one does.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where cargo keeps what it has downloaded.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let own = env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Makes sure that the toolchain used in `crate_dir` can build components.
pub(crate) fn require_target(crate_dir: &Path) -> Result<(), ToolchainError> {
    if has_target(crate_dir)? {
        return Ok(());
    }
    eprintln!("The target {TARGET} is missing: adding it with rustup.");
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(crate_dir)
        .status()
        .is_ok_and(|status| status.success());
    if added && has_target(crate_dir)? { Ok(()) } else { Err(ToolchainError::NoTarget) }
}

fn has_target(crate_dir: &Path) -> Result<bool, ToolchainError> {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(crate_dir)
        .stderr(Stdio::null())
        .output()
        .map_err(ToolchainError::NoCompiler)?;
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}
