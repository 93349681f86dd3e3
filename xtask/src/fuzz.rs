//! `cargo xtask fuzz`: looks for bytes that break what takes bytes from outside.
//!
//! Each surface in its turn, or some at a time, guided by coverage, beginning with its corpus. Installs `cargo-fuzz`
//! beside what is built. The fuzzer is built with a nightly compiler if rustup has one, and otherwise with the pinned
//! stable one and `RUSTC_BOOTSTRAP=1`, which is said; nothing else is ever built so. What was found lies under
//! `target/fuzz/found/`. The corpora are tried by `cargo xtask test` too.

use crate::{
    steps::{self, seconds},
    workspace::Workspace,
};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The tool's version.
const CARGO_FUZZ: &str = "0.13.2";
/// An input that takes longer than this, in seconds, is a finding.
const INPUT_SECONDS_MAX: u32 = 60;
/// So is one that takes more memory than this, in MiB.
const INPUT_MIB_MAX: u32 = 4096;
/// The longest input that is tried, in bytes.
const INPUT_BYTES_MAX: u32 = 8192;

/// What `fuzz` can be told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The surfaces to try; all of them if none is named.
    surfaces: Vec<String>,
    /// How long each is tried.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// How many are tried at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::load()?;
    let bench = Bench::set_up(&workspace)?;
    let surfaces = bench.surfaces(&arguments.surfaces)?;
    let mut waiting: Vec<&String> = surfaces.iter().rev().collect();
    let mut trying: Vec<Trial<'_>> = Vec::new();
    let mut tried = Vec::new();
    while !(waiting.is_empty() && trying.is_empty()) {
        while trying.len() < arguments.jobs.max(1)
            && let Some(surface) = waiting.pop()
        {
            eprintln!("   {surface}: {} min", arguments.minutes);
            trying.push(bench.begin(surface, arguments.minutes)?);
        }
        std::thread::sleep(Duration::from_millis(500));
        for mut trial in std::mem::take(&mut trying) {
            match trial.child.try_wait().context("waiting for the fuzzer")? {
                None => trying.push(trial),
                Some(status) => tried.push(trial.ended(status.success())?),
            }
        }
    }
    report(&tried)
}

/// Where fuzzing is done.
struct Bench {
    root: PathBuf,
    target: PathBuf,
    fuzzer: PathBuf,
}

impl Bench {
    /// The tool, and the fuzzer built.
    fn set_up(workspace: &Workspace) -> Result<Self> {
        let root = workspace.root().to_owned();
        let target = workspace.target().join("fuzz");
        let tools = workspace.target().join("tools");
        if !tools.join("bin").join("cargo-fuzz").exists() {
            let version = format!("cargo-fuzz@{CARGO_FUZZ}");
            let install = ["install", version.as_str(), "--locked", "--root"];
            steps::run(
                "installing cargo-fuzz, under target/tools",
                steps::cargo(workspace, install).arg(&tools),
            )?;
        }
        steps::run(
            "building the fuzzer",
            build(&root, &target, has_nightly()).env("PATH", path_with(&tools.join("bin"))?),
        )?;
        let fuzzer = find(&target, "surface").context("the fuzzer was built, and is not there")?;
        Ok(Self { root, target, fuzzer })
    }

    /// Those that were asked for, or all that have a corpus.
    fn surfaces(&self, asked: &[String]) -> Result<Vec<String>> {
        let folder = self.root.join("tests/fuzz/corpus");
        let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut known: Vec<String> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        known.sort();
        match asked.iter().find(|name| !known.contains(name)) {
            Some(unknown) => bail!("there is no surface {unknown:?}: there are {}", known.join(", ")),
            None if asked.is_empty() => Ok(known),
            None => Ok(asked.to_vec()),
        }
    }

    fn begin<'a>(&self, surface: &'a str, minutes: u32) -> Result<Trial<'a>> {
        let corpus = self.target.join("corpus").join(surface);
        let found = self.target.join("found").join(surface);
        let log = self.target.join(format!("{surface}.log"));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let mut fuzzer = Command::new(&self.fuzzer);
        fuzzer.arg(&corpus).arg(self.root.join("tests/fuzz/corpus").join(surface));
        fuzzer.arg(format!("-max_total_time={}", minutes * 60));
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        fuzzer.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        fuzzer.arg(format!("-rss_limit_mb={INPUT_MIB_MAX}"));
        fuzzer.arg(format!("-max_len={INPUT_BYTES_MAX}"));
        fuzzer.arg("-print_final_stats=1");
        fuzzer.env("ALTHING_SURFACE", surface).current_dir(&self.root);
        fuzzer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = fuzzer.spawn().with_context(|| format!("starting {}", self.fuzzer.display()))?;
        Ok(Trial { surface, child, log, found, began: Instant::now() })
    }
}

/// What builds the fuzzer.
fn build(root: &Path, target: &Path, with_nightly: bool) -> Command {
    let mut build = Command::new("cargo");
    build.current_dir(root);
    // This one's own compiler must not stand in the way of the other.
    for inherited in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
        build.env_remove(inherited);
    }
    if with_nightly {
        build.arg("+nightly");
    } else {
        eprintln!(
            "\n   rustup has no nightly compiler: the fuzzer is built with the pinned stable one and RUSTC_BOOTSTRAP=1"
        );
        build.env("RUSTC_BOOTSTRAP", "1");
    }
    build.args([
        "fuzz",
        "build",
        "surface",
        "--fuzz-dir",
        "tests/fuzz",
        "--sanitizer",
        "none",
        "--target-dir",
    ]);
    build.arg(target);
    build
}

/// Whether rustup has what `cargo +nightly` asks for.
fn has_nightly() -> bool {
    let listed = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output();
    listed.is_ok_and(|listed| lists_nightly(&String::from_utf8_lossy(&listed.stdout)))
}

/// Whether `rustup toolchain list` names a nightly compiler; one of a certain day is another toolchain.
fn lists_nightly(listed: &str) -> bool {
    let mut hosts = listed.lines().filter_map(|line| line.strip_prefix("nightly-"));
    hosts.any(|host| !host.starts_with(|first: char| first.is_ascii_digit()))
}

/// One surface, being tried.
struct Trial<'a> {
    surface: &'a str,
    child: Child,
    log: PathBuf,
    found: PathBuf,
    began: Instant,
}

/// What came of it.
struct Tried {
    surface: String,
    inputs: u64,
    kept: u64,
    lasted: Duration,
    /// The log, when something was found.
    broke: Option<PathBuf>,
}

impl Trial<'_> {
    fn ended(self, holds: bool) -> Result<Tried> {
        let log = File::open(&self.log).context("the fuzzer's log")?;
        let (mut inputs, mut kept) = (0, 0);
        for line in BufReader::new(log).lines().map_while(io::Result::ok) {
            inputs = stat(&line, "stat::number_of_executed_units:").unwrap_or(inputs);
            kept = stat(&line, "stat::new_units_added:").unwrap_or(kept);
        }
        let broke = (!holds).then(|| self.log.clone());
        if broke.is_some() {
            eprintln!("   {}: broken, see {} and {}", self.surface, self.log.display(), self.found.display());
        }
        Ok(Tried { surface: self.surface.to_owned(), inputs, kept, lasted: self.began.elapsed(), broke })
    }
}

/// The number behind a name in a line of the fuzzer's last words.
fn stat(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?.trim().parse().ok()
}

fn report(tried: &[Tried]) -> Result<()> {
    println!("\n{:<12} {:>12} {:>10} {:>8}  holds", "surface", "inputs", "each s", "kept");
    for Tried { surface, inputs, kept, lasted, broke } in tried {
        let rate = *inputs as f64 / lasted.as_secs_f64().max(0.001);
        let holds = if broke.is_none() { "yes" } else { "NO" };
        println!("{surface:<12} {inputs:>12} {rate:>10.0} {kept:>8}  {holds} ({})", seconds(*lasted));
    }
    match tried.iter().filter(|tried| tried.broke.is_some()).count() {
        0 => Ok(()),
        broken => bail!("{broken} of {} surfaces can be broken", tried.len()),
    }
}

fn path_with(first: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("a folder's name that PATH cannot hold")
}

/// The program `name` in a `release` folder somewhere below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let triples = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    triples.map(|entry| entry.path().join("release").join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::{build, lists_nightly, stat};
    use std::{ffi::OsStr, path::Path};

    #[test]
    fn the_fuzzers_last_words_are_read() {
        let line = "stat::number_of_executed_units: 4711";
        assert_eq!(stat(line, "stat::number_of_executed_units:"), Some(4711));
        assert_eq!(stat(line, "stat::new_units_added:"), None);
    }

    #[test]
    fn a_nightly_of_a_certain_day_is_not_what_is_asked_for() {
        assert!(lists_nightly(
            "stable-x86_64-unknown-linux-gnu (default)\nnightly-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!lists_nightly(
            "stable-x86_64-unknown-linux-gnu\nnightly-2026-01-01-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!lists_nightly("1.95.0-x86_64-unknown-linux-gnu (active)\n"));
    }

    #[test]
    fn without_a_nightly_compiler_the_pinned_one_is_let_loose() {
        let pinned = build(Path::new("."), Path::new("target"), false);
        assert!(!pinned.get_args().any(|argument| argument == "+nightly"), "{pinned:?}");
        let bootstrap = (OsStr::new("RUSTC_BOOTSTRAP"), Some(OsStr::new("1")));
        assert!(pinned.get_envs().any(|set| set == bootstrap), "{pinned:?}");
        let nightly = build(Path::new("."), Path::new("target"), true);
        assert_eq!(nightly.get_args().next(), Some(OsStr::new("+nightly")));
        assert!(!nightly.get_envs().any(|set| set == bootstrap), "{nightly:?}");
    }
}
