//! The history before the snapshot that a replica began with, fetched from the others.
//!
//! A replica that begins with a snapshot has the state and none of the transitions before it. Subscribers, audit and
//! archive count on as many as the community's policy keeps, and they must not go because replicas were replaced one after the
//! other. So it goes back, page by page, from its oldest transition to where the policy ends: what it is given must
//! lead to the digest that it has (see [`althing_core::digest`]).

use crate::{
    community::Community,
    history::PAGE_MAX,
    node::Node,
    peer::{HistoryRead, ReadHistory, method},
    refuse, retention,
};
use althing_consensus::peers::Lane;
use althing_core::{
    codec, digest,
    ids::{CommunityId, Hash, NodeId, Sequence},
    refusal::{Code, Refusal},
    segment::must_follow,
    transition::Transition,
};
use althing_store::port::HistoryRecord;
use futures::{StreamExt as _, stream};
use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::Duration,
};

/// How often to look who has just begun with a snapshot.
const EVERY: Duration = Duration::from_millis(250);
/// For so many communities at once.
const AT_ONCE: usize = 8;
/// How long to wait when the others could not be asked.
const RETRY: Duration = Duration::from_secs(5);
/// How long one page may take to come.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that can be asked for: a transition, and the one that proves it.
const PAIR: u64 = 2;
/// What is looked at of the history that is here already, in bytes.
const HERE_BYTES_MAX: usize = 1 << 20;

/// Runs as long as the node.
pub(crate) async fn run(node: Node) {
    loop {
        node.runtime().sleep(EVERY).await;
        let here: Vec<Arc<Community>> = node.communities().values().cloned().collect();
        let due = here.into_iter().filter(|here| here.feed.looks_back(node.runtime().monotonic()));
        let fill_all = stream::iter(due).for_each_concurrent(AT_ONCE, async |here| {
            if let Err(refusal) = fill(&node, &here).await {
                tracing::debug!(community = %here.id(), %refusal, "history is asked for again");
                here.feed.look_back_at(node.runtime().monotonic() + RETRY);
            }
        });
        fill_all.await;
    }
}

/// Fetches what is missing here, as far as anybody holds it.
///
/// # Errors
/// Somebody could not be asked, so that it is not known what is to be had; storage fails.
async fn fill(node: &Node, here: &Arc<Community>) -> Result<(), Refusal> {
    let began = here.feed.oldest().await?;
    let mut unheard = None;
    for host in node.hosts(here.id()) {
        match fill_from(node, here, host).await {
            Err(refusal)
                if !matches!(refusal.code, Code::NoReplica | Code::NoCommunity | Code::ReplicaStopped) =>
            {
                unheard = Some(refusal);
            }
            Ok(()) | Err(_) => {}
        }
    }
    let oldest = here.feed.oldest().await?;
    if oldest < began {
        tracing::info!(
            community = %here.id(), from = %oldest, to = began.0 - 1, "the history before the snapshot is here"
        );
    }
    let is_whole = oldest <= kept(here);
    unheard.filter(|_| !is_whole).map_or(Ok(()), Err)
}

/// The oldest sequence that the community keeps.
fn kept(here: &Community) -> Sequence {
    let view = here.view();
    retention::oldest_kept(view.sequence(), &view.policy().retention)
}

/// Fetches what is missing here and one node holds.
async fn fill_from(node: &Node, here: &Arc<Community>, host: NodeId) -> Result<(), Refusal> {
    let mut span = u64::from(PAGE_MAX);
    let mut held = None;
    loop {
        here.must_run()?;
        let (oldest, kept) = (here.feed.oldest().await?, kept(here));
        if oldest <= kept {
            return Ok(());
        }
        let Some(link) = link(here, oldest).await? else { return Ok(()) };
        let first = match held {
            Some(first) => first,
            None => ask(node, here.id(), host, Sequence(0), 1).await?.oldest,
        };
        held = Some(first);
        // With the one before, which proves the first.
        let from = first.0.max(kept.0.saturating_sub(1)).max(oldest.0.saturating_sub(span)).max(1);
        if from >= oldest.0 {
            return Ok(());
        }
        let page = page(node, here.id(), host, from..oldest.0).await?;
        if span > PAIR && page.last().is_none_or(|last| last.sequence.next() < oldest) {
            span = (page.len() as u64 / 2).min(span / 2).max(PAIR);
            continue;
        }
        let page = proven(here.id(), page, &link);
        if page.is_empty() || !keep(node, here, page).await? {
            return Ok(());
        }
    }
}

/// Transitions from a node, from the first on as far as one answer goes; two of them however large they are.
async fn page(
    node: &Node,
    community: CommunityId,
    host: NodeId,
    wanted: Range<u64>,
) -> Result<Vec<Transition>, Refusal> {
    let mut page: Vec<Transition> = Vec::new();
    loop {
        let next = page.last().map_or(wanted.start, |last| last.sequence.0 + 1);
        let limit = u32::try_from(wanted.end.saturating_sub(next)).unwrap_or(PAGE_MAX);
        let read = ask(node, community, host, Sequence(next), limit).await?.transitions;
        let is_done = read.is_empty() || read.len() as u64 >= u64::from(limit);
        page.extend(read);
        if is_done || wanted.end - wanted.start > PAIR {
            return Ok(page);
        }
    }
}

async fn ask(
    node: &Node,
    community: CommunityId,
    host: NodeId,
    from: Sequence,
    limit: u32,
) -> Result<HistoryRead, Refusal> {
    let question = ReadHistory { from, limit, wait: false };
    node.peers().ask(host, Lane::Bulk, community, method::HISTORY, &question, PAGE_TIMEOUT).await
}

/// What the history that is asked for has to lead to.
enum Link {
    /// The oldest transition that is here.
    Transition(Box<Transition>),
    /// The state, when there is none.
    State(Sequence, Hash),
}

impl Link {
    fn follows(&self, last: &Transition) -> bool {
        match self {
            Self::Transition(next) => is_next(last, next),
            Self::State(sequence, digest) => last.sequence == *sequence && last.digest == *digest,
        }
    }
}

fn is_next(last: &Transition, next: &Transition) -> bool {
    must_follow(last.sequence.next(), Some(last.digest), next).is_ok()
}

/// What `oldest` follows on; none when it is no longer the oldest.
async fn link(here: &Community, oldest: Sequence) -> Result<Option<Link>, Refusal> {
    let view = here.view();
    if view.sequence().next() == oldest {
        return Ok(Some(Link::State(view.sequence(), view.digest())));
    }
    let next = here.feed.read(oldest, 1).await?.into_iter().next();
    Ok(next.filter(|next| next.sequence == oldest).map(|next| Link::Transition(Box::new(next))))
}

/// What of a page is proven to lead to `link`. The first transition proves those after it, and is proven itself only
/// where a history begins.
fn proven(community: CommunityId, page: Vec<Transition>, link: &Link) -> Vec<Transition> {
    let is_chain = page.windows(2).all(|pair| is_next(&pair[0], &pair[1]));
    if !is_chain || !page.last().is_some_and(|last| link.follows(last)) {
        return Vec::new();
    }
    let before = digest::start(community);
    let is_beginning = |first: &Transition| must_follow(Sequence(1), Some(before), first).is_ok();
    let unproven = usize::from(!page.first().is_some_and(is_beginning));
    page.into_iter().skip(unproven).collect()
}

/// Keeps what is not here yet; whether there was anything.
async fn keep(node: &Node, here: &Community, page: Vec<Transition>) -> Result<bool, Refusal> {
    let archive = &node.shared().store.archive;
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(false) };
    let (first, last) = (first.sequence, last.sequence);
    let held = archive.history(here.id(), first, HERE_BYTES_MAX).await;
    let held: Vec<RangeInclusive<Sequence>> = held
        .map_err(|error| refuse::store(&error))?
        .into_iter()
        .filter(|record| record.first <= last)
        .map(|record| record.first..=record.last)
        .collect();
    let is_here = |transition: &Transition| held.iter().any(|range| range.contains(&transition.sequence));
    let missing: Vec<Transition> = page.into_iter().filter(|transition| !is_here(transition)).collect();
    let records: Vec<HistoryRecord> = missing
        .chunk_by(|one, next| one.sequence.next() == next.sequence)
        .filter_map(|run| {
            let (first, last) = (run.first()?.sequence, run.last()?.sequence);
            Some(HistoryRecord { first, last, body: codec::encode(&run).into() })
        })
        .collect();
    // The replica may have been let go meanwhile: then nothing more is kept of it.
    let is_hosted = node.hosted(here.id()).is_some_and(|hosted| hosted.hosted.replica == here.hosted.replica);
    if records.is_empty() || !is_hosted {
        return Ok(false);
    }
    archive.append_history(here.id(), records).await.map_err(|error| refuse::store(&error))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
