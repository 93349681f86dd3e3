//! [`Operation`] on the wire: the request that carries it.

use crate::{Malformed, actor, v1};
use althing_core::{
    batch::Operation,
    ids::{OperationNumber, SessionId},
};

/// The request that submits `operation` to `community`.
#[must_use]
pub fn request(community: &str, operation: Operation) -> v1::SubmitRequest {
    v1::SubmitRequest {
        community: community.to_owned(),
        session: operation.session.0,
        number: operation.number.0,
        acknowledged: operation.acknowledged.0,
        after: operation.after.0,
        actor: Some(operation.actor.into()),
        payload: operation.payload,
    }
}

/// What a request submits, and to which community, by name or id.
///
/// # Errors
/// A field is out of its bounds. The payload's size is the community's matter and not looked at.
pub fn parse(request: v1::SubmitRequest) -> Result<(String, Operation), Malformed> {
    let v1::SubmitRequest { community, session, number, acknowledged, after, actor, payload } = request;
    if number == 0 {
        return Err(Malformed::new("number", "is 0: operations are numbered from 1"));
    }
    if after >= number {
        return Err(Malformed::new("after", format!("is {after}, it must be below the number {number}")));
    }
    if acknowledged >= number {
        let why = format!("is {acknowledged}, it must be below the number {number}");
        return Err(Malformed::new("acknowledged", why));
    }
    let operation = Operation {
        session: SessionId(session),
        number: OperationNumber(number),
        acknowledged: OperationNumber(acknowledged),
        after: OperationNumber(after),
        actor: actor::client(actor)?,
        payload,
    };
    Ok((community, operation))
}
