//! Submitting: from any node to the community's leader and back.
//!
//! The leader packs commands into its next batch; another node forwards them, in their order, in one
//! frame. Every command may be sent again: an operation has a name (session and number), the others
//! are idempotent or harmless when doubled. So a node that meets a change of leaders tries again
//! itself, until its patience ends, and says then whether anything may have happened.

use crate::{
    community::Community,
    node::Node,
    peer::{Forward, method},
    refuse,
};
use althing_consensus::peers::Lane;
use althing_core::{
    actor::Actor,
    batch::{Command, OpenSession, Operation},
    ids::{CommunityId, NodeId, OperationName},
    limits,
    refusal::{Code, Refusal},
    transition::{Receipt, Reply},
};
use futures::future::Either;
use serde::{Deserialize, Serialize};
use std::{pin::pin, time::Duration};

/// How long a request may look for a leader: longer than electing one takes in a LAN, and shorter than
/// clients wait for one attempt (10 s), so that what this node has to say arrives. In a WAN an election
/// may outlast it; the refusal then says that, and the client tries again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a forwarded request may take on its way.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a leader may be silent before its followers look whether it still leads.
const SILENCE: Duration = Duration::from_millis(500);
/// How long to wait before a leader is looked for again.
const PAUSE: Duration = Duration::from_millis(25);

/// An operation, or another command, that was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// What became of it.
    pub receipt: Receipt,
    /// Whether it had been executed before, so that this is the first answer again.
    pub repeated: bool,
}

/// What became of each of several commands.
pub(crate) type Outcomes = Vec<Result<Submitted, Refusal>>;

impl Node {
    /// Opens a client session; its id is the receipt's sequence.
    ///
    /// # Errors
    /// A refusal.
    pub async fn open_session(&self, community: &str, actor: Actor) -> Result<Submitted, Refusal> {
        check_actor(&actor)?;
        let community = self.for_clients(community).await?;
        self.command(community, Command::OpenSession(OpenSession { actor })).await
    }

    /// Submits operations, in their order, and waits for what became of each.
    ///
    /// # Errors
    /// A refusal for each that was not executed, or is not known to have been.
    ///
    /// Cancellation: what was handed over may still be executed.
    pub async fn submit(&self, community: &str, operations: Vec<Operation>) -> Result<Outcomes, Refusal> {
        let community = self.for_clients(community).await?;
        for operation in &operations {
            check_operation(operation)?;
        }
        Ok(self.commands(community, operations.into_iter().map(Command::Operation).collect()).await)
    }

    /// A community that clients may change: any but the system community.
    async fn for_clients(&self, name: &str) -> Result<CommunityId, Refusal> {
        match self.resolve(name).await? {
            CommunityId::SYSTEM => {
                Err(Refusal::new(Code::BadRequest, "the system community is changed by the admin verbs only"))
            }
            community => Ok(community),
        }
    }

    /// One command, see [`Self::commands`].
    pub(crate) async fn command(
        &self,
        community: CommunityId,
        command: Command,
    ) -> Result<Submitted, Refusal> {
        let mut outcomes = self.commands(community, vec![command]).await;
        outcomes.pop().expect("one outcome for each command")
    }

    /// Brings commands to the leader, again and again until each has an answer or patience ends.
    #[tracing::instrument(name = "route", level = "debug", skip_all, fields(community = %community, commands = commands.len()))]
    pub(crate) async fn commands(&self, community: CommunityId, commands: Vec<Command>) -> Outcomes {
        let began = self.runtime().monotonic();
        let mut outcomes: Outcomes = vec![Err(refuse::no_leader(community)); commands.len()];
        loop {
            let open = open(&outcomes);
            let has_time = self.runtime().monotonic() - began < PATIENCE;
            if open.is_empty() || !has_time {
                return outcomes;
            }
            let attempt = open.iter().map(|&place| commands[place].clone()).collect();
            let answers = self.attempt(community, attempt).await;
            for (&place, answer) in open.iter().zip(answers) {
                outcomes[place] =
                    later(std::mem::replace(&mut outcomes[place], Err(refuse::no_leader(community))), answer);
            }
            if !self::open(&outcomes).is_empty() {
                self.runtime().sleep(PAUSE).await;
            }
        }
    }

    /// Tries once: here if this node leads, else at whoever is believed to.
    async fn attempt(&self, community: CommunityId, commands: Vec<Command>) -> Outcomes {
        let count = commands.len();
        if let Some(local) = self.hosted(community).filter(|local| local.leads()) {
            return self.execute(&local, commands).await;
        }
        let Some(leader) = self.leader_of(community) else {
            return vec![Err(refuse::no_leader(community)); count];
        };
        each_operation(&commands, |operation| tracing::debug!(%operation, leader = %leader, "forwarded"));
        let forward = Forward { commands };
        let asked = self.peers().ask(leader, Lane::Log, community, method::SUBMIT, &forward, FORWARD_TIMEOUT);
        let asked = pin!(asked);
        let deposed = pin!(self.deposed(community, leader));
        let outcomes: Result<Outcomes, Refusal> = match futures::future::select(asked, deposed).await {
            Either::Left((outcomes, _)) => outcomes,
            Either::Right(((), _)) => Err(refuse::unknown_outcome(community)),
        };
        match outcomes {
            Ok(outcomes) if outcomes.len() == count => {
                self.note_leader(community, leader, &outcomes);
                outcomes
            }
            Ok(_) => vec![
                Err(Refusal::new(Code::Internal, "a peer answered for another number of commands"));
                count
            ],
            Err(refusal) => {
                self.forget_leader(community, leader);
                vec![Err(refusal); count]
            }
        }
    }

    /// Ready when a leader has been silent for a while and another is seen to lead, so that nobody
    /// waits for one that is gone without a word.
    async fn deposed(&self, community: CommunityId, leader: NodeId) {
        let Some(local) = self.hosted(community) else { return futures::future::pending().await };
        self.runtime().sleep(SILENCE).await;
        let mut status = local.group.status();
        let another =
            status.wait_for(|status| status.leader.as_ref().is_some_and(|(_, member)| member.node != leader));
        if another.await.is_err() {
            futures::future::pending().await
        }
    }

    /// Executes commands on the leader.
    async fn execute(&self, local: &Community, commands: Vec<Command>) -> Outcomes {
        let count = commands.len();
        // The directory takes little, and is where somebody says what is to go.
        let has_room = match local.id() {
            CommunityId::SYSTEM => Ok(()),
            _ => self.shared().space.check(),
        };
        let enqueued =
            has_room.and_then(|()| local.must_run()).and_then(|()| local.proposer.enqueue(commands));
        let answers = match enqueued {
            Ok(answers) => answers,
            Err(refusal) => return vec![Err(refusal); count],
        };
        let mut outcomes = Vec::with_capacity(count);
        for answer in answers {
            outcomes.push(match answer.await {
                // What one that differs made of it is not told: whoever leads next says.
                Ok(Ok(_)) if local.must_run().is_err() => Err(refuse::unknown_outcome(local.id())),
                Ok(Ok(reply)) => submitted(reply),
                Ok(Err(refusal)) => Err(refusal),
                Err(_) => Err(refuse::unknown_outcome(local.id())),
            });
        }
        outcomes
    }

    /// What a peer forwarded: executed only if this node leads.
    pub(crate) async fn forwarded(&self, community: CommunityId, commands: Vec<Command>) -> Outcomes {
        let count = commands.len();
        match self.hosted(community) {
            Some(local) if local.leads() => self.execute(&local, commands).await,
            local => {
                let leader = local
                    .and_then(|local| local.status().leader)
                    .map_or(NodeId(0), |(_, member)| member.node);
                vec![Err(refuse::no_leader(community).with(LEADER, leader)); count]
            }
        }
    }
}

/// Names the operations among commands, for the log; at no cost when nobody listens.
pub(crate) fn each_operation(commands: &[Command], told: impl Fn(OperationName)) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for command in commands {
        if let Command::Operation(operation) = command {
            told(operation.name());
        }
    }
}

/// In a refusal's data: the node that leads, as far as the refusing one knows; 0 if it does not.
pub(crate) const LEADER: &str = "leader";

/// The places of the outcomes that trying again may change. What is out of order is worth trying
/// again only together with something before it.
fn open(outcomes: &Outcomes) -> Vec<usize> {
    let mut open = Vec::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        let is_open = match outcome {
            Ok(_) => false,
            Err(refusal) => match refusal.code {
                Code::NoLeader | Code::UnknownOutcome | Code::TimedOut | Code::BatchFull => true,
                Code::OutOfOrder => !open.is_empty(),
                _ => false,
            },
        };
        if is_open {
            open.push(place);
        }
    }
    open
}

/// The later answer; but once something may have happened, "nothing was done" is no longer known.
fn later(
    earlier: Result<Submitted, Refusal>,
    answer: Result<Submitted, Refusal>,
) -> Result<Submitted, Refusal> {
    match (earlier, answer) {
        (Err(earlier), Err(answer))
            if matches!(earlier.code, Code::UnknownOutcome | Code::TimedOut)
                && matches!(
                    answer.code,
                    Code::NoLeader | Code::Busy | Code::ReplicaStopped | Code::ShuttingDown
                ) =>
        {
            Err(earlier)
        }
        (_, answer) => answer,
    }
}

fn submitted(reply: Reply) -> Result<Submitted, Refusal> {
    match reply {
        Reply::Done(receipt) => Ok(Submitted { receipt, repeated: false }),
        Reply::Repeated(receipt) => Ok(Submitted { receipt, repeated: true }),
        Reply::NotExecuted(reason) => Err(reason.into()),
    }
}

fn check_operation(operation: &Operation) -> Result<(), Refusal> {
    check_actor(&operation.actor)?;
    if operation.number.0 == 0 {
        return Err(Refusal::new(
            Code::BadRequest,
            "number is 0: operations of a session are numbered from 1",
        ));
    }
    if operation.payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(too_large("payload", operation.payload.len(), limits::PAYLOAD_BYTES_MAX));
    }
    Ok(())
}

fn check_actor(actor: &Actor) -> Result<(), Refusal> {
    if actor.id.len() > limits::ACTOR_ID_BYTES_MAX {
        return Err(too_large("actor.id", actor.id.len(), limits::ACTOR_ID_BYTES_MAX));
    }
    if actor.roles.len() > limits::ACTOR_ROLES_MAX {
        return Err(too_large("actor.roles", actor.roles.len(), limits::ACTOR_ROLES_MAX));
    }
    Ok(())
}

fn too_large(what: &str, found: usize, max: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("{what} is {found} large, this host takes {max} at most"))
        .with("found", found)
        .with("max", max)
}
