//! Looking at live state again: is it still what it was when it was last cut?
//!
//! A cut takes over the chunks in which nothing was written, and does not look at their memory again; so a
//! byte that flips there would stay unseen until somebody reads it. Here every chunk of the last cut is
//! encoded and hashed again, slowly, one community after the other. What was written since the cut is not
//! looked at: the next cut encodes it, and its state root is compared ([`crate::compare`]).

use crate::{community::Community, node::Node};
use althing_core::{
    snapshot::{Cut, Rechecked},
    view::View,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// Between two passes over all communities.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two turns of a pass.
const TURN: Duration = Duration::from_millis(25);
/// Bytes of a turn, but for the chunk that goes beyond: about 10 MiB in a second.
const TURN_BYTES: u64 = 256 << 10;

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    loop {
        node.runtime().sleep(PAUSE).await;
        let communities: Vec<Arc<Community>> = node.communities().values().cloned().collect();
        for here in communities {
            recheck(&node, &here).await;
        }
    }
}

/// Goes through a community's last cut, or through the one that takes its place meanwhile.
async fn recheck(node: &Node, here: &Arc<Community>) {
    let mut after = None;
    // While one is being cut there is none, and it is this community's turn in the next pass.
    while let Some(cut) = here.last_cut() {
        let Turn { reached, damaged } = turn(&cut, after);
        if here.must_run().is_err() {
            return;
        }
        if let Some(chunk) = damaged {
            // The header may be what is damaged.
            let view = View::restore(cut.state().clone()).unwrap_or_else(|_| here.view());
            return node.quarantine_for_memory(here, &view, &chunk).await;
        }
        after = match reached {
            Some(reached) => Some(reached),
            None => return,
        };
        drop(cut);
        node.runtime().sleep(TURN).await;
    }
}

/// What a turn came to.
struct Turn {
    /// The beginning of the last chunk it looked at; none at the end.
    reached: Option<Bytes>,
    damaged: Option<Rechecked>,
}

fn turn(cut: &Cut, mut after: Option<Bytes>) -> Turn {
    let mut bytes = 0;
    while bytes < TURN_BYTES {
        let Some(chunk) = cut.recheck(after.as_ref()) else { return Turn { reached: None, damaged: None } };
        metrics::counter!("althing_state_rechecked_bytes_total").increment(chunk.known.bytes);
        bytes += chunk.known.bytes;
        after = Some(chunk.first.clone());
        if !chunk.is_sound() {
            return Turn { reached: after, damaged: Some(chunk) };
        }
    }
    Turn { reached: after, damaged: None }
}
