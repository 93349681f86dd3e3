//! The arguments: the commands, and what all of them understand.

use crate::{commands::Command, output::Output};
use clap::{Args, Parser};
use std::time::Duration;

/// Where a node listens unless told otherwise, and where clients look for one.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:7411";

const EXAMPLES: &str = "\
Examples:
  althing new counter && cd counter && althing dev      write a reducer, see what it does
  althing serve --data ./node1 --bootstrap              begin a cluster
  althing community create roster
  althing program install roster roster.wasm
  althing submit roster '{\"op\":\"found\",\"team\":\"infra\",\"kind\":\"team\",\"parent\":null}'
  althing watch roster --from 1

Exit codes:
  0  done
  1  failed, or refused
  2  wrong usage
  3  the program said no (rejected) or failed (trapped)
  4  not carried out, but it may be soon: no node answers, no leader, busy
  5  not known: it may have been carried out";

/// Community-owned state machines: replicated, deterministic, in Wasm.
#[derive(Debug, Parser)]
#[command(name = "althing", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Nodes to ask, HOST:PORT, separated by commas; the first that answers is used.
    #[arg(
        long,
        global = true,
        env = "ALTHING_SERVER",
        value_name = "ADDRESSES",
        value_delimiter = ',',
        default_value = DEFAULT_SERVER
    )]
    pub(crate) server: Vec<String>,

    /// Who asks.
    #[arg(long, global = true, env = "ALTHING_ACTOR", value_name = "ID", default_value = "cli")]
    pub(crate) actor: String,

    /// A role of who asks; may be given several times.
    #[arg(long = "role", global = true, env = "ALTHING_ROLES", value_name = "ROLE", value_delimiter = ',')]
    pub(crate) roles: Vec<String>,

    /// How answers and errors are written.
    #[arg(long, global = true, env = "ALTHING_OUTPUT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    /// How long to go on trying, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) patience: Duration,

    /// What to log, such as `debug` or `althing_node=debug,warn`.
    #[arg(long, global = true, env = "ALTHING_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How logs are written, on stderr.
    #[arg(long, global = true, env = "ALTHING_LOG_FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) log_format: Output,
}

/// Parses a duration in seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Arguments, seconds};
    use clap::Parser as _;
    use std::time::Duration;

    #[test]
    fn the_parser_is_sound() {
        crate::parser().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                let path = format!("{path} {}", inner.get_name());
                assert!(inner.get_about().is_some(), "`{path}` says nothing of itself");
                if inner.has_subcommands() {
                    check(inner, &path);
                    continue;
                }
                let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&path), "the help of `{path}` shows no example");
            }
        }
        check(&crate::parser(), "althing");
    }

    #[test]
    fn several_servers_and_roles_may_be_named() {
        let line = ["althing", "status", "--server", "a:1,b:2", "--role", "x", "--role", "y"];
        let global = Arguments::try_parse_from(line).unwrap().global;
        assert_eq!(
            (global.server, global.roles),
            (vec!["a:1".into(), "b:2".into()], vec!["x".into(), "y".into()])
        );
    }

    #[test]
    fn seconds_may_have_fractions_but_not_be_negative() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
    }
}
