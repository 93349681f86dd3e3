//! A guest that misbehaves on request: each operation goes against one limit of the engine.
//!
//! Every one of them must end as an outcome of the operation, the same on every replica, and leave
//! the community as it was.

#![recursion_limit = "512"]

use althing_guest::prelude::*;
use std::hint::black_box;

const MARK: Value<u64> = Value::new("mark");
const BLOBS: Map<u64, String> = Map::new("blob");

/// What to do wrong.
#[operation]
pub enum Operation {
    /// Nothing: writes a mark and says its number, to show that the community goes on.
    Behave,
    /// Runs without end.
    Loop,
    /// Calls itself without end.
    Recurse,
    /// Calls itself without end, with a frame of two hundred live values.
    BigFrames,
    /// Takes memory without end.
    Allocate,
    /// Writes without end.
    WriteTooMuch,
    /// Writes one value larger than the contract allows.
    WriteTooBig,
    /// Emits events without end.
    EmitTooMuch,
    /// Sets timers without end.
    ScheduleTooMuch,
    /// Reads without end.
    ReadTooMuch,
    /// Answers with more than the contract allows.
    AnswerTooMuch,
    /// Panics, after having written.
    Panic,
}

/// What there is to ask.
#[query]
pub enum Query {
    /// The mark: how often [`Operation::Behave`] was accepted.
    Mark,
    /// Writes, which a query must not.
    Write,
    /// Runs without end.
    Loop,
}

/// Something to emit.
#[event]
pub enum Event {
    /// Again.
    Again(String),
}

/// The reducer.
pub struct Hostile;

#[reducer]
impl Reducer for Hostile {
    type Event = Event;
    type Timer = ();

    fn reduce(cx: &Context, operation: Operation) -> Result<String> {
        match operation {
            Operation::Behave => return Ok(MARK.update(|mark| mark.unwrap_or(0) + 1).to_string()),
            Operation::Loop => endless(),
            Operation::Recurse => return Ok(recurse(cx.sequence, cx.community).to_string()),
            Operation::BigFrames => return Ok(big_frames(cx.sequence, cx.community).to_string()),
            Operation::Allocate => allocate(),
            Operation::WriteTooMuch => write_too_much(),
            Operation::WriteTooBig => BLOBS.set(0, &"x".repeat((1 << 20) + 1)),
            Operation::EmitTooMuch => {
                (0..1_u64 << 40).for_each(|_| Self::emit(Event::Again("x".repeat(1000))))
            }
            Operation::ScheduleTooMuch => {
                (0..1_u64 << 40).for_each(|id| Self::schedule(id.to_string(), cx.time, ()));
            }
            Operation::ReadTooMuch => (0..1_u64 << 40).for_each(|key| {
                black_box(BLOBS.has(key));
            }),
            Operation::AnswerTooMuch => return Ok("x".repeat((1 << 20) + 1)),
            Operation::Panic => {
                MARK.set(&0);
                panic!("asked to panic");
            }
        }
        Ok("done, which no limit should have allowed".into())
    }

    fn query(_: &Context, query: Query) -> Result<u64> {
        match query {
            Query::Mark => {}
            Query::Write => MARK.set(&0),
            Query::Loop => endless(),
        }
        Ok(MARK.get_or_default())
    }

    fn on_timer(_: &Context, (): ()) -> Result {
        Ok(())
    }
}

fn endless() {
    let mut turn = 0_u32;
    while black_box(turn) < u32::MAX {
        turn = black_box(turn.wrapping_add(1)) & 0xffff;
    }
}

/// Without an end: `depth` is past it from the start. Nothing here needs memory, so that neither the
/// guest's own stack nor anything else ends it before the engine does.
#[inline(never)]
fn recurse(depth: u64, end: u64) -> u64 {
    if depth == end {
        return 0;
    }
    // Used after the call, so that it is no loop in disguise.
    recurse(depth + 1, end).rotate_left(7) ^ depth
}

/// Two hundred values computed before the call and used after it: they have to live in the frame.
#[inline(never)]
fn big_frames(depth: u64, end: u64) -> u64 {
    macro_rules! frame {
        ($value:ident, ) => { big_frames($value | (1 << 63), end) };
        ($value:ident, $digit:tt $($rest:tt)*) => {{
            let next = frame!(@ $value);
            let below = frame!(next, $($rest)*);
            below.rotate_left(9) ^ next
        }};
        (@ $value:ident) => {{
            let shifted = $value ^ ($value << 13);
            let shifted = shifted ^ (shifted >> 7);
            shifted ^ (shifted << 17)
        }};
    }
    if depth == end {
        return 0;
    }
    frame!(depth,
        0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9
        0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9
        0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9
        0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9)
}

fn allocate() {
    let mut held = Vec::new();
    for _ in 0..1_u64 << 20 {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
    black_box(held);
}

fn write_too_much() {
    let blob = "x".repeat(1000);
    for key in 0..1_u64 << 40 {
        BLOBS.set(key, &blob);
    }
}
