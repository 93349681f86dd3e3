//! A transition: what happened, as one line or one JSON object.

use crate::show::{
    blob::{Blob, Key},
    community::OriginShown,
    outcome::Said,
};
use althing_client::Actor;
use althing_core::transition::{Cause, Event, TimerChange, Transition, Write};
use serde::Serialize;
use std::fmt;

/// What happened.
#[derive(Debug, Serialize)]
pub(crate) struct TransitionShown {
    sequence: u64,
    time: TimeShown,
    cause: CauseShown,
    #[serde(flatten)]
    said: Said,
    writes: Vec<WriteShown>,
    events: Vec<EventShown>,
    timers: Vec<TimerShown>,
    fuel: u64,
    digest: String,
}

#[derive(Debug, Serialize)]
struct TimeShown {
    millis: u64,
    counter: u16,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum CauseShown {
    Operation { session: u64, number: u64, actor: ActorShown, payload: Blob },
    Timer { id: Key, payload: Blob },
    Session { actor: ActorShown },
    Activation { actor: ActorShown, program: String },
    Policy,
    Import(OriginShown),
}

#[derive(Debug, Serialize)]
struct ActorShown {
    id: String,
    roles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WriteShown {
    key: Key,
    /// `null` when deleted.
    value: Option<Blob>,
}

#[derive(Debug, Serialize)]
struct EventShown {
    name: String,
    data: Blob,
}

#[derive(Debug, Serialize)]
struct TimerShown {
    id: Key,
    /// `null` when cancelled.
    at_millis: Option<u64>,
}

impl From<Transition> for TransitionShown {
    fn from(transition: Transition) -> Self {
        let Transition { sequence, time, cause, outcome, writes, events, timers, fuel, digest } = transition;
        Self {
            sequence: sequence.0,
            time: TimeShown { millis: time.millis(), counter: time.counter() },
            cause: cause.into(),
            said: outcome.into(),
            writes: writes.into_iter().map(Into::into).collect(),
            events: events.into_iter().map(Into::into).collect(),
            timers: timers.into_iter().map(Into::into).collect(),
            fuel,
            digest: digest.to_string(),
        }
    }
}

impl TransitionShown {
    /// What no person reads but to compare.
    pub(crate) fn fingerprint(&self) -> String {
        format!("      fuel {}, digest {}", self.fuel, self.digest)
    }
}

impl From<Cause> for CauseShown {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Operation { session, number, actor, payload } => Self::Operation {
                session: session.0,
                number: number.0,
                actor: actor.into(),
                payload: Blob(payload),
            },
            Cause::Timer { id, payload } => Self::Timer { id: Key(id), payload: Blob(payload) },
            Cause::OpenSession { actor } => Self::Session { actor: actor.into() },
            Cause::Activate { actor, program } => {
                Self::Activation { actor: actor.into(), program: program.to_string() }
            }
            Cause::SetPolicy => Self::Policy,
            Cause::Import(origin) => Self::Import(origin.into()),
        }
    }
}

impl From<Actor> for ActorShown {
    fn from(Actor { id, roles }: Actor) -> Self {
        Self { id, roles }
    }
}

impl From<Write> for WriteShown {
    fn from(Write { key, value }: Write) -> Self {
        Self { key: Key(key), value: value.map(Blob) }
    }
}

impl From<Event> for EventShown {
    fn from(Event { name, data }: Event) -> Self {
        Self { name, data: Blob(data) }
    }
}

impl From<TimerChange> for TimerShown {
    fn from(TimerChange { id, set }: TimerChange) -> Self {
        Self { id: Key(id), at_millis: set.map(|set| set.at.millis()) }
    }
}

impl fmt::Display for TransitionShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#{}  {}  {}  →  {}", self.sequence, self.time, self.cause, self.said)?;
        for write in &self.writes {
            match &write.value {
                Some(value) => writeln!(f, "      {} = {value}", write.key)?,
                None => writeln!(f, "      {} deleted", write.key)?,
            }
        }
        for EventShown { name, data } in &self.events {
            writeln!(f, "      event {name} {data}")?;
        }
        for timer in &self.timers {
            match timer.at_millis {
                Some(at) => writeln!(f, "      timer {} at {at}", timer.id)?,
                None => writeln!(f, "      timer {} cancelled", timer.id)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for TimeShown {
    /// The time of the day, UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.millis / 1000, self.millis % 1000);
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
    }
}

impl fmt::Display for CauseShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { actor, payload, .. } => write!(f, "{}: {payload}", actor.id),
            Self::Timer { id, payload } => write!(f, "timer {id} {payload}"),
            Self::Session { actor } => write!(f, "{}: open session", actor.id),
            Self::Activation { actor, program } => {
                write!(f, "{}: activate program {}", actor.id, program.get(..12).unwrap_or(program))
            }
            Self::Policy => f.write_str("set policy"),
            Self::Import(origin) => write!(f, "import of {origin}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TransitionShown;
    use althing_client::Actor;
    use althing_core::{
        ids::{Hash, OperationNumber, Sequence, SessionId},
        time::Timestamp,
        transition::{Cause, Event, Outcome, TimerChange, Transition, Write},
    };
    use bytes::Bytes;
    use serde_json::json;

    fn transition() -> TransitionShown {
        let blob = Bytes::from_static;
        TransitionShown::from(Transition {
            sequence: Sequence(8),
            time: Timestamp::new(((13 * 60 + 5) * 60 + 9) * 1000 + 7, 2),
            cause: Cause::Operation {
                session: SessionId(1),
                number: OperationNumber(4),
                actor: Actor { id: "ada".into(), roles: vec![] },
                payload: blob(br#"{"add":1}"#),
            },
            outcome: Outcome::Accepted { result: blob(b"3") },
            writes: vec![
                Write { key: blob(b"n"), value: Some(blob(b"3")) },
                Write { key: blob(b"o"), value: None },
            ],
            events: vec![Event { name: "added".into(), data: blob(b"1") }],
            timers: vec![TimerChange { id: blob(b"t"), set: None }],
            fuel: 10,
            digest: Hash([2; 32]),
        })
    }

    #[test]
    fn a_transition_is_a_line_and_one_for_each_change() {
        let wanted = "#8  13:05:09.007  ada: {\"add\":1}  →  accepted  3\n      n = 3\n      o deleted\n      event added 1\n      timer t cancelled\n";
        assert_eq!(transition().to_string(), wanted);
    }

    #[test]
    fn json_has_everything() {
        let text = serde_json::to_string(&transition()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = json!({
            "sequence": 8,
            "time": {"millis": 47_109_007, "counter": 2},
            "cause": {"kind": "operation", "session": 1, "number": 4, "actor": {"id": "ada", "roles": []}, "payload": {"add": 1}},
            "outcome": "accepted",
            "result": 3,
            "writes": [{"key": "n", "value": 3}, {"key": "o", "value": null}],
            "events": [{"name": "added", "data": 1}],
            "timers": [{"id": "t", "at_millis": null}],
            "fuel": 10,
            "digest": "02".repeat(32),
        });
        assert_eq!(value, wanted);
    }
}
