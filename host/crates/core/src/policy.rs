//! What a community has chosen, in replicated state: every replica judges by the same numbers, so
//! quotas that shape outcomes are here and never in a node's configuration (promise P11).

use crate::{codec, ids::Hash, limits};
use serde::{Deserialize, Serialize};

/// A community's choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Bounds on what programs may use.
    pub quotas: Quotas,
    /// Bounds on client sessions.
    pub sessions: SessionPolicy,
    /// When snapshots are cut and how long history is kept.
    pub retention: RetentionPolicy,
}

/// Bounds on what one operation may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Fuel of one operation: reducer and validators together.
    pub operation_fuel: u64,
    /// Fuel of one batch; what does not fit is not executed.
    pub batch_fuel: u64,
    /// Linear memory of one guest instance, in bytes.
    pub memory_bytes: u64,
    /// Largest payload, in bytes.
    pub payload_bytes: u32,
    /// Largest result or answer, in bytes.
    pub result_bytes: u32,
    /// Longest key, in bytes.
    pub key_bytes: u32,
    /// Longest value, in bytes.
    pub value_bytes: u32,
    /// Most keys written.
    pub writes: u32,
    /// Most bytes written, keys and values.
    pub write_bytes: u64,
    /// Most events.
    pub events: u32,
    /// Most bytes of events, names and data.
    pub event_bytes: u64,
    /// Most timers scheduled or cancelled.
    pub timer_changes: u32,
    /// Most timers set in the whole community.
    pub timers: u64,
    /// Most bytes of the whole state, keys and values.
    pub state_bytes: u64,
}

/// Bounds on client sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPolicy {
    /// A session unused for so long expires.
    pub ttl_millis: u64,
    /// Most sessions open at once.
    pub open: u64,
    /// Most answers a session may leave unacknowledged.
    pub window: u64,
}

/// When snapshots are cut and how long history is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// A snapshot is cut at the first batch end after so many transitions.
    pub snapshot_transitions: u64,
    /// … or after so many bytes of WAL.
    pub snapshot_wal_bytes: u64,
    /// Snapshots kept.
    pub snapshots: u32,
    /// Transitions kept for subscribers and history.
    pub transitions: u64,
    /// A snapshot goes when it is so much older than the newest, by the community's own clock; 0: never
    /// for its age. The newest two stay whatever their age (the newest, where only one is kept).
    pub snapshot_age_millis: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quotas: Quotas {
                operation_fuel: 1_000_000_000,
                batch_fuel: 10_000_000_000,
                memory_bytes: 64 << 20,
                payload_bytes: 1 << 20,
                result_bytes: 1 << 20,
                key_bytes: 1024,
                value_bytes: 1 << 20,
                writes: 4096,
                write_bytes: 4 << 20,
                events: 256,
                event_bytes: 1 << 20,
                timer_changes: 256,
                timers: 65_536,
                state_bytes: 4 << 30,
            },
            sessions: SessionPolicy { ttl_millis: 24 * 60 * 60 * 1000, open: 16_384, window: 1024 },
            retention: RetentionPolicy {
                snapshot_transitions: 10_000,
                snapshot_wal_bytes: 64 << 20,
                snapshots: 3,
                transitions: 1_000_000,
                snapshot_age_millis: 0,
            },
        }
    }
}

/// A policy's value that is out of the host's bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, it must be {min} to {max}")]
pub struct OutOfBounds {
    /// The value's place in the policy.
    pub field: &'static str,
    /// What it is.
    pub value: u64,
    /// The least it may be.
    pub min: u64,
    /// The most it may be.
    pub max: u64,
}

impl Policy {
    /// The policy's name by content.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of("althing 2026 policy v1", &codec::encode(self))
    }

    /// Checks every value against [`crate::limits`].
    ///
    /// # Errors
    /// The first value out of bounds.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        let quotas = &self.quotas;
        let sessions = &self.sessions;
        let retention = &self.retention;
        let bounds: [(&'static str, u64, u64, u64); 22] = [
            ("quotas.operation_fuel", quotas.operation_fuel, 1, limits::OPERATION_FUEL_MAX),
            ("quotas.batch_fuel", quotas.batch_fuel, quotas.operation_fuel, limits::BATCH_FUEL_MAX),
            ("quotas.memory_bytes", quotas.memory_bytes, 1 << 16, limits::GUEST_MEMORY_BYTES_MAX),
            ("quotas.payload_bytes", quotas.payload_bytes.into(), 1, limits::PAYLOAD_BYTES_MAX as u64),
            ("quotas.result_bytes", quotas.result_bytes.into(), 1, limits::RESULT_BYTES_MAX as u64),
            ("quotas.key_bytes", quotas.key_bytes.into(), 1, limits::KEY_BYTES_MAX as u64),
            ("quotas.value_bytes", quotas.value_bytes.into(), 1, limits::VALUE_BYTES_MAX as u64),
            ("quotas.writes", quotas.writes.into(), 1, limits::WRITES_MAX.into()),
            ("quotas.write_bytes", quotas.write_bytes, 1, limits::WRITE_BYTES_MAX),
            ("quotas.events", quotas.events.into(), 0, limits::EVENTS_MAX.into()),
            ("quotas.event_bytes", quotas.event_bytes, 0, limits::EVENT_BYTES_MAX),
            ("quotas.timer_changes", quotas.timer_changes.into(), 0, limits::TIMER_CHANGES_MAX.into()),
            ("quotas.timers", quotas.timers, 0, limits::TIMERS_MAX),
            ("quotas.state_bytes", quotas.state_bytes, 1, limits::STATE_BYTES_MAX),
            ("sessions.ttl_millis", sessions.ttl_millis, 1000, 1 << 40),
            ("sessions.open", sessions.open, 1, limits::SESSIONS_MAX),
            ("sessions.window", sessions.window, 1, limits::SESSION_WINDOW_MAX),
            ("retention.snapshot_transitions", retention.snapshot_transitions, 1, 1 << 40),
            ("retention.snapshot_wal_bytes", retention.snapshot_wal_bytes, 1 << 16, 1 << 40),
            ("retention.snapshots", retention.snapshots.into(), 1, 1024),
            ("retention.transitions", retention.transitions, 1, 1 << 40),
            ("retention.snapshot_age_millis", retention.snapshot_age_millis, 0, 1 << 40),
        ];
        for (field, value, min, max) in bounds {
            if value < min || value > max {
                return Err(OutOfBounds { field, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_within_bounds() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let message = "quotas.operation_fuel is 0, it must be 1 to 10000000000";
        assert_eq!(refused(|policy| policy.quotas.operation_fuel = 0), message);
        let message = "quotas.batch_fuel is 5, it must be 1000000000 to 40000000000";
        assert_eq!(refused(|policy| policy.quotas.batch_fuel = 5), message);
        let message = "sessions.ttl_millis is 999, it must be 1000 to 1099511627776";
        assert_eq!(refused(|policy| policy.sessions.ttl_millis = 999), message);
        let message = "retention.snapshots is 1025, it must be 1 to 1024";
        assert_eq!(refused(|policy| policy.retention.snapshots = 1025), message);
    }
}
