//! Nodes leave for good: drained while they live, removed when they are gone, replaced by another.
//!
//! One wish in the directory ([`DirectoryOperation::LeaveNode`]), carried out by whoever leads the system
//! community ([`work`]): every replica of the node moves to another, a few communities at a time; when no
//! group counts it among its members any more, the directory forgets the node. Whoever asks may be broken
//! off, and asks again to see how far it is.

mod out;
mod work;

use crate::{
    directory::{
        record::{DirectoryOperation, Leaving},
        view::DirectoryView,
    },
    node::Node,
    placing::Room,
    query::Consistency,
};
use althing_core::{
    ids::{CommunityId, NodeId},
    refusal::{Code, Refusal},
};
use futures::StreamExt as _;

pub(crate) use work::run;

/// Communities that are asked at the same time how far they are.
const AT_ONCE: usize = 16;

/// What a node that is to leave must be like, so that none leaves by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It answers.
    Answering,
    /// It does not answer.
    Silent,
    /// Either.
    Whatever,
}

/// How a node is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Whether it has to answer, or must not.
    pub expected: Expected,
    /// Where its replicas go first; none: wherever there is most room.
    pub to: Option<NodeId>,
    /// Whether a replica that no other node can take may go all the same.
    pub may_vacate: bool,
}

/// How far a node that is to leave has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retirement {
    /// Whether it has left.
    pub has_left: bool,
    /// The communities that still have a replica on it.
    pub remaining: Vec<Remaining>,
}

/// A community with a replica on a node that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The community.
    pub community: CommunityId,
    /// Its name.
    pub name: String,
    /// What it waits for; empty while it goes on.
    pub why: String,
}

impl Node {
    /// Says that a node is to leave for good, and how far that is; asked again, how far it has come.
    ///
    /// # Errors
    /// A refusal, and then nothing was changed: [`Code::NoNode`]; [`Code::BadMembers`] when it is the last
    /// one, or answers and should not, or does not and should; [`Code::NoLeader`] when the directory has no
    /// quorum.
    pub async fn retire_node(&self, node: NodeId, how: Retire) -> Result<Retirement, Refusal> {
        if DirectoryView(&self.directory()).has_left(node) {
            return Ok(Retirement { has_left: true, remaining: Vec::new() });
        }
        let directory = self.view_at(self.system(), Consistency::Linearizable).await?;
        let view = DirectoryView(&directory);
        if view.has_left(node) {
            return Ok(Retirement { has_left: true, remaining: Vec::new() });
        }
        if view.node(node).is_none() {
            let why = format!("there is no node {node}: see `althing node list`");
            return Err(Refusal::new(Code::NoNode, why));
        }
        self.expect(node, how.expected).await?;
        if let Some(to) = how.to
            && view.node(to).is_some()
            && !self.answers(to).await
        {
            let why = format!("node {to} does not answer, so it cannot take what node {node} has");
            return Err(Refusal::new(Code::BadMembers, why));
        }
        let leaving = Leaving { node, to: how.to, may_vacate: how.may_vacate };
        if !view.leaving().contains(&leaving) {
            tracing::warn!(%node, ?how, "a node is to leave");
            self.change_directory(DirectoryOperation::LeaveNode(leaving)).await?;
        }
        self.retirement(leaving).await
    }

    /// Lets a node stay that was to leave. What it has given away does not come back.
    ///
    /// # Errors
    /// A refusal: [`Code::NoNode`] when there is none, or none any more.
    pub async fn keep_node(&self, node: NodeId) -> Result<(), Refusal> {
        self.change_directory(DirectoryOperation::KeepNode { node }).await.map(|_| ())
    }

    /// The nodes that are to leave, as this node knows the directory.
    #[must_use]
    pub fn leaving_nodes(&self) -> Vec<NodeId> {
        DirectoryView(&self.directory()).leaving().iter().map(|leaving| leaving.node).collect()
    }

    /// How many voters a community is to have: those it has, and vacant places.
    #[must_use]
    pub fn voters_wanted(&self, record: &crate::CommunityRecord) -> usize {
        let vacant = DirectoryView(&self.directory()).vacant(record.id);
        record.voters() + usize::try_from(vacant).unwrap_or(usize::MAX)
    }

    async fn expect(&self, node: NodeId, expected: Expected) -> Result<(), Refusal> {
        let why = match (expected, self.answers(node).await) {
            (Expected::Answering, false) => {
                format!("node {node} does not answer: if it is gone for good, `althing node remove {node}`")
            }
            (Expected::Silent, true) => format!(
                "node {node} answers, so it is not gone: `althing node drain {node}` lets it leave in order"
            ),
            _ => return Ok(()),
        };
        Err(Refusal::new(Code::BadMembers, why))
    }

    async fn retirement(&self, leaving: Leaving) -> Result<Retirement, Refusal> {
        let directory = self.directory();
        let view = DirectoryView(&directory);
        if view.has_left(leaving.node) {
            return Ok(Retirement { has_left: true, remaining: Vec::new() });
        }
        let room = Room::of(&directory);
        let others = view.communities().into_iter().filter(|record| record.id != CommunityId::SYSTEM);
        let asked = others.map(async |record| {
            let why = work::next_step(self, &record, leaving, &room).await.waits_for()?;
            Some(Remaining { community: record.id, name: record.name, why })
        });
        let asked: Vec<_> = asked.collect();
        let mut remaining: Vec<Remaining> =
            futures::stream::iter(asked).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
        if remaining.is_empty() {
            let step = work::last_step(self, leaving).await;
            remaining.extend(step.waits_for().map(|why| Remaining {
                community: CommunityId::SYSTEM,
                name: "system".to_owned(),
                why,
            }));
        }
        Ok(Retirement { has_left: false, remaining })
    }
}

#[cfg(test)]
mod tests;
