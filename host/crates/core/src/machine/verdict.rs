//! One call of a program: the reducer, then, if it accepts an operation or a timer, every validator.
//!
//! Whatever a guest says becomes an outcome here; what an implementation may not say becomes a fault.

use crate::{
    limits,
    overlay::{Overlay, Written},
    program::{Call, Change, Context, End, Fault, Program, Run},
    transition::{Outcome, Rejection, Trap, TrapKind},
};
use bytes::Bytes;

/// What came of a call.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Used by all who were asked.
    pub(super) fuel: u64,
    /// Empty unless accepted.
    pub(super) written: Written,
}

impl Verdict {
    /// Accepted without asking anyone.
    pub(super) fn accepted(result: Bytes) -> Self {
        Self { outcome: Outcome::Accepted { result }, fuel: 0, written: Written::default() }
    }

    /// Whether it was accepted.
    pub(super) const fn is_accepted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted { .. })
    }

    fn refused(outcome: Outcome, fuel: u64) -> Self {
        Self { outcome, fuel, written: Written::default() }
    }
}

/// What a reducer has accepted, on its way past the validators.
struct Proposal {
    overlay: Overlay,
    result: Bytes,
    fuel: u64,
}

impl Proposal {
    fn conclude(self) -> Verdict {
        let Self { overlay, result, fuel } = self;
        Verdict { outcome: Outcome::Accepted { result }, fuel, written: overlay.into_written() }
    }
}

/// Asks the reducer and then the validators, who share `allowance`; the first who does not accept
/// decides. Nothing is folded yet.
pub(super) fn ask(
    program: &mut dyn Program,
    context: &Context,
    call: Call,
    overlay: Overlay,
    allowance: u64,
) -> Result<Verdict, Fault> {
    let judged = judged_payload(&call);
    let result_bytes_max = overlay.quotas().result_bytes;
    let Run { overlay, fuel, end } = run(program, context, call, overlay, allowance)?;
    let result = match settle(end, None, result_bytes_max) {
        Ok(result) => result,
        Err(outcome) => return Ok(Verdict::refused(outcome, fuel)),
    };
    let proposal = Proposal { overlay, result, fuel };
    match judged {
        Some(payload) if program.validators() > 0 => {
            ask_validators(program, context, &payload, proposal, allowance)
        }
        _ => Ok(proposal.conclude()),
    }
}

/// What validators are shown; none for calls that they are not asked about: installing a program is
/// not the program's own to judge.
fn judged_payload(call: &Call) -> Option<Bytes> {
    match call {
        Call::Reduce { payload } | Call::Timer { payload, .. } => Some(payload.clone()),
        Call::Init { .. } | Call::Migrate { .. } | Call::Validate { .. } => None,
    }
}

fn ask_validators(
    program: &mut dyn Program,
    context: &Context,
    payload: &Bytes,
    mut proposal: Proposal,
    allowance: u64,
) -> Result<Verdict, Fault> {
    let change = Change {
        result: proposal.result.clone(),
        writes: proposal.overlay.writes().collect(),
        events: proposal.overlay.events().to_vec(),
    };
    for validator in 0..program.validators() {
        let call = Call::Validate { validator, payload: payload.clone(), change: change.clone() };
        let left = allowance - proposal.fuel;
        let Run { overlay, fuel, end } = run(program, context, call, proposal.overlay.read_only(), left)?;
        proposal.overlay = overlay;
        proposal.fuel += fuel;
        if let Err(outcome) = settle(end, Some(validator), u32::MAX) {
            return Ok(Verdict::refused(outcome, proposal.fuel));
        }
    }
    Ok(proposal.conclude())
}

/// Runs one call and holds the implementation to its allowance.
fn run(
    program: &mut dyn Program,
    context: &Context,
    call: Call,
    overlay: Overlay,
    allowance: u64,
) -> Result<Run, Fault> {
    let run = program.run(context, call, overlay, allowance)?;
    if run.fuel > allowance {
        let used = run.fuel;
        return Err(Fault::new(format!(
            "a call used {used} fuel of {allowance}: this is a bug of the engine"
        )));
    }
    Ok(run)
}

/// The result of a call that accepted, or the outcome of one that did not. `validator` says who
/// spoke.
fn settle(end: End, validator: Option<u32>, result_bytes_max: u32) -> Result<Bytes, Outcome> {
    let trapped = |kind, message| Err(Outcome::Trapped(Trap { kind, message, validator }));
    match end {
        End::Accept(result) if result.len() as u64 > result_bytes_max.into() => {
            let message = format!("quota result_bytes: {} asked, {result_bytes_max} allowed", result.len());
            trapped(TrapKind::Quota, message)
        }
        End::Accept(result) => Ok(result),
        End::Reject(Rejection { code, message, .. }) => match misworded(&code, &message) {
            None => Err(Outcome::Rejected(Rejection { code, message, validator })),
            Some(misuse) => trapped(TrapKind::Misuse, misuse),
        },
        End::Trap(Trap { kind, mut message, .. }) => {
            message.truncate(message.floor_char_boundary(limits::TRAP_MESSAGE_BYTES_MAX));
            trapped(kind, message)
        }
    }
}

/// What is wrong with a rejection's texts, if anything.
fn misworded(code: &str, message: &str) -> Option<String> {
    if code.is_empty() || code.len() > limits::REJECTION_CODE_BYTES_MAX {
        let max = limits::REJECTION_CODE_BYTES_MAX;
        return Some(format!("a rejection's code has {} bytes, it must have 1 to {max}", code.len()));
    }
    if message.len() > limits::REJECTION_MESSAGE_BYTES_MAX {
        let max = limits::REJECTION_MESSAGE_BYTES_MAX;
        return Some(format!(
            "a rejection's message has {} bytes, it must have at most {max}",
            message.len()
        ));
    }
    None
}
