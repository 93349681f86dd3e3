//! Who is up, and how each direction of each link behaves.

use crate::peers::Handlers;
use althing_core::ids::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How one direction of a link behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shortest time that a message takes.
    pub latency_min: Duration,
    /// The longest time that a message takes.
    pub latency_max: Duration,
    /// How many of a thousand messages are lost; a stream breaks.
    pub loss_permille: u16,
    /// How many of a thousand questions arrive twice.
    pub twice_permille: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency_min: Duration::from_micros(200),
            latency_max: Duration::from_millis(2),
            loss_permille: 0,
            twice_permille: 0,
        }
    }
}

/// One life of a node.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) handlers: Handlers,
}

#[derive(Default)]
pub(super) struct Links {
    lives: BTreeMap<NodeId, Life>,
    lives_so_far: u64,
    default: Link,
    links: BTreeMap<(NodeId, NodeId), Link>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    isolated: BTreeSet<NodeId>,
    sides: BTreeMap<NodeId, usize>,
    /// How often a node went down: what was started before is of an earlier run.
    runs: BTreeMap<NodeId, u64>,
    attempts: BTreeMap<(NodeId, &'static str), u64>,
}

impl Links {
    pub(super) fn serve(&mut self, node: NodeId, handlers: Handlers) {
        self.lives_so_far += 1;
        self.lives.insert(node, Life { number: self.lives_so_far, handlers });
    }

    pub(super) fn stop(&mut self, node: NodeId) {
        self.lives.remove(&node);
        *self.runs.entry(node).or_default() += 1;
    }

    /// Which run of a node this is.
    pub(super) fn run(&self, node: NodeId) -> u64 {
        self.runs.get(&node).copied().unwrap_or(0)
    }

    /// The life that a node lives now, if it is up.
    pub(super) fn life(&self, node: NodeId) -> Option<&Life> {
        self.lives.get(&node)
    }

    /// Whether a node lives the same life as when it was looked up.
    pub(super) fn lives_on(&self, node: NodeId, number: u64) -> bool {
        self.lives.get(&node).is_some_and(|life| life.number == number)
    }

    pub(super) fn set_default(&mut self, link: Link) {
        self.default = link;
    }

    pub(super) fn set_every(&mut self, link: Link) {
        self.default = link;
        self.links.clear();
    }

    pub(super) fn set(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(super) fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default)
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub(super) fn isolate(&mut self, node: NodeId) {
        self.isolated.insert(node);
    }

    pub(super) fn partition(&mut self, sides: &[&[NodeId]]) {
        self.sides.clear();
        for (side, nodes) in sides.iter().enumerate() {
            self.sides.extend(nodes.iter().map(|node| (*node, side)));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.isolated.clear();
        self.sides.clear();
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let is_isolated = self.isolated.contains(&from) || self.isolated.contains(&to);
        let is_apart = self.sides.get(&from) != self.sides.get(&to);
        from != to && (is_isolated || is_apart || self.cuts.contains(&(from, to)))
    }

    pub(super) fn count_attempt(&mut self, from: NodeId, method: &'static str) {
        *self.attempts.entry((from, method)).or_default() += 1;
    }

    pub(super) fn attempts(&self, from: NodeId, method: &'static str) -> u64 {
        self.attempts.get(&(from, method)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_a_single_link_is_forgotten_with_all_others() {
        let (one, other) = (NodeId(1), NodeId(2));
        let bad = Link { loss_permille: 300, ..Link::default() };
        let mut links = Links::default();
        links.set(one, other, bad);
        links.set_default(Link::default());
        assert_eq!(links.link(one, other), bad, "it was said of this link");
        links.set_every(Link::default());
        assert_eq!(links.link(one, other), Link::default());
    }
}
