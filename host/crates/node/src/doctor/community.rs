//! One community of a data directory: its log, its snapshots, its history.

use super::{
    Damage, Facts, Look,
    foresight::{Foresight, Stored, StoredSnapshot},
};
use crate::{
    refuse,
    reread::{Reread, reread},
    snapshots,
};
use althing_consensus::stored::{self, StoredEntry, StoredLog, StoredMembers, StoredPayload};
use althing_core::{
    batch::{Batch, ProgramManifest},
    codec,
    ids::{CommunityId, Hash, ReplicaId, Sequence},
    snapshot::Manifest,
    transition::Transition,
};
use althing_store::{
    port::{SnapshotRecord, StoreError, WalEntry},
    sqlite::inspect::{InspectedArchive, InspectedLog, Inspection},
};
use bytes::Bytes;
use std::ops::{Range, RangeInclusive};

/// Bytes that are read at a time.
const READ_BYTES: usize = 4 << 20;
/// Log entries that are read at a time.
const READ_ENTRIES: u64 = 1024;
/// Log entries that cannot be read, after which no more are looked for.
const DAMAGED_MAX: usize = 1000;

/// What was found of a community.
#[derive(Clone, Debug, Default)]
pub struct CommunityFindings {
    /// Its id.
    pub id: CommunityId,
    /// Its name, as far as the node remembers it.
    pub name: Option<String>,
    /// The node's replica of it.
    pub replica: Option<ReplicaId>,
    /// Its log; none when that cannot be read.
    pub log: Option<LogFindings>,
    /// Who belonged to its group, by the last record of that.
    pub members: Option<StoredMembers>,
    /// Its snapshots, newest first.
    pub snapshots: Vec<SnapshotFindings>,
    /// The program of its newest snapshot that can be read.
    pub program: Option<ProgramManifest>,
    /// The components of that program that are not stored here: a node fetches them from others.
    pub missing_components: Vec<Hash>,
    /// The first and the last sequence of its history without a gap.
    pub history: Option<(Sequence, Sequence)>,
    /// Why it is quarantined, if it is.
    pub quarantined: Option<String>,
    /// What its replica does on start; none when the archive cannot be read.
    pub on_start: Option<Foresight>,
}

/// What was found of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFindings {
    /// The first and the last index that are held.
    pub held: Option<(u64, u64)>,
    /// Its segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What its records say.
    pub records: StoredLog,
    /// The entries that cannot be read, ascending; at most the first 1,000.
    pub damaged: Vec<u64>,
}

/// What was found of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFindings {
    /// The last sequence in it.
    pub sequence: Sequence,
    /// The last log entry in it.
    pub log_index: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The hash of its chunk list; none when its manifest cannot be read.
    pub state_root: Option<Hash>,
    /// Chunks whose bytes were read and are what their names say; none unless all were looked at.
    pub sound_chunks: Option<u64>,
    /// Why it cannot be restored, if it cannot.
    pub problem: Option<String>,
}

/// What is to be looked at.
pub(super) struct Subject<'a> {
    pub(super) id: CommunityId,
    pub(super) inspection: &'a Inspection,
    pub(super) facts: &'a Facts,
    pub(super) look: Look,
}

impl Subject<'_> {
    /// Looks at everything of the community.
    pub(super) async fn look(&self, progress: &mut impl FnMut(String)) -> (CommunityFindings, Vec<Damage>) {
        let mut seen = Seen { place: self.place(), ..Seen::default() };
        self.remembered(&mut seen);
        if let Ok(archive) = &self.inspection.archive {
            self.archive(archive, &mut seen, progress).await;
        }
        if let Ok(log) = &self.inspection.log {
            progress(format!("{}: its log", seen.place));
            self.log(log, &mut seen).await;
        }
        seen.found.on_start = self.facts.is_readable.then(|| Foresight::of(&seen.stored));
        (seen.found, seen.damages)
    }

    /// What damages of it are called.
    fn place(&self) -> String {
        let hosted = self.facts.hosted.iter().find(|hosted| hosted.community == self.id);
        match (self.id, hosted) {
            (CommunityId::SYSTEM, _) => "the system community".to_owned(),
            (id, Some(hosted)) => format!("community {} (id {id})", hosted.name),
            (id, None) => format!("community {id}"),
        }
    }

    fn remembered(&self, seen: &mut Seen) {
        seen.found.id = self.id;
        let system = self.facts.identity.as_ref().filter(|_| self.id == CommunityId::SYSTEM);
        let hosted = self.facts.hosted.iter().find(|hosted| hosted.community == self.id);
        seen.found.name =
            system.map(|_| "system".to_owned()).or_else(|| hosted.map(|hosted| hosted.name.clone()));
        seen.found.replica =
            system.map(|system| system.system_replica).or_else(|| hosted.map(|hosted| hosted.replica));
        seen.stored.is_hosted = seen.found.replica.is_some();
        let quarantined = self.facts.quarantined.iter().find(|quarantined| {
            quarantined.community == self.id
                && seen.found.replica.is_none_or(|here| here == quarantined.replica)
        });
        seen.found.quarantined = quarantined.map(|quarantined| quarantined.why.clone());
        seen.stored.quarantined.clone_from(&seen.found.quarantined);
        let distrusted = seen.found.replica.and_then(|here| self.facts.distrust.of(self.id, here));
        seen.stored.distrusted = distrusted.map(|distrusted| distrusted.why.clone());
    }

    async fn archive(&self, archive: &InspectedArchive, seen: &mut Seen, progress: &mut impl FnMut(String)) {
        match archive.archive.snapshots(self.id).await {
            Ok(records) => {
                for record in records {
                    progress(format!("{}: snapshot at {}", seen.place, record.sequence));
                    self.snapshot(archive, &record, seen).await;
                }
            }
            Err(error) => seen.damage("its snapshots", refuse::chain(&error)),
        }
        match archive.archive.history_held(self.id).await {
            Ok(held) => seen.found.history = held,
            Err(error) => seen.damage("its history", refuse::chain(&error)),
        }
        if self.look.is_deep {
            progress(format!("{}: its history", seen.place));
            self.history(archive, seen).await;
        }
        let components: Vec<Hash> = seen.found.program.iter().flat_map(ProgramManifest::components).collect();
        for component in components {
            if let Ok(None) = archive.archive.component(component).await {
                seen.found.missing_components.push(component);
            }
        }
    }

    async fn snapshot(&self, archive: &InspectedArchive, record: &SnapshotRecord, seen: &mut Seen) {
        let (sequence, log_index) = (record.sequence, record.log_index);
        let mut found = SnapshotFindings {
            sequence,
            log_index,
            chunks: 0,
            bytes: 0,
            state_root: None,
            sound_chunks: None,
            problem: None,
        };
        let manifest = Manifest::decode(&record.manifest);
        let problem = match &manifest {
            Ok(manifest) => {
                found.chunks = manifest.chunks.len() as u64;
                found.bytes = manifest.bytes();
                found.state_root = Some(manifest.state_root);
                match self.chunks(archive, manifest, &mut found).await {
                    None => self.other_than_its_row(manifest, record),
                    damage => damage,
                }
            }
            Err(error) => Some(refuse::chain(error)),
        };
        if let Some(what) = &problem {
            seen.damage(&format!("its snapshot at {sequence}"), what.clone());
        }
        // What another engine made is not damaged, and cannot be restored by this one.
        let other_engine = manifest.as_ref().ok().and_then(|manifest| self.other_engine(manifest));
        found.problem = problem.or(other_engine);
        if let (None, Ok(manifest)) = (&seen.found.program, &manifest) {
            seen.found.program.clone_from(&manifest.program);
            seen.note_members(&manifest.membership);
        }
        let problem = found.problem.clone();
        seen.stored.snapshots.push(StoredSnapshot { sequence, log_index, problem });
        seen.found.snapshots.push(found);
    }

    /// What is wrong with a snapshot's chunks.
    async fn chunks(
        &self,
        archive: &InspectedArchive,
        manifest: &Manifest,
        found: &mut SnapshotFindings,
    ) -> Option<String> {
        let wanted: Vec<Hash> = manifest.chunks.iter().map(|chunk| chunk.hash).collect();
        match archive.missing_chunks(&wanted).await {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => return Some(format!("{} of its chunks are missing", missing.len())),
            Err(error) => return Some(refuse::chain(&error)),
        }
        if !self.look.is_deep {
            return None;
        }
        let (mut sound, mut damage) = (0, None);
        for chunk in &manifest.chunks {
            let what = match reread(&*archive.archive, chunk.hash).await {
                Ok(Reread::Sound(bytes)) if bytes == chunk.bytes => {
                    sound += 1;
                    continue;
                }
                Ok(Reread::Sound(_)) => {
                    format!("its manifest gives chunk {} a size that it does not have", chunk.hash)
                }
                Ok(Reread::Damaged(_) | Reread::Missing) => {
                    format!("the bytes of its chunk {} are not that chunk's", chunk.hash)
                }
                Ok(Reread::Unreadable(error)) | Err(error) => refuse::chain(&error),
            };
            damage.get_or_insert(what);
        }
        found.sound_chunks = Some(sound);
        damage
    }

    /// Whether a manifest stands where it does not belong.
    fn other_than_its_row(&self, manifest: &Manifest, record: &SnapshotRecord) -> Option<String> {
        let row = (self.id, record.sequence, record.log_index);
        if (manifest.community, manifest.sequence, manifest.log_index) != row {
            return Some("its manifest is another snapshot's".to_owned());
        }
        snapshots::applied(manifest).err().map(|fault| refuse::chain(&fault))
    }

    fn other_engine(&self, manifest: &Manifest) -> Option<String> {
        let made_by = manifest.fingerprint.filter(|&made_by| made_by != self.look.engine)?;
        Some(format!("it was made by the engine {made_by}: start the build that made it"))
    }

    /// Reads all of the history.
    async fn history(&self, archive: &InspectedArchive, seen: &mut Seen) {
        let mut next = Sequence(0);
        loop {
            let records = match archive.archive.history(self.id, next, READ_BYTES).await {
                Ok(records) => records,
                Err(error) => return seen.damage("its history", refuse::chain(&error)),
            };
            for record in &records {
                if let Err(error) = codec::decode::<Vec<Transition>>(&record.body) {
                    let what =
                        format!("transitions {} to {} cannot be read: {error}", record.first, record.last);
                    return seen.damage("its history", what);
                }
            }
            match records.last() {
                Some(last) => next = last.last.next(),
                None => return,
            }
        }
    }

    async fn log(&self, log: &InspectedLog, seen: &mut Seen) {
        let state = match log.wal.state(self.id).await {
            Ok(state) => state,
            Err(error) => return seen.damage("its log", refuse::chain(&error)),
        };
        let (segments, bytes) = log.segments.get(&self.id).copied().unwrap_or_default();
        let records = match stored::log(&state) {
            Ok(records) => records,
            Err(error) => {
                seen.damage("the records of its log", error.to_string());
                seen.stored.log_damage = Some(format!("the records of its log cannot be read: {error}"));
                StoredLog::default()
            }
        };
        seen.stored.purged = records.purged;
        seen.stored.committed = records.committed;
        seen.stored.first = state.held.map(|(first, _)| first);
        seen.stored.last = state.held.map(|(_, last)| last).or(records.purged);
        let mut found = LogFindings { held: state.held, segments, bytes, records, damaged: Vec::new() };
        if let Some((first, last)) = state.held {
            self.entries(log, first..=last, &mut found, seen).await;
        }
        seen.found.log = Some(found);
    }

    /// Reads every entry; those that cannot be read are found by halves.
    async fn entries(
        &self,
        log: &InspectedLog,
        held: RangeInclusive<u64>,
        found: &mut LogFindings,
        seen: &mut Seen,
    ) {
        let (mut next, mut step) = (*held.start(), READ_ENTRIES);
        let mut damage = None;
        while next <= *held.end() && found.damaged.len() < DAMAGED_MAX {
            let wanted = next..(next + step).min(held.end() + 1);
            match self.some_entries(log, wanted, seen).await {
                Ok(read) => {
                    next += read;
                    step = (step * 2).min(READ_ENTRIES);
                }
                Err(_) if step > 1 => step /= 2,
                Err(what) => {
                    damage.get_or_insert(what);
                    found.damaged.push(next);
                    next += 1;
                }
            }
        }
        if let Some(what) = damage {
            let what = match found.damaged.len() {
                1 => what,
                all => format!("{what}; it is the first of {all} that cannot be read"),
            };
            seen.damage("its log", what.clone());
            seen.stored.damaged_entries = Some((found.damaged.clone(), what));
        }
    }

    /// Reads the first of these entries; how many.
    async fn some_entries(
        &self,
        log: &InspectedLog,
        wanted: Range<u64>,
        seen: &mut Seen,
    ) -> Result<u64, String> {
        let read = log.wal.read(self.id, wanted.clone(), READ_BYTES).await;
        let entries = read.map_err(|error: StoreError| refuse::chain(&error))?;
        if entries.is_empty() {
            return Err(format!("entry {} is not there", wanted.start));
        }
        let mut members = None;
        for entry in &entries {
            let (term, named) = self.entry(entry).map_err(|what| format!("entry {}: {what}", entry.index))?;
            seen.stored.has_terms |= seen.term.is_some_and(|before| before != term);
            seen.term = Some(term);
            members = named.or(members);
        }
        seen.found.members = members.or(seen.found.members.take());
        Ok(entries.len() as u64)
    }

    /// Reads an entry: its term, and the members that it names.
    fn entry(&self, entry: &WalEntry) -> Result<(u64, Option<StoredMembers>), String> {
        let StoredEntry { term, payload } = stored::entry(entry).map_err(|error| error.to_string())?;
        match payload {
            StoredPayload::Blank => Ok((term, None)),
            StoredPayload::Members(members) => Ok((term, Some(members))),
            StoredPayload::Proposal(batch) => {
                codec::decode::<Batch>(&batch).map_err(|error| error.to_string()).map(|_| (term, None))
            }
        }
    }
}

/// What is seen while one looks.
#[derive(Default)]
struct Seen {
    place: String,
    found: CommunityFindings,
    stored: Stored,
    /// The term of the entry that was read last.
    term: Option<u64>,
    damages: Vec<Damage>,
}

impl Seen {
    fn damage(&mut self, part: &str, what: String) {
        self.damages.push(Damage { place: format!("{}, {part}", self.place), what });
    }

    fn note_members(&mut self, record: &Bytes) {
        if self.found.members.is_none() && !record.is_empty() {
            self.found.members = stored::members(record).ok();
        }
    }
}
