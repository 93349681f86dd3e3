//! [`Receipt`], [`Outcome`], [`Rejection`] and [`Trap`] on the wire.

use crate::{
    Malformed,
    malformed::{hash, hash_bytes},
    present, v1,
};
use althing_core::{
    ids::Sequence,
    transition::{Outcome, Receipt, Rejection, Trap, TrapKind},
};

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            sequence: receipt.sequence.0,
            time: Some(receipt.time.into()),
            outcome: Some(receipt.outcome.into()),
            fuel: receipt.fuel,
            digest: hash_bytes(receipt.digest),
        }
    }
}

impl TryFrom<v1::Receipt> for Receipt {
    type Error = Malformed;

    fn try_from(receipt: v1::Receipt) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: Sequence(receipt.sequence),
            time: present("receipt.time", receipt.time)?.try_into()?,
            outcome: present("receipt.outcome", receipt.outcome)?.try_into()?,
            fuel: receipt.fuel,
            digest: hash("receipt.digest", &receipt.digest)?,
        })
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        use v1::outcome::Kind;
        let kind = match outcome {
            Outcome::Accepted { result } => Kind::Accepted(v1::Accepted { result }),
            Outcome::Rejected(rejection) => Kind::Rejected(rejection.into()),
            Outcome::Trapped(trap) => Kind::Trapped(trap.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = Malformed;

    fn try_from(outcome: v1::Outcome) -> Result<Self, Malformed> {
        use v1::outcome::Kind;
        Ok(match present("outcome.kind", outcome.kind)? {
            Kind::Accepted(accepted) => Self::Accepted { result: accepted.result },
            Kind::Rejected(rejected) => Self::Rejected(rejected.into()),
            Kind::Trapped(trapped) => Self::Trapped(trapped.try_into()?),
        })
    }
}

impl From<Rejection> for v1::Rejected {
    fn from(Rejection { code, message, validator }: Rejection) -> Self {
        Self { code, message, validator }
    }
}

impl From<v1::Rejected> for Rejection {
    fn from(v1::Rejected { code, message, validator }: v1::Rejected) -> Self {
        Self { code, message, validator }
    }
}

impl From<Trap> for v1::Trapped {
    fn from(Trap { kind, message, validator }: Trap) -> Self {
        Self { code: kind.code().to_owned(), message, validator }
    }
}

impl TryFrom<v1::Trapped> for Trap {
    type Error = Malformed;

    fn try_from(trapped: v1::Trapped) -> Result<Self, Malformed> {
        let v1::Trapped { code, message, validator } = trapped;
        let kind = trap_kind(&code).ok_or_else(|| {
            Malformed::new("trapped.code", format!("is {code:?}, which is no kind of trap"))
        })?;
        Ok(Self { kind, message, validator })
    }
}

/// The kind whose [`TrapKind::code`] is `code`.
fn trap_kind(code: &str) -> Option<TrapKind> {
    use TrapKind::{Misuse, OutOfFuel, OutOfMemory, Quota, TooDeep, Wasm};
    [OutOfFuel, TooDeep, OutOfMemory, Quota, Misuse, Wasm].into_iter().find(|kind| kind.code() == code)
}
