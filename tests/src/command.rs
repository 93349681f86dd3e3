//! The command line as a user meets it: arguments in, words and an exit code out.

use crate::process::binary;
use std::{process::Stdio, time::Duration};

/// How long a command may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The exit code.
    pub code: i32,
    /// On standard output.
    pub stdout: String,
    /// On standard error.
    pub stderr: String,
}

/// Runs `althing` against the nodes at `servers`.
///
/// # Panics
/// When it cannot be run, or hangs.
pub async fn althing(servers: &[String], arguments: &[&str]) -> Told {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).env("ALTHING_SERVER", servers.join(",")).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("`althing {}` hangs", arguments.join(" ")))
        .expect("althing can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("`althing {}` was killed: {stderr}", arguments.join(" ")));
    Told { code, stdout, stderr }
}

impl Told {
    /// Checks that it failed with this exit code and said all of this on standard error.
    ///
    /// # Panics
    /// When it did not.
    pub fn must_fail(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for words in said {
            assert!(self.stderr.contains(words), "{words:?} was not said: {self:#?}");
        }
    }

    /// What it printed, if it was done.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }
}
