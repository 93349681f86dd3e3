//! A process that is ours: it ends when we end, on every path.

use anyhow::{Context, Result};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A running process whose diagnostics go to a file.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts one, appending its standard error to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), log)
    }

    /// Starts one that reads what is written to the pipe that comes back.
    pub(crate) fn start_with_input(
        name: &str,
        command: &mut Command,
        log: &Path,
    ) -> Result<(Self, ChildStdin)> {
        let mut process = Self::spawn(name, command.stdin(Stdio::piped()), log)?;
        let input = process.child.stdin.take().context("the input is no pipe")?;
        Ok((process, input))
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        command.stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// Its id, for people.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, if it is a pipe; once.
    pub(crate) fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has: an error that shows the end of its log.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("looking after {}", self.name))? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended ({status}):\n{}", self.name, self.last_words()),
        }
    }

    /// Waits for its end; an error unless that was a success.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        anyhow::ensure!(status.success(), "{} failed ({status}):\n{}", self.name, self.last_words());
        Ok(())
    }

    /// SIGKILL, by its id, and waits: no goodbye, no flush.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_fails_says_its_last_words() {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let mut command = Command::new("sh");
        command.args(["-c", "echo alas >&2; exit 4"]);
        let process =
            Process::start("poet", &mut command, &folder.path().join("log")).expect("a shell is there");
        let error = process.finish().expect_err("it failed").to_string();
        assert!(error.contains("poet failed") && error.contains("alas"), "{error}");
    }

    #[test]
    fn dropping_a_process_ends_it() {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let mut command = Command::new("sleep");
        let process = Process::start("sleeper", command.arg("600"), &folder.path().join("log"))
            .expect("`sleep` is there");
        let id = process.id();
        drop(process);
        let is_there = Command::new("kill").args(["-0", &id.to_string()]).stderr(Stdio::null()).status();
        assert!(!is_there.expect("`kill` is there").success());
    }
}
