//! [`Transition`] on the wire, with its cause, writes, events and timers.

use crate::{
    Malformed,
    malformed::{hash, hash_bytes},
    present, v1,
};
use althing_core::{
    ids::{OperationNumber, Sequence, SessionId},
    overlay::TimerSet,
    transition::{Cause, Event, TimerChange, Transition, Write},
};

impl From<Transition> for v1::Transition {
    fn from(transition: Transition) -> Self {
        Self {
            sequence: transition.sequence.0,
            time: Some(transition.time.into()),
            cause: Some(transition.cause.into()),
            outcome: Some(transition.outcome.into()),
            writes: transition.writes.into_iter().map(Into::into).collect(),
            events: transition.events.into_iter().map(Into::into).collect(),
            timers: transition.timers.into_iter().map(Into::into).collect(),
            fuel: transition.fuel,
            digest: hash_bytes(transition.digest),
        }
    }
}

impl TryFrom<v1::Transition> for Transition {
    type Error = Malformed;

    fn try_from(transition: v1::Transition) -> Result<Self, Malformed> {
        let timers = transition.timers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self {
            sequence: Sequence(transition.sequence),
            time: present("transition.time", transition.time)?.try_into()?,
            cause: present("transition.cause", transition.cause)?.try_into()?,
            outcome: present("transition.outcome", transition.outcome)?.try_into()?,
            writes: transition.writes.into_iter().map(Into::into).collect(),
            events: transition.events.into_iter().map(Into::into).collect(),
            timers,
            fuel: transition.fuel,
            digest: hash("transition.digest", &transition.digest)?,
        })
    }
}

impl From<Cause> for v1::Cause {
    fn from(cause: Cause) -> Self {
        use v1::cause::Kind;
        let kind = match cause {
            Cause::Operation { session, number, actor, payload } => Kind::Operation(v1::OperationCause {
                session: session.0,
                number: number.0,
                actor: Some(actor.into()),
                payload,
            }),
            Cause::Timer { id, payload } => Kind::Timer(v1::TimerCause { id, payload }),
            Cause::OpenSession { actor } => Kind::Session(v1::SessionCause { actor: Some(actor.into()) }),
            Cause::Activate { actor, program } => Kind::Activation(v1::ActivationCause {
                actor: Some(actor.into()),
                program: hash_bytes(program),
            }),
            Cause::SetPolicy => Kind::Policy(v1::PolicyCause {}),
            Cause::Import(origin) => Kind::Import(origin.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Cause> for Cause {
    type Error = Malformed;

    fn try_from(cause: v1::Cause) -> Result<Self, Malformed> {
        use v1::cause::Kind;
        Ok(match present("cause.kind", cause.kind)? {
            Kind::Operation(operation) => Self::Operation {
                session: SessionId(operation.session),
                number: OperationNumber(operation.number),
                actor: present("cause.operation.actor", operation.actor)?.try_into()?,
                payload: operation.payload,
            },
            Kind::Timer(timer) => Self::Timer { id: timer.id, payload: timer.payload },
            Kind::Session(session) => {
                Self::OpenSession { actor: present("cause.session.actor", session.actor)?.try_into()? }
            }
            Kind::Activation(activation) => Self::Activate {
                actor: present("cause.activation.actor", activation.actor)?.try_into()?,
                program: hash("cause.activation.program", &activation.program)?,
            },
            Kind::Policy(v1::PolicyCause {}) => Self::SetPolicy,
            Kind::Import(origin) => Self::Import(origin.try_into()?),
        })
    }
}

impl From<Write> for v1::Write {
    fn from(Write { key, value }: Write) -> Self {
        Self { key, value }
    }
}

impl From<v1::Write> for Write {
    fn from(v1::Write { key, value }: v1::Write) -> Self {
        Self { key, value }
    }
}

impl From<Event> for v1::Event {
    fn from(Event { name, data }: Event) -> Self {
        Self { name, data }
    }
}

impl From<v1::Event> for Event {
    fn from(v1::Event { name, data }: v1::Event) -> Self {
        Self { name, data }
    }
}

impl From<TimerChange> for v1::TimerChange {
    fn from(TimerChange { id, set }: TimerChange) -> Self {
        Self { id, set: set.map(|set| v1::TimerSet { at: Some(set.at.into()), payload: set.payload }) }
    }
}

impl TryFrom<v1::TimerChange> for TimerChange {
    type Error = Malformed;

    fn try_from(v1::TimerChange { id, set }: v1::TimerChange) -> Result<Self, Malformed> {
        let set = match set {
            None => None,
            Some(set) => {
                let at = present("timers.set.at", set.at)?.try_into()?;
                Some(TimerSet { at, payload: set.payload })
            }
        };
        Ok(Self { id, set })
    }
}
