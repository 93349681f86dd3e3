//! Every bound of the host, in one place, with the relations between them checked at compile time
//! (promise P8). What a community may choose is in [`crate::policy`]; these are the walls around it.

/// Longest actor id, in bytes.
pub const ACTOR_ID_BYTES_MAX: usize = 256;
/// Most roles of an actor.
pub const ACTOR_ROLES_MAX: usize = 32;
/// Longest role of an actor, in bytes.
pub const ACTOR_ROLE_BYTES_MAX: usize = 64;
/// Longest community name, in bytes.
pub const COMMUNITY_NAME_BYTES_MAX: usize = 64;

/// Longest key of a program's keyspace, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Largest payload of an operation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Largest result of an operation or answer to a query, in bytes.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// Largest configuration of a program or validator, in bytes.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;
/// Longest name of a program, in bytes.
pub const PROGRAM_NAME_BYTES_MAX: usize = 64;
/// Longest version of a program, in bytes.
pub const PROGRAM_VERSION_BYTES_MAX: usize = 64;
/// Most validators of a program.
pub const VALIDATORS_MAX: usize = 16;

/// Longest rejection code, in bytes.
pub const REJECTION_CODE_BYTES_MAX: usize = 64;
/// Longest rejection message, in bytes.
pub const REJECTION_MESSAGE_BYTES_MAX: usize = 4096;
/// Longest trap message, in bytes.
pub const TRAP_MESSAGE_BYTES_MAX: usize = 4096;

/// Most keys written by one operation.
pub const WRITES_MAX: u32 = 16_384;
/// Most bytes written by one operation: keys and values.
pub const WRITE_BYTES_MAX: u64 = 4 << 20;
/// Most events of one operation.
pub const EVENTS_MAX: u32 = 1024;
/// Most bytes of events of one operation.
pub const EVENT_BYTES_MAX: u64 = 1 << 20;
/// Longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;

/// Most pairs of one page of a scan.
pub const SCAN_PAIRS_MAX: u32 = 1024;
/// Most bytes of one page of a scan.
pub const SCAN_BYTES_MAX: u64 = 1 << 20;
/// Most host calls of one run, so that reading is bounded even where it is cheap.
pub const HOST_CALLS_MAX: u64 = 1 << 20;

/// Longest timer id, in bytes.
pub const TIMER_ID_BYTES_MAX: usize = 256;
/// Largest payload of a timer, in bytes.
pub const TIMER_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Most timers scheduled or cancelled by one operation.
pub const TIMER_CHANGES_MAX: u32 = 1024;
/// Most timers a community may have set.
pub const TIMERS_MAX: u64 = 1 << 20;
/// Most timers that fire in one batch; the others wait for the next.
pub const TIMERS_PER_BATCH_MAX: u32 = 256;

/// Most commands of one batch.
pub const BATCH_COMMANDS_MAX: usize = 4096;
/// Most bytes of one encoded batch.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most fuel of one operation: about ten seconds of the slowest instruction mix.
pub const OPERATION_FUEL_MAX: u64 = 10_000_000_000;
/// Most fuel of one batch.
pub const BATCH_FUEL_MAX: u64 = 4 * OPERATION_FUEL_MAX;

/// Most bytes of a community's state, keys and values.
pub const STATE_BYTES_MAX: u64 = 16 << 30;
/// Most sessions open at once.
pub const SESSIONS_MAX: u64 = 65_536;
/// Most answers a session may leave unacknowledged.
pub const SESSION_WINDOW_MAX: u64 = 4096;
/// Most records of expired sessions that one batch takes away, but for the last session's, which are
/// taken away whole; the others wait for the next batch.
pub const EXPIRED_RECORDS_PER_BATCH_MAX: u64 = 4096;

/// Most linear memory of one guest instance, in bytes.
pub const GUEST_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Deepest guest call stack, in frames.
pub const GUEST_DEPTH_MAX: u32 = 10_000;
/// Largest component, in bytes.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// Smallest chunk of a snapshot, in bytes, but for the last.
pub const CHUNK_BYTES_MIN: usize = 16 << 10;
/// What a chunk has on average beyond the smallest, in bytes, if nothing else bounds it.
pub const CHUNK_BYTES_MORE: usize = 48 << 10;
/// Largest chunk of a snapshot, in bytes, but for a single pair that is larger alone.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Largest pair of a state as a chunk holds it, in bytes, and so the largest chunk: the record of a
/// program with all its configurations comes nearest.
pub const PAIR_BYTES_MAX: usize = 8 << 20;
/// Most bytes of all chunks of a snapshot: a pair is encoded with the lengths of its key and value,
/// which no more than doubles it.
pub const SNAPSHOT_BYTES_MAX: u64 = 2 * STATE_BYTES_MAX;
/// Most chunks of a snapshot, so that its manifest travels between nodes in one piece. Enough for the largest state
/// in chunks of the usual size; for 8 GiB in the smallest that a guest's choice of keys can make.
pub const SNAPSHOT_CHUNKS_MAX: usize = 512 << 10;
/// Largest manifest of a snapshot, encoded, in bytes: 36 of each chunk, and a program with all its
/// configurations.
pub const MANIFEST_BYTES_MAX: usize = 24 << 20;

const _: () = {
    assert!(BATCH_BYTES_MAX >= 2 * PAYLOAD_BYTES_MAX, "a batch holds any one operation");
    assert!(BATCH_FUEL_MAX >= OPERATION_FUEL_MAX, "a batch runs any one operation");
    assert!(WRITE_BYTES_MAX as usize >= KEY_BYTES_MAX + VALUE_BYTES_MAX, "an operation writes any one pair");
    assert!(EVENT_BYTES_MAX as usize >= EVENT_NAME_BYTES_MAX, "an operation emits an event");
    assert!(SCAN_BYTES_MAX as usize >= VALUE_BYTES_MAX, "a page holds any one value");
    assert!(STATE_BYTES_MAX > WRITE_BYTES_MAX, "a state holds any one operation's writes");
    assert!(CHUNK_BYTES_MIN + 2 * CHUNK_BYTES_MORE < CHUNK_BYTES_MAX, "chunks have room to differ");
    assert!(PAIR_BYTES_MAX >= KEY_BYTES_MAX + VALUE_BYTES_MAX + 16, "a chunk holds any one pair");
    assert!(PAIR_BYTES_MAX > (VALIDATORS_MAX + 2) * CONFIG_BYTES_MAX, "a chunk holds any program's record");
    assert!(PAIR_BYTES_MAX > CHUNK_BYTES_MAX, "the largest chunk is a single pair");
    assert!(
        SNAPSHOT_CHUNKS_MAX as u64 * (CHUNK_BYTES_MIN + CHUNK_BYTES_MORE) as u64 >= SNAPSHOT_BYTES_MAX,
        "the largest state fits in chunks of the usual size"
    );
    assert!(
        MANIFEST_BYTES_MAX > 36 * SNAPSHOT_CHUNKS_MAX + (VALIDATORS_MAX + 2) * CONFIG_BYTES_MAX,
        "any manifest is within its bound"
    );
    assert!(SESSION_WINDOW_MAX <= EXPIRED_RECORDS_PER_BATCH_MAX, "a session expires within one batch");
    assert!(TIMER_PAYLOAD_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a timer's payload is an operation's at most");
};
