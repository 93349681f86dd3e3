//! A server of the same protocol without a cluster behind it, which fails as it is told to. Two of
//! them may serve one world, like two nodes.

use althing_client::v1::{self, communities_server::Communities, communities_server::CommunitiesServer};
use althing_core::{
    actor::Actor,
    ids::{Hash, OperationNumber, Sequence, SessionId},
    refusal::{Code, Refusal},
    time::Timestamp,
    transition::{Cause, Outcome, Receipt, Transition},
};
use althing_proto::{operation, status::status};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What a request meets instead of being served.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It is refused and not executed.
    Refuse(Code),
    /// It is executed, then the answer is lost.
    LoseAnswer(Code),
    /// The stream breaks after so many answers; what came in meanwhile is executed.
    CutAfter(usize),
    /// The stream goes on, but one answer of it is a refusal, without execution.
    RefuseInStream(u64, Code),
    /// The subscriber is told another sequence.
    Skip,
}

/// What the fake knows, shared by the fakes of one world.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Taken one by one by requests.
    pub(crate) faults: VecDeque<Fault>,
    /// The history.
    pub(crate) transitions: Vec<Transition>,
    /// Requests that came: (number, acknowledged, after).
    pub(crate) requests: Vec<(u64, u64, u64)>,
    /// Requests that each fake served.
    pub(crate) served: BTreeMap<&'static str, usize>,
    answers: BTreeMap<u64, Receipt>,
}

impl World {
    /// Without a history, with faults.
    pub(crate) fn with(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { faults: faults.into_iter().collect(), ..Self::default() }
    }

    /// Payloads in the order of execution.
    pub(crate) fn executed(&self) -> Vec<Bytes> {
        let payload = |transition: &Transition| match &transition.cause {
            Cause::Operation { payload, .. } => Some(payload.clone()),
            _ => None,
        };
        self.transitions.iter().filter_map(payload).collect()
    }

    /// Adds to the history.
    pub(crate) fn append(&mut self, cause: Cause) -> Receipt {
        let sequence = Sequence(self.transitions.len() as u64 + 1);
        let outcome = Outcome::Accepted { result: Bytes::from(sequence.to_string()) };
        let (time, digest) = (Timestamp::new(sequence.0, 0), Hash([7; 32]));
        self.transitions.push(Transition {
            sequence,
            time,
            cause,
            outcome: outcome.clone(),
            writes: vec![],
            events: vec![],
            timers: vec![],
            fuel: 1,
            digest,
        });
        Receipt { sequence, time, outcome, fuel: 1, digest }
    }

    fn execute(&mut self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Refusal> {
        let (_, operation) = operation::parse(request)?;
        let number = operation.number.0;
        self.requests.push((number, operation.acknowledged.0, operation.after.0));
        if let Some(receipt) = self.answers.get(&number) {
            return Ok(v1::SubmitResponse { receipt: Some(receipt.clone().into()), repeated: true });
        }
        if operation.payload.as_ref() == b"too large" {
            return Err(Refusal::new(Code::TooLarge, "too large"));
        }
        if operation.after.0 > 0 && !self.answers.contains_key(&operation.after.0) {
            return Err(Refusal::new(Code::OutOfOrder, "out of order"));
        }
        let receipt = self.append(Cause::Operation {
            session: operation.session,
            number: operation.number,
            actor: operation.actor,
            payload: operation.payload,
        });
        self.answers.insert(number, receipt.clone());
        Ok(v1::SubmitResponse { receipt: Some(receipt.into()), repeated: false })
    }
}

/// Serves `world` at the address returned, for as long as the test runs.
pub(crate) async fn serve(name: &'static str, world: &Arc<Mutex<World>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let fake = CommunitiesServer::new(Fake { name, world: Arc::clone(world) });
    let server = tonic::transport::Server::builder().add_service(fake);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// An address at which nobody listens.
pub(crate) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The history's first transitions: sessions being opened.
pub(crate) fn history(length: u64) -> World {
    let mut world = World::default();
    for number in 1..=length {
        world.append(Cause::Operation {
            session: SessionId(1),
            number: OperationNumber(number),
            actor: Actor::default(),
            payload: Bytes::from(number.to_string()),
        });
    }
    world
}

#[derive(Debug)]
struct Fake {
    name: &'static str,
    world: Arc<Mutex<World>>,
}

impl Fake {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap();
        *world.served.entry(self.name).or_default() += 1;
        world
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn lost() -> Status {
    Status::unavailable("the connection is cut")
}

#[tonic::async_trait]
impl Communities for Fake {
    type SubmitStreamStream = Answers<v1::SubmitStreamResponse>;
    type SubscribeStream = Answers<v1::SubscribeResponse>;

    async fn open_session(
        &self,
        _: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        drop(self.world());
        Ok(Response::new(v1::OpenSessionResponse { session: 1, ttl_millis: 1000, window: 8 }))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let mut world = self.world();
        match world.faults.pop_front() {
            None => world.execute(request.into_inner()).map(Response::new).map_err(|no| status(&no)),
            Some(Fault::LoseAnswer(code)) => {
                world.execute(request.into_inner()).map_err(|no| status(&no))?;
                Err(status(&Refusal::new(code, "lost")))
            }
            Some(Fault::Refuse(code)) => Err(status(&Refusal::new(code, "not now"))),
            Some(fault) => panic!("{fault:?} is none of submit"),
        }
    }

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let fault = self.world().faults.pop_front();
        let world = Arc::clone(&self.world);
        let mut left = if let Some(Fault::CutAfter(answers)) = fault { answers } else { usize::MAX };
        let answers = request.into_inner().map_while(move |request| {
            let request = request.ok()?;
            let number = request.number;
            let mut world = world.lock().unwrap();
            if let Some(Fault::RefuseInStream(unlucky, code)) = fault
                && unlucky == number
            {
                let answer = answer(number, Err(Refusal::new(code, "not now")));
                return Some(Ok(answer));
            }
            let done = world.execute(request);
            if left == 0 {
                return None;
            }
            left -= 1;
            Some(Ok(answer(number, done)))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn query(&self, _: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        match self.world().faults.pop_front() {
            Some(Fault::Refuse(code)) => Err(status(&Refusal::new(code, "not now"))),
            _ => Ok(Response::new(v1::QueryResponse {
                kind: Some(v1::query_response::Kind::Answer(Bytes::from_static(b"7"))),
                sequence: 3,
                time: Some(Timestamp::new(1, 0).into()),
                digest: Bytes::from_static(&[7; 32]),
                fuel: 5,
            })),
        }
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut world = self.world();
        let from = usize::try_from(request.into_inner().from).unwrap();
        let fault = world.faults.pop_front();
        let mut rest: VecDeque<_> = world.transitions.iter().skip(from - 1).cloned().collect();
        match fault {
            Some(Fault::Refuse(code)) => return Err(status(&Refusal::new(code, "no"))),
            Some(Fault::Skip) => drop(rest.pop_front()),
            Some(Fault::CutAfter(answers)) => rest.truncate(answers),
            _ => {}
        }
        let told = rest
            .into_iter()
            .map(|transition| Ok(v1::SubscribeResponse { transitions: vec![transition.into()] }));
        Ok(Response::new(Box::pin(tokio_stream::iter(told).chain(tokio_stream::once(Err(lost()))))))
    }

    async fn scan(&self, _: Request<v1::ScanRequest>) -> Result<Response<v1::ScanResponse>, Status> {
        let sequence = self.world().transitions.len() as u64;
        let digest = Bytes::from_static(&[7; 32]);
        Ok(Response::new(v1::ScanResponse { pairs: vec![], next: None, sequence, digest }))
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        Err(Status::unimplemented("not asked for by any test"))
    }
}

fn answer(number: u64, done: Result<v1::SubmitResponse, Refusal>) -> v1::SubmitStreamResponse {
    use v1::submit_stream_response::Answer;
    let answer = match done {
        Ok(done) => Answer::Done(done),
        Err(refusal) => Answer::Failed(refusal.into()),
    };
    v1::SubmitStreamResponse { number, answer: Some(answer) }
}
