//! Proving an export: executing its log again, offline, and comparing what comes of it with what was
//! recorded.
//!
//! Nothing in the file is believed: parts are checked by their hashes, the snapshot as a whole, components
//! are admitted and compiled as on any node, and every transition is made anew by the machine.

use crate::{export::activated, guests::GuestThreads, replica::Loader};
use althing_core::{
    batch::{Batch, ProgramManifest},
    codec,
    ids::{Hash, NoHash, Sequence},
    machine::{Applied, Machine},
    portable::{End, Header, Kind},
    program::Fault,
    snapshot::{Manifest, Restoration},
    transition::Transition,
    view::View,
};
use althing_engine::Engine;
use althing_store::portable::{PortableError, Reader, Stored};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose export it is.
    pub header: Header,
    /// The sequence of the snapshot that execution began with.
    pub snapshot: Sequence,
    /// Where it ends, and how much was checked.
    pub end: End,
    /// Parts whose hashes were checked.
    pub parts: u64,
    /// The hash over the whole file.
    pub seal: Hash,
}

/// How far a proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many of so many parts have the right hash.
    Checked(u64, u64),
    /// Components are compiled and the snapshot is restored.
    Restoring,
    /// Executed up to the first of so much.
    Executed(Sequence, Sequence),
}

/// Why an export proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The file.
    #[error(transparent)]
    File(#[from] PortableError),
    /// Its hashes are right, and what is in it is not what an export holds.
    #[error("the export makes no sense: {what}")]
    Nonsense {
        /// What, and where.
        what: String,
        /// Why, where something else says so.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Another engine executed it: this one may come to something else (promise P11).
    #[error(
        "the export was executed by the engine {found} (althing {version}), this build has {here}: verify it with the build \
         that made it; they differ in: {difference}"
    )]
    OtherEngine {
        /// The export's fingerprint.
        found: Hash,
        /// The version of the host that exported it.
        version: String,
        /// This engine's fingerprint.
        here: Hash,
        /// Lines of the export's listing that are not in this engine's.
        difference: String,
    },
    /// Execution came to something else than what is recorded.
    #[error(
        "sequence {sequence} differs: executing the log again gives another transition than the one recorded"
    )]
    Differs {
        /// The first sequence that differs.
        sequence: Sequence,
        /// What is recorded; none when the record ends before.
        recorded: Option<Box<Transition>>,
        /// What came of it; none when the log ends before.
        executed: Option<Box<Transition>>,
    },
    /// This host failed: nothing is said about the export.
    #[error(transparent)]
    Host(#[from] Fault),
}

/// Checks everything in a file and executes its log again with `engine`.
///
/// # Errors
/// See [`ProofError`]: the first thing that is wrong.
pub async fn prove(
    file: &mut Reader,
    engine: &Engine,
    progress: impl FnMut(Progress),
) -> Result<Proof, ProofError> {
    replay(file, engine, progress).await.map(|(proof, _)| proof)
}

/// As [`prove`], and gives the state that the export ends with.
///
/// # Errors
/// See [`ProofError`]: the first thing that is wrong.
pub async fn replay(
    file: &mut Reader,
    engine: &Engine,
    mut progress: impl FnMut(Progress),
) -> Result<(Proof, View), ProofError> {
    let parts = file.parts();
    file.check(|checked| progress(Progress::Checked(checked, parts))).await?;
    let header: Header = record(&one(file, Kind::Header).await?)?;
    same_engine(&header, engine)?;
    let end: End = record(&one(file, Kind::End).await?)?;
    progress(Progress::Restoring);
    let manifest = one(file, Kind::Manifest).await?;
    let manifest = Manifest::decode(&manifest.body).map_err(|error| nonsense("the manifest", error))?;
    let guests = GuestThreads::pool("verify", 1)?;
    let components = prepare(file, engine, &guests).await?;
    let (machine, chunks) = restore(file, &header, &manifest).await?;
    let mut again = Again { machine, loader: Loader::Wasm(engine.clone()), guests };
    let executed = again.execute(file, &end, &mut progress).await?;
    let reached = End {
        sequence: again.machine.sequence(),
        digest: again.machine.digest(),
        components,
        chunks,
        ..executed
    };
    if reached != end {
        let what = format!("it should end with {end:?}, and ends with {reached:?}");
        return Err(ProofError::Nonsense { what, source: None });
    }
    let proof = Proof { header, snapshot: manifest.sequence, end, parts, seal: file.seal() };
    Ok((proof, again.machine.view()))
}

fn same_engine(header: &Header, engine: &Engine) -> Result<(), ProofError> {
    if header.fingerprint == engine.fingerprint() {
        return Ok(());
    }
    let here = engine.fingerprint_listing();
    let differs = |line: &&str| !here.lines().any(|known| known == *line);
    let difference: Vec<&str> = header.listing.lines().filter(differs).take(8).collect();
    Err(ProofError::OtherEngine {
        found: header.fingerprint,
        version: header.version.clone(),
        here: engine.fingerprint(),
        difference: if difference.is_empty() { "something newer".to_owned() } else { difference.join("; ") },
    })
}

/// Admits and compiles every component of the file, as a node does; how many there are.
async fn prepare(file: &mut Reader, engine: &Engine, guests: &GuestThreads) -> Result<u64, ProofError> {
    let (mut after, mut count) = (0, 0);
    while let Some(part) = file.next(Kind::Component.text(), after).await? {
        (after, count) = (part.place, count + 1);
        let hash: Hash = part.name.parse().map_err(|error: NoHash| nonsense("a component's name", error))?;
        let (engine, body) = (engine.clone(), part.body);
        let prepared = guests.run(move || engine.prepare(hash, &body)).await?;
        prepared.map_err(|error| match error.is_the_components() {
            true => nonsense(&format!("component {hash}"), error),
            false => Fault::because(format!("component {hash} could not be prepared here"), error).into(),
        })?;
    }
    Ok(count)
}

/// The community that the snapshot holds, and how many chunks that took.
async fn restore(
    file: &mut Reader,
    header: &Header,
    manifest: &Manifest,
) -> Result<(Machine, u64), ProofError> {
    let mut restoration = Restoration::default();
    let mut after = 0;
    for &chunk in &manifest.chunks {
        let part = file.next(Kind::Chunk.text(), after).await?.ok_or_else(|| missing("a chunk"))?;
        after = part.place;
        restoration.add(chunk, &part.body).map_err(|error| nonsense("the snapshot", error))?;
    }
    let machine = Machine::restore(restoration.finish()).map_err(|error| nonsense("the snapshot", error))?;
    manifest.check(&machine.view()).map_err(|error| nonsense("the snapshot", error))?;
    if machine.community() != header.community {
        return Err(missing("a snapshot of the community that the header names"));
    }
    if manifest.fingerprint.is_some_and(|made_by| made_by != header.fingerprint) {
        return Err(missing("a snapshot made by the engine that the header names"));
    }
    Ok((machine, manifest.chunks.len() as u64))
}

/// The machine, executing the log again.
struct Again {
    machine: Machine,
    loader: Loader,
    guests: GuestThreads,
}

impl Again {
    /// Executes every entry, comparing transition by transition; what was gone through.
    async fn execute(
        &mut self,
        file: &mut Reader,
        end: &End,
        progress: &mut impl FnMut(Progress),
    ) -> Result<End, ProofError> {
        let mut recorded = Recorded::default();
        let mut done = End { entries: 0, transitions: 0, log_index: end.log_index, ..end.clone() };
        let mut after = 0;
        while let Some(part) = file.next(Kind::Entry.text(), after).await? {
            (after, done.entries) = (part.place, done.entries + 1);
            let batch: Batch = record(&part)?;
            self.must_be_prepared(&batch, &part)?;
            for executed in self.apply(batch).await?.transitions {
                done.transitions += 1;
                compare(recorded.next(file).await?, Some(executed))?;
            }
            progress(Progress::Executed(self.machine.sequence(), end.sequence));
        }
        compare(recorded.next(file).await?, None)?;
        Ok(done)
    }

    async fn apply(&mut self, batch: Batch) -> Result<Applied, Fault> {
        // The machine moves to the guest thread and back.
        let community = self.machine.community();
        let policy = self.machine.policy().clone();
        let mut machine = std::mem::replace(&mut self.machine, Machine::new(community, policy));
        let mut loader = self.loader.clone();
        let (machine, applied) = self
            .guests
            .run_and_clear(move || {
                let applied = machine.apply(&batch, &mut loader);
                let leftovers = machine.release();
                ((machine, applied), leftovers)
            })
            .await?;
        self.machine = machine;
        applied
    }

    /// The components that an entry runs are part of the export.
    fn must_be_prepared(&self, batch: &Batch, part: &Stored) -> Result<(), ProofError> {
        let Loader::Wasm(engine) = &self.loader else { return Ok(()) };
        let in_force = self.machine.program_manifest().into_iter().flat_map(ProgramManifest::components);
        match in_force.chain(activated(batch)).find(|&component| !engine.is_prepared(component)) {
            Some(component) => {
                Err(missing(&format!("component {component}, which entry {} runs", part.name)))
            }
            None => Ok(()),
        }
    }
}

/// The recorded transitions, part by part.
#[derive(Default)]
struct Recorded {
    after: u64,
    read: VecDeque<Transition>,
}

impl Recorded {
    async fn next(&mut self, file: &mut Reader) -> Result<Option<Transition>, ProofError> {
        while self.read.is_empty() {
            let Some(part) = file.next(Kind::Transitions.text(), self.after).await? else { return Ok(None) };
            self.after = part.place;
            self.read = record::<Vec<Transition>>(&part)?.into();
        }
        Ok(self.read.pop_front())
    }
}

/// Whether execution came to what is recorded.
fn compare(recorded: Option<Transition>, executed: Option<Transition>) -> Result<(), ProofError> {
    if recorded == executed {
        return Ok(());
    }
    let first = recorded.iter().chain(&executed).map(|transition| transition.sequence).min();
    Err(ProofError::Differs {
        sequence: first.unwrap_or_default(),
        recorded: recorded.map(Box::new),
        executed: executed.map(Box::new),
    })
}

/// The only part of its kind.
async fn one(file: &mut Reader, kind: Kind) -> Result<Stored, ProofError> {
    let part = file.next(kind.text(), 0).await?.ok_or_else(|| missing(&format!("the part `{kind}`")))?;
    match file.next(kind.text(), part.place).await? {
        None => Ok(part),
        Some(_) => Err(nonsense_in(format!("the part `{kind}` is in it twice"))),
    }
}

fn record<T: DeserializeOwned>(part: &Stored) -> Result<T, ProofError> {
    codec::decode(&part.body)
        .map_err(|error| nonsense(&format!("part {}, {} {}", part.place, part.kind, part.name), error))
}

fn nonsense(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> ProofError {
    ProofError::Nonsense { what: format!("{what} cannot be used"), source: Some(Box::new(source)) }
}

fn nonsense_in(what: String) -> ProofError {
    ProofError::Nonsense { what, source: None }
}

fn missing(what: &str) -> ProofError {
    nonsense_in(format!("{what} is missing"))
}
