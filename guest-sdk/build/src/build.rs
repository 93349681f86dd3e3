//! The one way a component is built.
//!
//! Everything that shapes the bytes is set here and nowhere else: profile, linker arguments, path
//! remapping. The author's own profiles and `RUSTFLAGS` have no say, so the same sources give the same
//! hash in a workspace, in a project of their own, and on another machine with the same toolchain.

use crate::{
    artifact,
    toolchain::{self, ToolchainError},
};
use cargo_metadata::{Message, Metadata, MetadataCommand, Package};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The only target: `wasm32-wasip2` would drag in WASI imports even for code that uses none.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Small, without unwinding, all crates optimised together.
const PROFILE: [&str; 8] = [
    r#"profile.guest.inherits="release""#,
    r#"profile.guest.opt-level="s""#,
    "profile.guest.lto=true",
    "profile.guest.codegen-units=1",
    r#"profile.guest.panic="abort""#,
    "profile.guest.strip=true",
    "profile.guest.debug=false",
    "profile.guest.incremental=false",
];

/// For the guest crate alone: export the component, and a small stack, which makes a fresh instance
/// twice as cheap.
const CRATE_FLAGS: [&str; 5] =
    ["--cfg", "althing_component", "--check-cfg=cfg(althing_component)", "-C", "link-arg=-zstack-size=65536"];

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where cargo puts what it makes; its own choice when none.
    pub target_dir: Option<PathBuf>,
    /// Say nothing but errors.
    pub quiet: bool,
    /// Use no network.
    pub offline: bool,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Where it was written.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// BLAKE3 of its bytes in hexadecimal: its name for the host.
    pub hash: String,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a crate, or a broken one.
    #[error("{} cannot be built: is it the folder of a crate, with a sound Cargo.toml?", crate_dir.display())]
    Manifest {
        /// The folder.
        crate_dir: PathBuf,
        /// The cause.
        #[source]
        source: Box<cargo_metadata::Error>,
    },
    /// A folder with several crates or none.
    #[error("{} is the folder of no single crate: name the folder of the guest crate", crate_dir.display())]
    NoCrate {
        /// The folder.
        crate_dir: PathBuf,
    },
    /// No library in the crate.
    #[error("the package {package:?} has no library: a reducer is one, in src/lib.rs")]
    NoLibrary {
        /// The package.
        package: String,
    },
    /// The toolchain lacks something.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo refused.
    #[error("the package {package:?} does not compile: cargo has said why, above")]
    Compile {
        /// The package.
        package: String,
    },
    /// Cargo was content and yet made nothing.
    #[error("cargo made no module of the package {package:?}")]
    NoModule {
        /// The package.
        package: String,
    },
    /// Nothing in the crate is exported.
    #[error(
        "the package {package:?} exports nothing: write #[reducer] above `impl Reducer for …`, \
         or #[validator] above `impl Validator for …`"
    )]
    NoExport {
        /// The package.
        package: String,
    },
    /// The module needs something that no host of Althing offers.
    #[error(
        "the package {package:?} cannot become a component ({message}). Does a dependency need more than \
         Althing offers? There are no clocks, no randomness, no files and no network"
    )]
    Encode {
        /// The package.
        package: String,
        /// What is missing.
        message: String,
    },
    /// A file or a process.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Builds the crate in `crate_dir` to a component, `TARGET_DIR/althing/PACKAGE.wasm`. Cargo's output
/// goes to standard error as it comes. A target that is missing is installed first, which is said.
///
/// # Errors
/// See [`BuildError`].
pub fn build(crate_dir: &Path, options: &Options) -> Result<Built, BuildError> {
    let crate_dir = &crate_dir
        .canonicalize()
        .map_err(io_error(|| format!("there is no folder {}", crate_dir.display())))?;
    let metadata = metadata(crate_dir, options)?;
    let package =
        metadata.root_package().ok_or_else(|| BuildError::NoCrate { crate_dir: crate_dir.to_path_buf() })?;
    let name = package.name.to_string();
    if !package.targets.iter().any(is_library) {
        return Err(BuildError::NoLibrary { package: name });
    }
    toolchain::require_target(crate_dir)?;

    let module = compile(crate_dir, options, &metadata, package)?;
    let module = fs::read(&module).map_err(io_error(|| format!("{} cannot be read", module.display())))?;
    let bytes = artifact::componentize(&name, &module)?;
    let target_dir =
        options.target_dir.clone().unwrap_or_else(|| metadata.target_directory.clone().into_std_path_buf());
    let path = target_dir.join("althing").join(&name).with_extension("wasm");
    write_whole(&path, &bytes)?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    Ok(Built { path, bytes, hash })
}

fn metadata(crate_dir: &Path, options: &Options) -> Result<Metadata, BuildError> {
    let mut command = MetadataCommand::new();
    command.cargo_path(toolchain::cargo()).manifest_path(crate_dir.join("Cargo.toml"));
    command.current_dir(crate_dir);
    let mut flags = vec![format!("--filter-platform={TARGET}")];
    flags.extend(options.offline.then(|| "--offline".to_owned()));
    command.other_options(flags);
    command.exec().map_err(|source| BuildError::Manifest {
        crate_dir: crate_dir.to_path_buf(),
        source: Box::new(source),
    })
}

fn is_library(target: &cargo_metadata::Target) -> bool {
    target.is_lib() || target.is_rlib() || target.is_cdylib()
}

/// Has cargo make the core module, and says where it is.
fn compile(
    crate_dir: &Path,
    options: &Options,
    metadata: &Metadata,
    package: &Package,
) -> Result<PathBuf, BuildError> {
    let name = package.name.to_string();
    let mut command = Command::new(toolchain::cargo());
    command.current_dir(crate_dir).args(["rustc", "--lib", "--crate-type=cdylib", "--target", TARGET]);
    command.args(["--profile=guest", "--message-format=json-render-diagnostics"]);
    command.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
    command.args(options.quiet.then_some("--quiet")).args(options.offline.then_some("--offline"));
    if let Some(target_dir) = &options.target_dir {
        command.arg("--target-dir").arg(target_dir);
    }
    command.arg("--").args(CRATE_FLAGS).arg(remap(metadata.workspace_root.as_std_path(), "/project"));
    // Flags for every crate, in the one place that has precedence over all others.
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", encoded_flags(metadata));
    command.stdin(Stdio::null()).stdout(Stdio::piped());

    let mut cargo =
        command.spawn().map_err(io_error(|| "cargo cannot be started: is Rust installed?".into()))?;
    let output = cargo.stdout.take().expect("it was asked for");
    let mut module = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        let message = message.map_err(io_error(|| "cargo's messages cannot be read".into()))?;
        if let Message::CompilerArtifact(artifact) = message
            && artifact.package_id == package.id
            && let Some(path) = artifact.filenames.iter().find(|path| path.extension() == Some("wasm"))
        {
            module = Some(path.clone().into_std_path_buf());
        }
    }
    let status = cargo.wait().map_err(io_error(|| "cargo was lost".into()))?;
    if !status.success() {
        return Err(BuildError::Compile { package: name });
    }
    module.ok_or(BuildError::NoModule { package: name })
}

/// Flags for every crate: `--remap-path-prefix` for every place that dependencies come from. Panics name
/// files, and a component must not name the machine it was built on. The flags are the same for all
/// projects of a machine, so that cargo can share what it has compiled; the project's own place, from
/// which cargo gives relative paths, is a flag for the guest crate alone.
fn encoded_flags(metadata: &Metadata) -> OsString {
    let root = metadata.workspace_root.as_std_path();
    let mut flags = Vec::new();
    if let Some(home) = toolchain::cargo_home() {
        flags.push(remap(&home.join("registry").join("src"), "/registry"));
        flags.push(remap(&home.join("git").join("checkouts"), "/git"));
    }
    for package in metadata.packages.iter().filter(|package| package.source.is_none()) {
        let folder = package.manifest_path.as_std_path().parent().expect("a manifest is in a folder");
        if !folder.starts_with(root) {
            flags.push(remap(folder, &format!("/{}", package.name)));
        }
    }
    flags.join(OsStr::new("\x1f"))
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(from);
    flag.push("=");
    flag.push(to);
    flag
}

/// Writes a file so that a reader sees all of it or none.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = path.parent().expect("the path was joined to a folder");
    let begun = path.with_extension(format!("wasm.{}", std::process::id()));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&begun, bytes))
        .and_then(|()| fs::rename(&begun, path))
        .map_err(io_error(|| format!("{} cannot be written", path.display())))
}

fn io_error(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> BuildError {
    |source| BuildError::Io { what: what(), source }
}
