//! What the machine knows of a community besides its state's content, and how it reads that back
//! from the state: the header, the policy, the program with its history.
//!
//! All of it lies in the system keyspace, so a restored state is a restored machine.

use crate::{
    batch::ProgramManifest,
    digest,
    ids::{CommunityId, Hash, Sequence},
    policy::Policy,
    records::{self, BadState},
    state::State,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

const HEADER: &[u8] = b"header";
const POLICY: &[u8] = b"policy";
const PROGRAM: &[u8] = b"program";
/// Followed by the sequence of the activation, big-endian.
const PROGRAM_AT: &[u8] = b"program/at/";

/// Where a community stands. Written once per batch, at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The community.
    pub community: CommunityId,
    /// The last transition.
    pub sequence: Sequence,
    /// The effective time of the last batch.
    pub time: Timestamp,
    /// The digest up to and including the last transition.
    pub digest: Hash,
    /// Sessions open.
    pub sessions: u64,
    /// Timers set.
    pub timers: u64,
}

impl Header {
    /// Before the first transition.
    #[must_use]
    pub fn start(community: CommunityId) -> Self {
        Self {
            community,
            sequence: Sequence(0),
            time: Timestamp::default(),
            digest: digest::start(community),
            sessions: 0,
            timers: 0,
        }
    }

    /// The header that a state holds.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn read(state: &State) -> Result<Self, BadState> {
        records::require(state, "header", HEADER)
    }

    pub(crate) fn write(&self, state: &mut State) {
        records::put(state, HEADER, self);
    }
}

/// The policy that a state holds.
///
/// # Errors
/// When there is none, or it is damaged.
pub fn read_policy(state: &State) -> Result<Policy, BadState> {
    records::require(state, "policy", POLICY)
}

pub(crate) fn write_policy(state: &mut State, policy: &Policy) {
    records::put(state, POLICY, policy);
}

/// The program that a state's community runs.
///
/// # Errors
/// When its record is damaged.
pub fn read_program(state: &State) -> Result<Option<ProgramManifest>, BadState> {
    records::get(state, "program", PROGRAM)
}

/// Makes `program` the one that the community runs from the transition `at` on.
pub(crate) fn write_program(state: &mut State, at: Sequence, program: &ProgramManifest) {
    records::put(state, PROGRAM, program);
    let key = [PROGRAM_AT, &at.0.to_be_bytes()].concat();
    records::put(state, &key, &program.hash());
}

/// Every program that the community has run: the sequence of its activation and
/// [`ProgramManifest::hash`], oldest first.
///
/// # Errors
/// When a record is damaged.
pub fn read_programs(state: &State) -> Result<Vec<(Sequence, Hash)>, BadState> {
    records::with_prefix(state, PROGRAM_AT)
        .map(|rest| {
            let sequence = records::number("program/at", &rest)?;
            let hash = records::require(state, "program/at", &[PROGRAM_AT, &rest].concat())?;
            Ok((Sequence(sequence), hash))
        })
        .collect()
}
