//! What goes onto the wire comes back the same; what is wrong is refused by the name of its field.

use althing_core::{
    actor::Actor,
    batch::Operation,
    ids::{CommunityId, Hash, OperationNumber, Sequence, SessionId},
    origin::Origin,
    overlay::TimerSet,
    time::Timestamp,
    transition::{Cause, Event, Outcome, Receipt, Rejection, TimerChange, Transition, Trap, TrapKind, Write},
};
use althing_proto::{Consistency, Malformed, operation, v1};
use bytes::Bytes;

fn actor() -> Actor {
    Actor { id: "ada".into(), roles: vec!["clerk".into(), "judge".into()] }
}

fn outcomes() -> Vec<Outcome> {
    let trap = |kind| Outcome::Trapped(Trap { kind, message: "why".into(), validator: Some(1) });
    vec![
        Outcome::Accepted { result: Bytes::from_static(b"7") },
        Outcome::Rejected(Rejection { code: "closed".into(), message: "no".into(), validator: None }),
        Outcome::Rejected(Rejection { code: "limit".into(), message: "no".into(), validator: Some(0) }),
        trap(TrapKind::OutOfFuel),
        trap(TrapKind::TooDeep),
        trap(TrapKind::OutOfMemory),
        trap(TrapKind::Quota),
        trap(TrapKind::Misuse),
        trap(TrapKind::Wasm),
    ]
}

fn origin() -> Origin {
    Origin {
        cluster: "0f".into(),
        community: CommunityId(3),
        name: "guild".into(),
        sequence: Sequence(11),
        digest: Hash([6; 32]),
        seal: Hash([8; 32]),
    }
}

fn causes() -> Vec<Cause> {
    vec![
        Cause::Operation {
            session: SessionId(3),
            number: OperationNumber(4),
            actor: actor(),
            payload: Bytes::from_static(b"{}"),
        },
        Cause::Timer { id: Bytes::from_static(b"id"), payload: Bytes::from_static(b"p") },
        Cause::OpenSession { actor: actor() },
        Cause::Activate { actor: Actor::default(), program: Hash([9; 32]) },
        Cause::SetPolicy,
        Cause::Import(origin()),
    ]
}

fn transition(cause: Cause, outcome: Outcome) -> Transition {
    Transition {
        sequence: Sequence(12),
        time: Timestamp::new((1 << 48) - 1, u16::MAX),
        cause,
        outcome,
        writes: vec![
            Write { key: Bytes::from_static(b"a"), value: None },
            Write { key: Bytes::from_static(b"b"), value: Some(Bytes::new()) },
        ],
        events: vec![Event { name: "moved".into(), data: Bytes::from_static(b"1") }],
        timers: vec![
            TimerChange { id: Bytes::from_static(b"t"), set: None },
            TimerChange {
                id: Bytes::from_static(b"u"),
                set: Some(TimerSet { at: Timestamp::new(5, 6), payload: Bytes::from_static(b"x") }),
            },
        ],
        fuel: u64::MAX,
        digest: Hash([5; 32]),
    }
}

#[test]
fn transitions_come_back_the_same() {
    for cause in causes() {
        for outcome in outcomes() {
            let sent = transition(cause.clone(), outcome);
            let received = Transition::try_from(v1::Transition::from(sent.clone()));
            assert_eq!(received, Ok(sent));
        }
    }
}

#[test]
fn receipts_come_back_the_same() {
    for outcome in outcomes() {
        let sent = Receipt {
            sequence: Sequence(1),
            time: Timestamp::new(2, 3),
            outcome,
            fuel: 4,
            digest: Hash([6; 32]),
        };
        assert_eq!(Receipt::try_from(v1::Receipt::from(sent.clone())), Ok(sent));
    }
}

#[test]
fn operations_come_back_the_same() {
    let sent = Operation {
        session: SessionId(1),
        number: OperationNumber(9),
        acknowledged: OperationNumber(7),
        after: OperationNumber(8),
        actor: actor(),
        payload: Bytes::from_static(b"{\"add\":1}"),
    };
    let received = operation::parse(operation::request("roster", sent.clone()));
    assert_eq!(received, Ok(("roster".to_owned(), sent)));
}

#[test]
fn consistencies_come_back_the_same_and_nothing_means_linearizable() {
    for sent in [Consistency::Linearizable, Consistency::AtLeast(Sequence(0)), Consistency::Local] {
        assert_eq!(Consistency::try_from(Some(v1::Consistency::from(sent))), Ok(sent));
    }
    assert_eq!(Consistency::try_from(None), Ok(Consistency::Linearizable));
}

#[test]
fn an_origin_is_refused_for_what_is_wrong_with_it() {
    let refused = |change: fn(&mut v1::Origin)| {
        let mut wire = v1::Origin::from(origin());
        change(&mut wire);
        Origin::try_from(wire).map_err(|Malformed { field, .. }| field)
    };
    assert_eq!(refused(|_| ()), Ok(origin()));
    assert_eq!(refused(|wire| wire.seal = Bytes::from_static(&[1; 31])), Err("origin.seal"));
    assert_eq!(refused(|wire| wire.digest = Bytes::new()), Err("origin.digest"));
    assert_eq!(refused(|wire| wire.name = "n".repeat(65)), Err("origin"));
}

#[test]
fn a_malformed_field_is_named() {
    let whole = v1::Transition::from(transition(Cause::SetPolicy, outcomes().remove(0)));
    let field = |change: fn(&mut v1::Transition)| {
        let mut wrong = whole.clone();
        change(&mut wrong);
        Transition::try_from(wrong).map_err(|Malformed { field, .. }| field).err()
    };
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|t| t.time = None), Some("transition.time"));
    assert_eq!(field(|t| t.cause = None), Some("transition.cause"));
    assert_eq!(field(|t| t.outcome = Some(v1::Outcome { kind: None })), Some("outcome.kind"));
    assert_eq!(field(|t| t.digest = Bytes::from_static(&[1; 31])), Some("transition.digest"));
    assert_eq!(field(|t| t.time = Some(v1::Timestamp { millis: 1 << 48, counter: 0 })), Some("time.millis"));
    assert_eq!(field(|t| t.time = Some(v1::Timestamp { millis: 0, counter: 65536 })), Some("time.counter"));
}

#[test]
fn an_actor_is_refused_for_what_is_wrong_with_it() {
    let refused = |id: &str, roles: &[&str]| {
        let roles = roles.iter().map(|&role| role.to_owned()).collect();
        let wire = v1::Actor { id: id.to_owned(), roles };
        althing_proto::actor::client(Some(wire)).map_err(|Malformed { field, .. }| field)
    };
    assert_eq!(refused("ada", &["judge", "clerk"]), Ok(actor()));
    assert_eq!(refused("", &[]), Err("actor.id"));
    assert_eq!(refused(&"a".repeat(257), &[]), Err("actor.id"));
    assert_eq!(refused("ada", &["x", "y", "x"]), Err("actor.roles"));
    assert_eq!(refused("ada", &[""]), Err("actor.roles"));
    assert_eq!(refused("ada", &["x"; 33]), Err("actor.roles"));
    assert_eq!(althing_proto::actor::client(None), Err(Malformed::new("actor", "is missing")));
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let parse = |number, acknowledged, after| {
        let wire = v1::SubmitRequest {
            community: "c".into(),
            session: 1,
            number,
            acknowledged,
            after,
            actor: Some(actor().into()),
            payload: Bytes::new(),
        };
        operation::parse(wire).map_err(|Malformed { field, .. }| field).err()
    };
    assert_eq!(parse(1, 0, 0), None);
    assert_eq!(parse(0, 0, 0), Some("number"));
    assert_eq!(parse(5, 5, 0), Some("acknowledged"));
    assert_eq!(parse(5, 0, 5), Some("after"));
}
