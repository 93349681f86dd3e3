//! One `althing` process: started with its words going to a file, ended with or without a warning.

use crate::wait::eventually;
use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// What nodes log: openraft warns at every heartbeat to a node that is away.
const LOG: &str = "info,openraft=error";
/// How much of what a process said is shown when a story fails.
const LAST_LINES: usize = 40;

/// The `althing` binary, built beside the tests.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let binary = target().join(profile()).join("althing");
    assert!(
        binary.is_file(),
        "there is no {}: `cargo build -p althing` first, with the same profile",
        binary.display()
    );
    binary
}

/// Where cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    above_this(3)
}

/// The folder of the profile that the tests were built with.
fn profile() -> PathBuf {
    above_this(2).file_name().expect("it lies in the target directory").into()
}

/// A test's binary is `target/PROFILE/deps/NAME`, a program's `target/PROFILE/NAME`.
fn above_this(levels: usize) -> PathBuf {
    let this = std::env::current_exe().expect("a process knows its binary");
    let is_test = this.parent().is_some_and(|folder| folder.ends_with("deps"));
    let levels = if is_test { levels } else { levels - 1 };
    this.ancestors().nth(levels).expect("a binary lies in the target directory").to_path_buf()
}

/// A process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `althing` with these arguments, in this environment besides the usual one and in this network namespace, if
    /// it is to be in one of its own; what it says is added to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        arguments: &[String],
        environment: &[(String, String)],
        namespace: Option<&Path>,
        log: &Path,
    ) -> Self {
        let file = open(log);
        let mut command = Command::new(binary());
        if let Some(namespace) = namespace {
            enter(&mut command, namespace);
        }
        let child = command
            .args(arguments)
            .env_remove("ALTHING_SERVER")
            .env("RUST_BACKTRACE", "0")
            .env("ALTHING_LOG", LOG)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("althing can be started");
        Self { child, log: log.to_path_buf() }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// SIGKILL: no goodbye, no flush.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Panics
    /// When the system says no.
    pub fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        let told = Command::new("sh").args(["-c", &command]).status().expect("a shell is there");
        assert!(told.success(), "`{command}` failed");
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        eventually("a process that was told to stop ends", async || self.ended()).await
    }

    /// The end of what it said.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets a process be in a network namespace. Not by `ip netns exec`, which also gives it a view of its own of what is
/// mounted: a disk that is unmounted would live on there.
#[expect(unsafe_code, reason = "the standard library starts nothing in another namespace")]
fn enter(command: &mut Command, namespace: &Path) {
    let namespace = File::open(namespace).expect("the namespace was made");
    let enter = move || {
        // SAFETY: the descriptor is open, and the call touches no memory.
        match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// The end of a log.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn open(log: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(log);
    opened.unwrap_or_else(|error| panic!("{} cannot be written: {error}", log.display()))
}
