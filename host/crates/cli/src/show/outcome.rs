//! What a program said: accepted, rejected, trapped. And receipts, which carry it.

use crate::show::blob::Blob;
use althing_client::{Answer, Queried};
use althing_core::{
    ids::OperationNumber,
    refusal::Refusal,
    transition::{Outcome, Receipt, Rejection, Trap},
};
use serde::Serialize;
use std::fmt;

/// What a program said.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Said {
    Accepted { result: Blob },
    Rejected(No),
    Trapped(No),
}

/// A rejection or a trap.
#[derive(Debug, Serialize)]
pub(crate) struct No {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    validator: Option<u32>,
}

impl Said {
    /// What a rejection or trap says in one line; none if accepted.
    pub(crate) fn no(&self) -> Option<String> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected(_) | Self::Trapped(_) => Some(self.to_string()),
        }
    }
}

impl From<Outcome> for Said {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted { result } => Self::Accepted { result: Blob(result) },
            Outcome::Rejected(rejection) => Self::Rejected(rejection.into()),
            Outcome::Trapped(trap) => Self::Trapped(trap.into()),
        }
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Answered(answer) => Self::Accepted { result: Blob(answer) },
            Answer::Rejected(rejection) => Self::Rejected(rejection.into()),
            Answer::Trapped(trap) => Self::Trapped(trap.into()),
        }
    }
}

impl From<Rejection> for No {
    fn from(Rejection { code, message, validator }: Rejection) -> Self {
        Self { code, message, validator }
    }
}

impl From<Trap> for No {
    fn from(Trap { kind, message, validator }: Trap) -> Self {
        Self { code: kind.code().to_owned(), message, validator }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { result } if result.0.is_empty() => f.write_str("accepted"),
            Self::Accepted { result } => write!(f, "accepted  {result}"),
            Self::Rejected(no) => write!(f, "rejected  {no}"),
            Self::Trapped(no) => write!(f, "trapped   {no}"),
        }
    }
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(validator) = self.validator {
            write!(f, "validator {validator}: ")?;
        }
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The answer to an operation.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    sequence: u64,
    time_millis: u64,
    #[serde(flatten)]
    pub(crate) said: Said,
    fuel: u64,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
}

impl ReceiptShown {
    /// Of an operation.
    pub(crate) fn of_operation(number: OperationNumber, receipt: Receipt, repeated: bool) -> Self {
        Self { number: Some(number.0), repeated: Some(repeated), ..Self::from(receipt) }
    }
}

impl From<Receipt> for ReceiptShown {
    fn from(receipt: Receipt) -> Self {
        Self {
            number: None,
            sequence: receipt.sequence.0,
            time_millis: receipt.time.millis(),
            said: receipt.outcome.into(),
            fuel: receipt.fuel,
            digest: receipt.digest.to_string(),
            repeated: None,
        }
    }
}

impl fmt::Display for ReceiptShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}  {}", self.sequence, self.said)
    }
}

/// An operation that was refused, and not executed.
#[derive(Debug, Serialize)]
pub(crate) struct RefusedShown {
    number: u64,
    outcome: &'static str,
    code: &'static str,
    message: String,
}

impl RefusedShown {
    pub(crate) fn new(number: OperationNumber, refusal: &Refusal) -> Self {
        let code = refusal.code.text();
        Self { number: number.0, outcome: "refused", code, message: refusal.message.clone() }
    }
}

impl fmt::Display for RefusedShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--  refused   {}: {}", self.code, self.message)
    }
}

/// The answer to a question.
#[derive(Debug, Serialize)]
pub(crate) struct QueriedShown {
    #[serde(flatten)]
    pub(crate) said: Said,
    sequence: u64,
    time_millis: u64,
    digest: String,
    fuel: u64,
}

impl From<Queried> for QueriedShown {
    fn from(queried: Queried) -> Self {
        Self {
            said: queried.answer.into(),
            sequence: queried.sequence.0,
            time_millis: queried.time.millis(),
            digest: queried.digest.to_string(),
            fuel: queried.fuel,
        }
    }
}

impl fmt::Display for QueriedShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Said::Accepted { result } => result.fmt(f),
            no => no.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{QueriedShown, ReceiptShown, RefusedShown};
    use althing_client::{Answer, Queried};
    use althing_core::{
        ids::{Hash, OperationNumber, Sequence},
        refusal::{Code, Refusal},
        time::Timestamp,
        transition::{Outcome, Receipt, Rejection, Trap, TrapKind},
    };
    use bytes::Bytes;
    use serde_json::json;

    fn receipt(outcome: Outcome) -> ReceiptShown {
        let (sequence, time, digest) = (Sequence(12), Timestamp::new(99, 1), Hash([0xab; 32]));
        let receipt = Receipt { sequence, time, outcome, fuel: 7, digest };
        ReceiptShown::of_operation(OperationNumber(3), receipt, false)
    }

    #[test]
    fn a_receipt_shows_its_outcome_beside_its_place() {
        let shown = receipt(Outcome::Accepted { result: Bytes::from_static(br#"{"value":7}"#) });
        assert_eq!(shown.to_string(), r##"#12  accepted  {"value":7}"##);
        let wanted = json!({
            "number": 3, "sequence": 12, "time_millis": 99, "outcome": "accepted",
            "result": {"value": 7}, "fuel": 7, "digest": "ab".repeat(32), "repeated": false,
        });
        // Through a text: raw JSON in a result is written, not a value of its own.
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), wanted);
    }

    #[test]
    fn a_rejection_and_a_trap_show_who_said_no() {
        let rejection = Rejection { code: "closed".into(), message: "no".into(), validator: None };
        assert_eq!(receipt(Outcome::Rejected(rejection)).to_string(), "#12  rejected  closed: no");
        let trap = Trap { kind: TrapKind::OutOfFuel, message: "m".into(), validator: Some(1) };
        let shown = receipt(Outcome::Trapped(trap));
        assert_eq!(shown.to_string(), "#12  trapped   validator 1: out-of-fuel: m");
        let value = serde_json::to_value(&shown).unwrap();
        assert_eq!(
            (&value["outcome"], &value["code"], &value["validator"]),
            (&json!("trapped"), &json!("out-of-fuel"), &json!(1))
        );
    }

    #[test]
    fn a_refused_operation_has_the_shape_of_a_receipt_without_a_place() {
        let refusal = Refusal::new(Code::TooLarge, "too large");
        let shown = serde_json::to_value(RefusedShown::new(OperationNumber(5), &refusal)).unwrap();
        let wanted = json!({"number": 5, "outcome": "refused", "code": "too-large", "message": "too large"});
        assert_eq!(shown, wanted);
    }

    #[test]
    fn an_answer_is_shown_bare_as_text_and_with_its_place_in_json() {
        let answer = Answer::Answered(Bytes::from_static(b"41"));
        let (sequence, time, digest) = (Sequence(2), Timestamp::new(1, 0), Hash([1; 32]));
        let shown = QueriedShown::from(Queried { answer, sequence, time, digest, fuel: 0 });
        assert_eq!(shown.to_string(), "41");
        let text = serde_json::to_string(&shown).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["result"], &value["sequence"]), (&json!(41), &json!(2)));
    }
}
