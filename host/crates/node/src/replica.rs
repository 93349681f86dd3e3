//! A community's copy on this node, in the hands of whoever executes it: the machine, how far it
//! came in the log, and when a snapshot is due.
//!
//! Synchronous: it runs on a guest thread, knows no storage and no network.

use crate::directory;
use althing_consensus::port::{AppliedState, CommittedEntry, EntryPayload, Position, Replies};
use althing_core::{
    batch::{Batch, Command, ProgramManifest},
    codec,
    machine::Machine,
    program::{Fault, Leftovers, Program, Programs},
    transition::Transition,
    view::View,
};
use althing_engine::Engine;
use bytes::Bytes;
use std::sync::Arc;

/// What a replica's programs are made by.
#[derive(Clone)]
pub(crate) enum Loader {
    /// The system community's program, whatever the manifest says.
    Native,
    /// Components.
    Wasm(Engine),
    /// Scripts, in tests of this crate.
    #[cfg(test)]
    Scripted,
}

impl Programs for Loader {
    fn load(&mut self, manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        match self {
            Self::Native => Ok(Box::new(directory::program::Directory)),
            Self::Wasm(engine) => engine.load(manifest),
            #[cfg(test)]
            Self::Scripted => althing_core::testing::ScriptedPrograms::default().load(manifest),
        }
    }
}

/// A committed entry, decoded.
pub(crate) struct Decoded {
    pub(crate) position: Position,
    pub(crate) payload: Payload,
}

/// What it holds.
pub(crate) enum Payload {
    Blank,
    Membership(Bytes),
    Batch { batch: Batch, bytes: u64 },
}

/// What a snapshot is built from: captured in O(1).
#[derive(Clone)]
pub(crate) struct Captured {
    pub(crate) view: View,
    pub(crate) applied: AppliedState,
}

/// A community's copy on this node.
pub(crate) struct Replica {
    machine: Machine,
    loader: Loader,
    applied: AppliedState,
    wal_bytes: u64,
    due: Option<Captured>,
}

/// What some entries did.
#[derive(Default)]
pub(crate) struct Executed {
    /// One for each entry.
    pub(crate) replies: Vec<Replies>,
    /// One for each batch.
    pub(crate) transitions: Vec<Vec<Transition>>,
}

impl Decoded {
    /// Decodes a committed entry.
    ///
    /// # Errors
    /// A fault: what was committed must be readable.
    pub(crate) fn new(entry: CommittedEntry) -> Result<Self, Fault> {
        let payload = match entry.payload {
            EntryPayload::Blank => Payload::Blank,
            EntryPayload::Membership(record) => Payload::Membership(record),
            EntryPayload::Proposal(bytes) => Payload::Batch {
                batch: codec::decode(&bytes).map_err(|error| {
                    Fault::because(format!("log entry {} cannot be read", entry.position.index), error)
                })?,
                bytes: bytes.len() as u64,
            },
        };
        Ok(Self { position: entry.position, payload })
    }

    /// The programs that the entry activates.
    pub(crate) fn activated(&self) -> impl Iterator<Item = &ProgramManifest> {
        let commands = match &self.payload {
            Payload::Batch { batch, .. } => batch.commands.as_slice(),
            Payload::Blank | Payload::Membership(_) => &[],
        };
        commands.iter().filter_map(|command| match command {
            Command::Activate(activation) => Some(&activation.program),
            Command::Operation(_) | Command::OpenSession(_) | Command::SetPolicy(_) => None,
        })
    }
}

impl Replica {
    pub(crate) fn new(machine: Machine, loader: Loader, applied: AppliedState) -> Self {
        Self { machine, loader, applied, wal_bytes: 0, due: None }
    }

    /// Flips the last byte of a value, behind everybody's back.
    #[cfg(test)]
    pub(crate) fn flip(&mut self, key: &[u8]) {
        use althing_core::state::Keyspace;
        let mut state = self.machine.state().clone();
        let mut value = state.get(Keyspace::Program, key).expect("there is something to flip").to_vec();
        *value.last_mut().expect("it is not empty") ^= 1;
        state.put(Keyspace::Program, key, Some(value.into()));
        self.machine = Machine::restore(state).expect("the header is untouched");
    }

    pub(crate) fn view(&self) -> View {
        self.machine.view()
    }

    pub(crate) fn applied(&self) -> &AppliedState {
        &self.applied
    }

    /// The program in force.
    pub(crate) fn program(&self) -> Option<&ProgramManifest> {
        self.machine.program_manifest()
    }

    /// Whether a snapshot is due.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What a snapshot shall hold: the state where it fell due, or else the state now.
    pub(crate) fn capture(&mut self) -> Captured {
        self.due.take().unwrap_or_else(|| self.captured())
    }

    /// Executes entries in order.
    ///
    /// # Errors
    /// A fault; the replica is then as it was after the last entry before it.
    pub(crate) fn execute(&mut self, entries: Vec<Decoded>) -> Result<Executed, Fault> {
        let mut executed = Executed::default();
        for entry in entries {
            self.must_follow(&entry.position)?;
            let replies = match entry.payload {
                Payload::Blank => Replies::default(),
                Payload::Membership(record) => {
                    self.applied.membership = Some(record);
                    Replies::default()
                }
                Payload::Batch { batch, bytes } => {
                    let before = self.machine.sequence();
                    let applied = self.machine.apply(&batch, &mut self.loader)?;
                    self.applied.position = Some(entry.position.clone());
                    self.note_growth(before.0, bytes);
                    executed.transitions.push(applied.transitions);
                    Arc::new(applied.replies)
                }
            };
            self.applied.position = Some(entry.position);
            executed.replies.push(replies);
        }
        Ok(executed)
    }

    /// A log is executed without gaps, and an empty replica begins with its first entry: one whose group
    /// began with a snapshot has to be given that.
    fn must_follow(&self, next: &Position) -> Result<(), Fault> {
        let last = self.applied.position.as_ref().map(|position| position.index);
        if next.index == last.map_or(0, |last| last + 1) {
            return Ok(());
        }
        let after =
            last.map_or_else(|| "on an empty replica".to_owned(), |last| format!("after entry {last}"));
        Err(Fault::new(format!("log entry {} was to be executed {after}: this is a bug", next.index)))
    }

    /// Gives up what the program keeps between the calls of a batch.
    pub(crate) fn release(&mut self) -> Leftovers {
        self.machine.release()
    }

    /// A snapshot falls due at the first batch end at which the history crosses a multiple of the policy's
    /// number, which is at the same sequence on every replica; or after so many bytes of log, counted from the
    /// last one that fell due here since the replica was started, and so at other places on other replicas.
    fn note_growth(&mut self, before: u64, bytes: u64) {
        let policy = self.machine.policy().retention.clone();
        self.wal_bytes += bytes;
        let every = policy.snapshot_transitions;
        let crossed = self.machine.sequence().0 / every > before / every;
        if crossed || self.wal_bytes >= policy.snapshot_wal_bytes {
            self.wal_bytes = 0;
            self.due = Some(self.captured());
        }
    }

    fn captured(&self) -> Captured {
        Captured { view: self.machine.view(), applied: self.applied.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoded, Loader, Payload, Replica};
    use althing_consensus::port::{AppliedState, Position};
    use althing_core::{ids::CommunityId, machine::Machine, policy::Policy};
    use bytes::Bytes;

    #[test]
    fn an_empty_replica_begins_with_the_first_entry_and_none_is_left_out() {
        let machine = Machine::new(CommunityId(1), Policy::default());
        let mut replica = Replica::new(machine, Loader::Scripted, AppliedState::default());
        let blank = |index| {
            let position = Position { index, record: Bytes::new() };
            vec![Decoded { position, payload: Payload::Blank }]
        };
        let fault =
            replica.execute(blank(1)).err().expect("a group that began with a snapshot has no first entry");
        assert!(fault.to_string().contains("on an empty replica"), "{fault}");
        assert!(replica.execute(blank(0)).is_ok());
        assert!(replica.execute(blank(1)).is_ok());
        let fault = replica.execute(blank(3)).err().expect("the second is left out");
        assert!(fault.to_string().contains("after entry 1"), "{fault}");
    }
}
