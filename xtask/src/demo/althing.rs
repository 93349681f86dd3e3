//! The `althing` binary as a user has it: arguments in, JSON out. Everything the demo does to the
//! cluster goes through here.

use super::process::Process;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
};

/// The exit code of `althing` that says: it was carried out, and the program said no.
const PROGRAM_SAID_NO: i32 = 3;

/// The binary, and where its logs go.
#[derive(Clone, Debug)]
pub(crate) struct Althing {
    binary: PathBuf,
    logs: PathBuf,
}

impl Althing {
    /// The binary at `binary`, with logs in the folder `logs`.
    pub(crate) fn new(binary: PathBuf, logs: &Path) -> Self {
        Self { binary, logs: logs.to_path_buf() }
    }

    /// Runs a command to its end: the JSON values that it printed, one a line.
    pub(crate) fn run(&self, servers: &[String], arguments: &[&str]) -> Result<Vec<Value>> {
        let mut command = self.command(servers, arguments);
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
        let is_told = output.status.success() || output.status.code() == Some(PROGRAM_SAID_NO);
        if !is_told {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`althing {}` failed ({}):\n{}", arguments.join(" "), output.status, said.trim_end());
        }
        read_lines(&String::from_utf8_lossy(&output.stdout))
    }

    /// Runs a command that answers with one value.
    pub(crate) fn ask(&self, servers: &[String], arguments: &[&str]) -> Result<Value> {
        let mut values = self.run(servers, arguments)?;
        values.pop().with_context(|| format!("`althing {}` answered nothing", arguments.join(" ")))
    }

    /// Starts a command that goes on, with its standard output as a pipe.
    pub(crate) fn start(&self, name: &str, servers: &[String], arguments: &[&str]) -> Result<Process> {
        let mut command = self.command(servers, arguments);
        command.stdout(Stdio::piped());
        Process::start(name, &mut command, &self.log(name))
    }

    /// Starts a command that reads its standard input.
    pub(crate) fn start_with_input(
        &self,
        name: &str,
        servers: &[String],
        arguments: &[&str],
    ) -> Result<(Process, ChildStdin)> {
        let mut command = self.command(servers, arguments);
        command.stdout(Stdio::null());
        Process::start_with_input(name, &mut command, &self.log(name))
    }

    /// Starts a command that goes on and says nothing on its standard output.
    pub(crate) fn start_quiet(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdout(Stdio::null());
        Process::start(name, &mut command, &self.log(name))
    }

    fn command(&self, servers: &[String], arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).args(["--output", "json", "--server", &servers.join(",")]);
        command
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(name.replace(' ', "-")).with_extension("log")
    }
}

fn read_lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("a line is no JSON: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_what_it_said() {
        let althing = Althing::new("sh".into(), Path::new("."));
        let error = althing.run(&[], &["-c", "echo no such thing >&2; exit 1"]).expect_err("it fails");
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn that_the_program_said_no_is_an_answer() {
        let althing = Althing::new("sh".into(), Path::new("."));
        let answer =
            althing.ask(&[], &["-c", "echo '{\"outcome\":\"rejected\"}'; exit 3"]).expect("an answer");
        assert_eq!(answer["outcome"], "rejected");
    }
}
