//! Operations without waiting in between.
//!
//! A request that cannot be carried out is answered (`failed`) and the stream goes on. Requests of one
//! chunk that name the same community travel together, in their order; different communities do not
//! wait for each other, and still the answers come in the order of the requests.

use crate::{
    closing,
    communities::{read_operation, submitted},
    door::Door,
    pipeline::{self, Work},
    refused::bounded,
    undecodable,
};
use althing_core::{batch::Operation, refusal::Refusal};
use althing_node::Submitted;
use althing_proto::v1;
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join_all},
    stream::BoxStream,
};
use std::{collections::BTreeMap, sync::Arc};
use tonic::{Request, Status, Streaming, metadata::MetadataMap};
use v1::submit_stream_response::Answer;

/// What a request takes beside its payload, about.
const REQUEST_OVERHEAD_BYTES: usize = 256;

/// What was said to operations that came one after the other.
type Outcomes = Vec<Result<Submitted, Refusal>>;

/// The answers to a stream of requests.
///
/// # Errors
/// As many streams are open as may be.
pub(crate) fn open(
    door: &Arc<Door>,
    request: Request<Streaming<v1::SubmitRequest>>,
) -> Result<BoxStream<'static, Result<v1::SubmitStreamResponse, Status>>, Refusal> {
    let place = door.stream()?;
    let (metadata, _, requests) = request.into_parts();
    let requests = requests.map(|request| request.map_err(undecodable::said)).boxed();
    let requests = closing::until(door.closing(), requests);
    let work = Submitting { door: door.clone(), metadata: Arc::new(metadata) };
    let answers = pipeline::run(requests, work);
    let answers = answers.map(move |answer| {
        let _kept_while_the_stream_lives = &place;
        answer
    });
    Ok(answers.boxed())
}

#[derive(Clone)]
struct Submitting {
    door: Arc<Door>,
    /// What the stream was opened with.
    metadata: Arc<MetadataMap>,
}

impl Work<v1::SubmitRequest, v1::SubmitStreamResponse> for Submitting {
    fn bytes(&self, request: &v1::SubmitRequest) -> usize {
        request.payload.len() + REQUEST_OVERHEAD_BYTES
    }

    fn execute(&self, requests: Vec<v1::SubmitRequest>) -> BoxFuture<'static, Vec<v1::SubmitStreamResponse>> {
        let submitting = self.clone();
        async move {
            let numbers: Vec<u64> = requests.iter().map(|request| request.number).collect();
            let outcomes = submitting.outcomes(requests).await;
            numbers.into_iter().zip(outcomes).map(|(number, outcome)| told(number, outcome)).collect()
        }
        .boxed()
    }
}

impl Submitting {
    async fn outcomes(&self, requests: Vec<v1::SubmitRequest>) -> Outcomes {
        let mut outcomes = BTreeMap::new();
        let mut groups: BTreeMap<String, Vec<(usize, Operation)>> = BTreeMap::new();
        for (place, request) in requests.into_iter().enumerate() {
            match read_operation(&self.door, &self.metadata, request) {
                Ok((community, operation)) => groups.entry(community).or_default().push((place, operation)),
                Err(refusal) => drop(outcomes.insert(place, Err(refusal))),
            }
        }
        let submits = groups.into_iter().map(|(community, group)| self.submit(community, group));
        outcomes.extend(join_all(submits).await.into_iter().flatten());
        outcomes.into_values().collect()
    }

    /// Submits to one community; each outcome with its operation's place.
    async fn submit(
        &self,
        community: String,
        group: Vec<(usize, Operation)>,
    ) -> impl Iterator<Item = (usize, Result<Submitted, Refusal>)> + use<> {
        let (places, operations): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let outcomes = self.door.node.submit(&community, operations).await;
        let outcomes = outcomes.unwrap_or_else(|refusal| vec![Err(refusal); places.len()]);
        places.into_iter().zip(outcomes)
    }
}

fn told(number: u64, outcome: Result<Submitted, Refusal>) -> v1::SubmitStreamResponse {
    let answer = match outcome {
        Ok(done) => Answer::Done(submitted(done)),
        Err(refusal) => Answer::Failed(bounded(refusal).into()),
    };
    v1::SubmitStreamResponse { number, answer: Some(answer) }
}
