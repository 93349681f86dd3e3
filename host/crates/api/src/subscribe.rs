//! Following a community's transitions.
//!
//! A subscriber is a cursor in the node: what it does not read costs nothing, and it is never cut for
//! being slow, only told when what it asks for is no longer held.

use crate::{closing, door::Door, fields, pages, refused::refused};
use althing_core::{ids::Sequence, refusal::Refusal, transition::Transition};
use althing_proto::v1;
use futures::{
    StreamExt as _, poll,
    stream::{self, BoxStream},
};
use std::task::Poll;
use tonic::Status;

/// The transitions that a request asks for.
///
/// # Errors
/// There is no such community, what is asked for is not held, or as many streams are open as may be.
pub(crate) async fn open(
    door: &Door,
    request: v1::SubscribeRequest,
) -> Result<BoxStream<'static, Result<v1::SubscribeResponse, Status>>, Refusal> {
    let place = door.stream()?;
    let community = fields::community(request.community)?;
    let mut transitions = door.node.subscribe(&community, Sequence(request.from)).await?;
    // "From now on" means from before the client hears that it is subscribed, so begin now.
    let first = match poll!(transitions.next()) {
        Poll::Ready(Some(Err(refusal))) => return Err(refusal),
        Poll::Ready(first) => stream::iter(first).chain(transitions).boxed(),
        Poll::Pending => transitions,
    };
    let messages = first.flat_map(|page| {
        let messages = match page {
            Ok(transitions) => pages::split(told(transitions)).into_iter().map(Ok).collect(),
            Err(refusal) => vec![Err(refused(refusal))],
        };
        stream::iter(messages)
    });
    let messages = messages.map(move |message| {
        let _kept_while_the_stream_lives = &place;
        message.map(|transitions| v1::SubscribeResponse { transitions })
    });
    Ok(closing::until(door.closing(), messages.boxed()))
}

/// The end of an operation's way: what the log says of it.
fn told(transitions: Vec<Transition>) -> Vec<Transition> {
    if tracing::enabled!(tracing::Level::DEBUG) {
        for transition in &transitions {
            let operation = transition.operation().map(tracing::field::display);
            tracing::debug!(operation, sequence = %transition.sequence, "told");
        }
    }
    transitions
}
