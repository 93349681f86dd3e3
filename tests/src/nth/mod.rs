//! Every call that changes a file, made to fail or to be the last one, and every call that reads one, made to fail: at
//! the first call, at the second, and so on for all of them. The idea is SQLite's own (<https://www.sqlite.org/testing.html>, "I/O error testing" and "crash testing").
//!
//! A process of its own plays the [`scenario`] on a store on disk, behind `tests/interpose/io.c`, which counts its calls
//! and does to the chosen one what [`How`] says. What is then on disk is opened without it, and [`judge`]d
//! against the store's twin in memory: nothing that was acknowledged is missing, nothing is there that was not asked for,
//! and it goes on from there. What it answered while it was played was what the twin says, or an error.

pub mod judge;
pub mod scenario;
pub mod view;

use crate::process::target;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long a play may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How large the file is in which the interposer counts.
pub const COUNT_BYTES: usize = 24;
/// The exit code of a process that the interposer ended.
const ENDED: i32 = 99;

/// What is done to the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It fails with an I/O error.
    Fail,
    /// It fails because the disk is full.
    Full,
    /// It and all that follow fail.
    Lasting,
    /// The process ends before it.
    Crash,
    /// The process ends when half of it is done.
    Torn,
    /// The process ends after it.
    After,
    /// Of the calls that read, which are counted for themselves: it fails with an I/O error.
    Unread,
}

impl How {
    /// All that is done to a call that changes something.
    pub const CHANGING: [Self; 6] =
        [Self::Fail, Self::Full, Self::Lasting, Self::Crash, Self::Torn, Self::After];

    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Fail, Self::Full, Self::Lasting, Self::Crash, Self::Torn, Self::After, Self::Unread];

    const fn text(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Full => "full",
            Self::Lasting => "lasting",
            Self::Crash => "crash",
            Self::Torn => "torn",
            Self::After => "after",
            Self::Unread => "unread",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// What is tried on: the player, and the interposer.
pub struct Stage {
    player: PathBuf,
    interposer: PathBuf,
}

/// Calls on files, as the interposer counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Those that change something.
    pub changing: u64,
    /// Those that read.
    pub reading: u64,
}

impl Calls {
    /// All that can be done to them, at every `stride`th. Threads of a store take turns as they like: there may be
    /// a few more calls than were counted.
    pub fn points(self, stride: usize) -> impl Iterator<Item = (u64, How)> {
        let every = move |calls: u64| (1..=calls + 5).step_by(stride.max(1));
        let changing = every(self.changing).flat_map(|at| How::CHANGING.map(|how| (at, how)));
        changing.chain(every(self.reading).map(|at| (at, How::Unread)))
    }
}

/// What a play came to.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// How many steps were acknowledged.
    pub acknowledged: usize,
    /// How many calls there had been when each of them was.
    pub counts: Vec<u64>,
    /// How many calls there were.
    pub calls: Calls,
    /// What kind the chosen one was; 0 if there was none.
    pub kind: u64,
    /// Whether it went to its end.
    pub is_whole: bool,
    /// What it said.
    pub words: String,
}

impl Stage {
    /// Builds the interposer with the C compiler; `player` is the program that plays the scenario.
    ///
    /// # Errors
    /// There is no compiler, or no way to stand between: said in words.
    pub fn set(player: &Path) -> Result<Self, String> {
        let interposer = target().join("althing-io.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interpose/io.c");
        let fresh = interposer.with_extension(format!("{}.so", std::process::id()));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&fresh)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .output()
            .map_err(|error| format!("no C compiler: {error}"))?;
        if !built.status.success() {
            return Err(format!("it cannot be built: {}", String::from_utf8_lossy(&built.stderr)));
        }
        fs::rename(&fresh, &interposer).map_err(|error| error.to_string())?;
        Ok(Self { player: player.to_owned(), interposer })
    }

    /// How many calls a play makes that nothing happens to.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let folder = tempfile::tempdir().expect("a folder");
        let played = self.play(folder.path(), 0, How::Fail).expect("an undisturbed play ends");
        let Calls { changing, reading } = played.calls;
        assert!(played.is_whole && changing > 0 && reading > 0, "an undisturbed play is whole: {played:?}");
        played.calls
    }

    /// What has to be in the environment of a process so that something is done to one of its calls on files below
    /// `data`. `count` is a file of [`COUNT_BYTES`].
    ///
    /// # Panics
    /// When a folder's name is no text.
    #[must_use]
    pub fn between(&self, data: &Path, count: &Path, at: u64, how: How) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("temporary folders have plain names").to_owned();
        let named = [
            ("LD_PRELOAD", text(&self.interposer)),
            ("ALTHING_IO_DIR", text(data)),
            ("ALTHING_IO_COUNT", text(count)),
            ("ALTHING_IO_AT", at.to_string()),
            ("ALTHING_IO_HOW", how.text().to_owned()),
        ];
        named.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// One play in `folder`, with something done to one call.
    ///
    /// # Errors
    /// It did not end.
    pub fn play(&self, folder: &Path, at: u64, how: How) -> Result<Played, String> {
        let data = folder.join("data");
        let count = folder.join("count");
        let words = folder.join("words");
        fs::write(&count, [0; COUNT_BYTES]).map_err(|error| error.to_string())?;
        let file = fs::File::create(&words).map_err(|error| error.to_string())?;
        let mut player = tokio::process::Command::new(&self.player);
        player.arg("play").arg(&data).arg(&count);
        player.env("RUST_BACKTRACE", "0").envs(self.between(&data, &count, at, how));
        player.stdin(Stdio::null()).stderr(file.try_clone().map_err(|error| error.to_string())?).stdout(file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime.map_err(|error| error.to_string())?.block_on(async {
            // Dropped, it is killed.
            let mut child = player.kill_on_drop(true).spawn()?;
            tokio::time::timeout(PATIENCE, child.wait()).await.map_err(io::Error::from)?
        });
        let status = ended.map_err(|error| {
            let words = fs::read_to_string(&words).unwrap_or_default();
            format!("within {} s it did not end: {error}\n{words}", PATIENCE.as_secs())
        })?;
        let words = fs::read_to_string(&words).map_err(|error| error.to_string())?;
        let (calls, kind) = counted(&count)?;
        let counts: Vec<u64> =
            words.lines().filter_map(|line| line.strip_prefix("ok ")?.parse().ok()).collect();
        let ended = status.code();
        if ended.is_none() || words.contains("panicked") {
            return Err(format!("it ended with {status}:\n{words}"));
        }
        let is_whole = ended == Some(0);
        if !is_whole && ended != Some(ENDED) && ended != Some(1) {
            return Err(format!("it ended with {status}:\n{words}"));
        }
        Ok(Played { acknowledged: counts.len(), counts, calls, kind, is_whole, words })
    }
}

/// What the interposer counted: calls, and the kind of the chosen one.
///
/// # Errors
/// There is no such file.
pub fn counted(count: &Path) -> Result<(Calls, u64), String> {
    let bytes = fs::read(count).map_err(|error| error.to_string())?;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Ok((Calls { changing: number(0), reading: number(16) }, number(8)))
}

/// What was tried, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Plays.
    pub plays: u64,
    /// Plays in which the chosen call was reached.
    pub struck: u64,
    /// What must not be. Empty is good.
    pub violations: Vec<String>,
}

/// Plays with something done to call `at`, and looks at what is left.
pub fn one(stage: &Stage, at: u64, how: How, tally: &mut Tally) {
    let folder = tempfile::tempdir().expect("a folder");
    tally.plays += 1;
    let judged = stage.play(folder.path(), at, how).and_then(|played| {
        tally.struck += u64::from(played.kind != 0 || (how.ends() && !played.is_whole));
        judge::judge(&folder.path().join("data"), &played, at, how)
    });
    if let Err(violation) = judged {
        tally.violations.push(format!("call {at}, {how}: {violation}"));
    }
}

impl How {
    /// Whether it ends the process.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Crash | Self::Torn | Self::After)
    }
}
