//! Client sessions in the state: an operation is (session, number), executed once and answered for
//! ever, until the client acknowledges the answer (promise P6).
//!
//! A session's id is the sequence at which it was opened, so ids are never used again and an id that
//! is not found has expired or never was. Three kinds of records: the session; its kept answers by
//! number; and a mark by (time, session) that says when to look whether it has expired. The mark is
//! not moved at each use: it is moved when its time comes and the session was used since, so an
//! operation writes two records and no more.

use crate::{
    batch::Operation,
    ids::{Hash, OperationNumber, Sequence, SessionId},
    limits,
    records::{self, BadState},
    state::{Keyspace, State},
    time::Timestamp,
    transition::{NotExecuted, Receipt},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Followed by the session; holds a [`Session`].
const SESSION: &[u8] = b"session/id/";
/// Followed by the session and the number; holds an [`Answer`].
const ANSWER: &[u8] = b"session/answer/";
/// Followed by the time and the session; holds nothing.
const LOOK_AT: &[u8] = b"session/look/";

const DOMAIN_REQUEST: &str = "althing 2026 request v1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// The only actor who may use it.
    actor: String,
    /// Up to here answers are forgotten.
    acknowledged: OperationNumber,
    /// Answers kept, all of higher numbers.
    answers: u64,
    /// The effective time of the last operation executed in it, or of its opening.
    last_used: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    /// What was asked, and by whom: another request under the same number is refused.
    request: Hash,
    receipt: Receipt,
}

/// What the sessions say of an operation.
pub(crate) enum Standing {
    /// It is to be executed.
    New(Admitted),
    /// It was executed: the first answer.
    Answered(Receipt),
    /// It is not executed.
    Refused(NotExecuted),
}

/// An operation that its session admits, with what [`answer`] needs to know.
pub(crate) struct Admitted {
    session: Session,
    request: Hash,
    /// Kept answers that the operation acknowledges.
    forgotten: Vec<OperationNumber>,
}

/// What bounds sessions at this moment.
pub(crate) struct Bounds {
    /// The effective time.
    pub(crate) now: Timestamp,
    /// A session unused for so long has expired.
    pub(crate) ttl_millis: u64,
    /// Most answers kept.
    pub(crate) window: u64,
}

impl Session {
    fn read(state: &State, id: SessionId) -> Result<Option<Self>, BadState> {
        records::get(state, "session/id", &session_key(id))
    }

    fn has_expired(&self, bounds: &Bounds) -> bool {
        self.last_used.plus_millis(bounds.ttl_millis) <= bounds.now
    }
}

/// How many sessions are open in a state that may be anybody's, the last transition of which is `last`.
///
/// # Errors
/// When records of a session cannot be read or do not go together: it would not be answered rightly, or
/// never expire.
pub(crate) fn count(state: &State, last: Sequence) -> Result<u64, BadState> {
    const AT_ODDS: BadState = BadState::AtOdds { of: "session" };
    // Of each session, how many answers are kept, and how many marks say when to look at it.
    let mut found: BTreeMap<SessionId, (Session, u64, u64)> = BTreeMap::new();
    for rest in records::with_prefix(state, SESSION) {
        let [id] = records::numbers("session/id", &rest)?;
        let session = Session::read(state, SessionId(id))?.filter(|_| id <= last.0).ok_or(AT_ODDS)?;
        found.insert(SessionId(id), (session, 0, 0));
    }
    for rest in records::with_prefix(state, ANSWER) {
        let [id, number] = records::numbers("session/answer", &rest)?;
        let (session, answers, _) = found.get_mut(&SessionId(id)).ok_or(AT_ODDS)?;
        let number = OperationNumber(number);
        if read_answer(state, SessionId(id), number)?.is_none() || number <= session.acknowledged {
            return Err(AT_ODDS);
        }
        *answers += 1;
    }
    for rest in records::with_prefix(state, LOOK_AT) {
        let [at, id] = records::numbers("session/look", &rest)?;
        let (session, _, marks) = found.get_mut(&SessionId(id)).ok_or(AT_ODDS)?;
        if Timestamp::from_bits(at) > session.last_used {
            return Err(AT_ODDS);
        }
        *marks += 1;
    }
    let fits = |(session, answers, marks): &(Session, u64, u64)| session.answers == *answers && *marks == 1;
    if found.values().all(fits) { Ok(found.len() as u64) } else { Err(AT_ODDS) }
}

/// Opens a session.
pub(crate) fn open(state: &mut State, id: SessionId, actor: &str, now: Timestamp) {
    let acknowledged = OperationNumber(0);
    let session = Session { actor: actor.to_owned(), acknowledged, answers: 0, last_used: now };
    records::put(state, &session_key(id), &session);
    records::put_mark(state, &look_key(now, id));
}

/// Whether an operation is to be executed, changing nothing.
pub(crate) fn standing(state: &State, operation: &Operation, bounds: &Bounds) -> Result<Standing, BadState> {
    let (id, number) = (operation.session, operation.number);
    let refused = |why| Ok(Standing::Refused(why));
    let session = match Session::read(state, id)? {
        Some(session) if session.actor == operation.actor.id && !session.has_expired(bounds) => session,
        _ => return refused(NotExecuted::NoSession { session: id }),
    };
    if number <= session.acknowledged {
        return refused(NotExecuted::Acknowledged { number });
    }
    let request = request_hash(operation);
    if let Some(answer) = read_answer(state, id, number)? {
        return Ok(if answer.request == request {
            Standing::Answered(answer.receipt)
        } else {
            Standing::Refused(NotExecuted::Mismatch { number })
        });
    }
    let after = operation.after;
    if after > session.acknowledged && !is_answered(state, id, after) {
        return refused(NotExecuted::OutOfOrder { after });
    }
    let forgotten = acknowledged_answers(state, operation, &session)?;
    let answers = session.answers - forgotten.len() as u64;
    if answers >= bounds.window {
        return refused(NotExecuted::WindowFull { answers });
    }
    Ok(Standing::New(Admitted { session, request, forgotten }))
}

/// Keeps the answer of an operation that was executed, and forgets those that it acknowledges.
pub(crate) fn answer(state: &mut State, operation: &Operation, admitted: Admitted, receipt: &Receipt) {
    let Admitted { mut session, request, forgotten } = admitted;
    let id = operation.session;
    for number in &forgotten {
        records::remove(state, &answer_key(id, *number));
    }
    session.acknowledged = session.acknowledged.max(acknowledged_by(operation));
    session.answers = session.answers + 1 - forgotten.len() as u64;
    session.last_used = receipt.time;
    records::put(state, &session_key(id), &session);
    let answer = Answer { request, receipt: receipt.clone() };
    records::put(state, &answer_key(id, operation.number), &answer);
}

/// Takes away the sessions that have expired, oldest first, at most
/// [`limits::EXPIRED_RECORDS_PER_BATCH_MAX`] records (the last session whole); how many.
pub(crate) fn expire(state: &mut State, bounds: &Bounds) -> Result<u64, BadState> {
    let mut records_left = limits::EXPIRED_RECORDS_PER_BATCH_MAX;
    let mut expired = 0;
    for (at, id) in marks_due(state, bounds)? {
        if records_left == 0 {
            break;
        }
        let session = Session::read(state, id)?.ok_or(BadState::Missing { record: "session/id" })?;
        records_left = records_left.saturating_sub(1);
        records::remove(state, &look_key(at, id));
        if session.has_expired(bounds) {
            records_left = records_left.saturating_sub(session.answers);
            remove(state, id)?;
            expired += 1;
        } else {
            records::put_mark(state, &look_key(session.last_used, id));
        }
    }
    Ok(expired)
}

/// The marks whose time has come, oldest first. A mark is never later than its session's last use,
/// so no session that has expired is missed.
fn marks_due(state: &State, bounds: &Bounds) -> Result<Vec<(Timestamp, SessionId)>, BadState> {
    let mut due = Vec::new();
    for rest in records::with_prefix(state, LOOK_AT).take(limits::EXPIRED_RECORDS_PER_BATCH_MAX as usize) {
        let at = Timestamp::from_bits(records::number("session/look", &rest)?);
        if at.plus_millis(bounds.ttl_millis) > bounds.now {
            break;
        }
        due.push((at, SessionId(records::number("session/look", rest.get(8..).unwrap_or_default())?)));
    }
    Ok(due)
}

/// Takes a session and its answers away.
fn remove(state: &mut State, id: SessionId) -> Result<(), BadState> {
    for number in answered(state, id, OperationNumber(0), OperationNumber(u64::MAX))? {
        records::remove(state, &answer_key(id, number));
    }
    records::remove(state, &session_key(id));
    Ok(())
}

/// Up to which number the operation acknowledges. Never up to its own: that has no answer yet.
fn acknowledged_by(operation: &Operation) -> OperationNumber {
    operation.acknowledged.min(OperationNumber(operation.number.0.saturating_sub(1)))
}

/// The kept answers that the operation acknowledges.
fn acknowledged_answers(
    state: &State,
    operation: &Operation,
    session: &Session,
) -> Result<Vec<OperationNumber>, BadState> {
    let upto = acknowledged_by(operation);
    if upto <= session.acknowledged || session.answers == 0 {
        return Ok(Vec::new());
    }
    answered(state, operation.session, session.acknowledged, upto)
}

/// The numbers above `above`, up to `upto`, whose answers are kept. The range's own bounds are as
/// long as the part of the key that is cut off.
fn answered(
    state: &State,
    id: SessionId,
    above: OperationNumber,
    upto: OperationNumber,
) -> Result<Vec<OperationNumber>, BadState> {
    let start = answer_key(id, above.next());
    let mut end = answer_key(id, upto);
    end.push(0);
    state
        .range(Keyspace::System, &start, Some(&end))
        .map(|(key, _)| key.slice(ANSWER.len() + 8..))
        .map(|rest| records::number("session/answer", &rest).map(OperationNumber))
        .collect()
}

fn read_answer(state: &State, id: SessionId, number: OperationNumber) -> Result<Option<Answer>, BadState> {
    records::get(state, "session/answer", &answer_key(id, number))
}

fn is_answered(state: &State, id: SessionId, number: OperationNumber) -> bool {
    state.get(Keyspace::System, &answer_key(id, number)).is_some()
}

/// Stands for who asks what. The payload comes last, so the length of the actor's id says all.
fn request_hash(operation: &Operation) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN_REQUEST);
    hasher.update(&(operation.actor.id.len() as u64).to_be_bytes());
    hasher.update(operation.actor.id.as_bytes());
    hasher.update(&operation.payload);
    Hash(*hasher.finalize().as_bytes())
}

fn session_key(id: SessionId) -> Vec<u8> {
    [SESSION, &id.0.to_be_bytes()].concat()
}

fn answer_key(id: SessionId, number: OperationNumber) -> Vec<u8> {
    [ANSWER, &id.0.to_be_bytes(), &number.0.to_be_bytes()].concat()
}

fn look_key(at: Timestamp, id: SessionId) -> Vec<u8> {
    [LOOK_AT, &at.bits().to_be_bytes(), &id.0.to_be_bytes()].concat()
}
