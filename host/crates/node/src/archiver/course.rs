//! How far one community is archived, and the making of its next segment: history is looked through until a segment
//! is over, then read again and written. So no history waits in memory.

use super::{ArchiveOptions, Archived, RETRY_MAX, RETRY_MIN, source::Source};
use crate::{community::Community, guests::GuestThreads, node::Node, refuse};
use althing_core::{
    digest,
    ids::{CommunityId, Hash, NodeId, Sequence},
    refusal::Refusal,
    segment::{Cut, Ends, Finished, Misfit, Rule, Segment, SegmentHeader, SegmentWriter, Tail},
};
use althing_store::{port::StoreError, segments::Segments};
use std::{io, time::Duration};

/// So much longer than its span a segment without successors stays open, so that clocks that differ a little come to
/// the same end.
const GRACE_MILLIS: u64 = 10_000;

/// Why a community is not archived any further at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{place} cannot be written: {source}; history stays on this node until it can")]
    Disk { place: String, source: io::Error },
    #[error(
        "the folder {folder} in {place} holds the history of {found}: choose another folder for --archive, or move it away"
    )]
    Foreign { place: String, folder: String, found: String },
    #[error(
        "the history here parts from the archive: {misfit}. One of them is wrong: `althing verify` and another node's \
         archive tell which"
    )]
    Parts { misfit: Misfit },
    #[error("transition {at} is not held here any more, and these nodes with a replica do not answer: {}", list(.nodes))]
    Awaits { at: Sequence, nodes: Vec<NodeId> },
    #[error("history cannot be read: {0}")]
    History(String),
    #[error("{0}")]
    Host(String),
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Trouble {
    pub(super) fn store(error: &StoreError) -> Self {
        Self::History(refuse::chain(error))
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::History(refusal.to_string())
    }
}

/// One community's course.
pub(super) struct Course {
    community: CommunityId,
    folder: String,
    options: ArchiveOptions,
    cluster: String,
    name: String,
    segments: Segments,
    /// Where the archive ends, as far as is known.
    reached: Reached,
    /// Whether that was looked at since something went wrong.
    is_known: bool,
    scan: Option<Scan>,
    failures: u64,
    trouble: Option<String>,
    retry_in: Duration,
    rests_until: Duration,
}

/// Where an archive ends.
#[derive(Clone, Copy, Default)]
struct Reached {
    tail: Option<Tail>,
    missing: u64,
    count: u64,
    bytes: u64,
}

/// A segment that is not over yet, as far as history was looked through.
#[derive(Clone, Copy)]
struct Scan {
    first: Sequence,
    before: Option<Hash>,
    /// What is looked at next, and the digest before it.
    next: Sequence,
    digest: Option<Hash>,
    cut: Cut,
}

impl Scan {
    fn new(first: Sequence, before: Option<Hash>, rule: Rule) -> Self {
        Self { first, before, next: first, digest: before, cut: Cut::new(rule) }
    }

    fn is_empty(&self) -> bool {
        self.next == self.first
    }
}

impl Course {
    pub(super) fn new(node: &Node, options: &ArchiveOptions, here: &Community) -> Self {
        let name = here.hosted.name.clone();
        let folder = format!("{name}-{}", here.id());
        Self {
            community: here.id(),
            segments: Segments::new(options.files.clone(), folder.clone()),
            folder,
            options: options.clone(),
            cluster: node.identity().cluster.to_string(),
            name,
            reached: Reached::default(),
            is_known: false,
            scan: None,
            failures: 0,
            trouble: None,
            retry_in: RETRY_MIN,
            rests_until: Duration::ZERO,
        }
    }

    /// The last sequence in a durable segment.
    pub(super) fn archived(&self) -> Sequence {
        self.reached.tail.map_or(Sequence(0), |tail| tail.last)
    }

    pub(super) fn rests(&self, now: Duration) -> bool {
        now < self.rests_until
    }

    /// Something went wrong: told, and tried again later.
    pub(super) fn fail(&mut self, trouble: &Trouble, now: Duration) {
        metrics::counter!("althing_archive_failures_total").increment(1);
        self.failures += 1;
        let told = trouble.to_string();
        if self.trouble.as_ref() != Some(&told) {
            tracing::error!(community = %self.community, %trouble, "history cannot be archived");
        }
        self.trouble = Some(told);
        self.rests_until = now + self.retry_in;
        self.retry_in = (self.retry_in * 2).min(RETRY_MAX);
        // Whatever was known of the folder: somebody may mend it by hand.
        self.is_known = false;
        self.scan = None;
    }

    fn succeed(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(community = %self.community, "history is archived again");
        }
        self.retry_in = RETRY_MIN;
    }

    /// How far it is; what the lag is by now, whoever asks knows.
    pub(super) fn status(&self) -> Archived {
        let reached = self.reached;
        Archived {
            community: self.community,
            name: self.name.clone(),
            archived: self.archived(),
            lag: 0,
            segments: reached.count,
            bytes: reached.bytes,
            missing: reached.missing,
            failures: self.failures,
            trouble: self.trouble.clone(),
        }
    }

    /// Writes the next segment if it is over, or, of the `rest`, if there is anything; whether it did.
    pub(super) async fn segment(
        &mut self,
        node: &Node,
        here: &Community,
        threads: &GuestThreads,
        rest: bool,
    ) -> Result<bool, Trouble> {
        if !self.is_known {
            self.reached = self.look(threads).await?;
            self.is_known = true;
            node.archiver().marks.archived(self.community, self.archived());
        }
        let Some((scan, last)) = self.due(node, here, rest).await? else {
            self.succeed();
            return Ok(false);
        };
        let (header, finished) = self.make(node, here, scan, last).await?;
        self.write(header, finished, threads).await?;
        self.scan = None;
        self.succeed();
        Ok(true)
    }

    async fn write(
        &mut self,
        header: SegmentHeader,
        finished: Finished,
        threads: &GuestThreads,
    ) -> Result<(), Trouble> {
        let Finished { bytes, tail } = finished;
        let (segments, first, reserve) = (self.segments.clone(), header.first, self.options.reserve);
        let size = bytes.len() as u64;
        let add = move || segments.open().and_then(|()| segments.add(first, &bytes, reserve));
        let added = threads.run(add).await;
        self.done(added)?;
        metrics::counter!("althing_archive_segments_total").increment(1);
        metrics::counter!("althing_archive_bytes_total").increment(size);
        if let Some((from, to)) = header.gap() {
            let community = self.community;
            tracing::error!(%community, %from, %to, "the archive has a gap: nobody holds these transitions");
        }
        tracing::info!(community = %self.community, %first, last = %tail.last, bytes = size, "history is archived");
        let Reached { count, bytes, .. } = self.reached;
        let (count, bytes) = (count + 1, bytes + size);
        self.reached = Reached { tail: Some(tail), missing: header.missing, count, bytes };
        Ok(())
    }

    /// Looks where the archive ends. What is damaged at its end is set aside, to be written again.
    async fn look(&self, threads: &GuestThreads) -> Result<Reached, Trouble> {
        let segments = self.segments.clone();
        let community = self.community;
        let looked = threads.run(move || end(&segments, community)).await;
        let (reached, newest) = self.done(looked)?;
        let Some(header) = newest else { return Ok(reached) };
        if (&header.cluster, header.community) == (&self.cluster, self.community) {
            return Ok(reached);
        }
        let found = format!("community {} of cluster {}", header.community, header.cluster);
        Err(Trouble::Foreign { place: self.options.place.clone(), folder: self.folder.clone(), found })
    }

    fn done<T>(&self, outcome: Result<io::Result<T>, althing_core::program::Fault>) -> Result<T, Trouble> {
        let outcome = outcome.map_err(|fault| Trouble::Host(fault.to_string()))?;
        outcome.map_err(|source| Trouble::Disk { place: self.options.place.clone(), source })
    }

    /// Goes on looking through history: the segment that is over, and its last sequence; none if none is.
    async fn due(
        &mut self,
        node: &Node,
        here: &Community,
        rest: bool,
    ) -> Result<Option<(Scan, Sequence)>, Trouble> {
        let mut scan = self.scan.unwrap_or_else(|| self.begin());
        let newest = here.view().sequence();
        while scan.next <= newest {
            let source = Source { node, here, at: scan.next, before: scan.digest };
            let page = match source.page().await? {
                Some(page) => page,
                // Nobody holds it. What was looked at before is a segment, what can be had next another one's beginning.
                None if !scan.is_empty() => return Ok(Some((scan, Sequence(scan.next.0 - 1)))),
                None => match source.oldest_after().await? {
                    Some(oldest) => {
                        scan = Scan::new(oldest, None, self.options.rule);
                        continue;
                    }
                    None => break,
                },
            };
            for transition in page {
                let ends = scan.cut.add(&transition);
                if ends == Ends::Before {
                    return Ok(Some((scan, Sequence(scan.next.0 - 1))));
                }
                (scan.next, scan.digest) = (transition.sequence.next(), Some(transition.digest));
                if ends == Ends::With {
                    return Ok(Some((scan, transition.sequence)));
                }
            }
        }
        self.scan = Some(scan);
        let is_old =
            || scan.cut.over_at().is_some_and(|over| node.runtime().wall_millis() >= over + GRACE_MILLIS);
        let is_over = !scan.is_empty() && (rest || is_old());
        Ok(is_over.then(|| (scan, Sequence(scan.next.0 - 1))))
    }

    /// A segment that goes on where the archive ends.
    fn begin(&self) -> Scan {
        let (first, before) = match self.reached.tail {
            Some(tail) => (tail.last.next(), Some(tail.digest)),
            // One that was imported begins with another community's history: then nothing is known before it.
            None => (Sequence(1), None),
        };
        Scan::new(first, before, self.options.rule)
    }

    /// Reads the segment again, and makes it.
    async fn make(
        &self,
        node: &Node,
        here: &Community,
        scan: Scan,
        last: Sequence,
    ) -> Result<(SegmentHeader, Finished), Trouble> {
        let Reached { tail: previous, missing, .. } = self.reached;
        let wanted = previous.map_or(Sequence(1), |tail| tail.last.next());
        let mut header = SegmentHeader {
            cluster: self.cluster.clone(),
            community: self.community,
            name: self.name.clone(),
            first: scan.first,
            before: scan.before,
            previous,
            missing: missing + (scan.first.0 - wanted.0),
        };
        let mut writer = None;
        let (mut at, mut before) = (scan.first, scan.before);
        while at <= last {
            let source = Source { node, here, at, before };
            let gone = || Trouble::History(format!("transition {at} was held a moment ago"));
            let page = source.page().await?.ok_or_else(gone)?;
            for transition in page.into_iter().take_while(|transition| transition.sequence <= last) {
                let writer = writer.get_or_insert_with(|| {
                    let start = digest::start(self.community);
                    let begins = transition.sequence.0 == 1;
                    if begins && digest::step(start, &transition) == transition.digest {
                        header.before = Some(start);
                    }
                    SegmentWriter::new(&header)
                });
                (at, before) = (transition.sequence.next(), Some(transition.digest));
                writer.add(transition).map_err(|misfit| Trouble::Parts { misfit })?;
            }
        }
        let finished = writer.and_then(SegmentWriter::finish);
        let finished =
            finished.ok_or_else(|| Trouble::Host("a segment without transitions was due".to_owned()))?;
        Ok((header, finished))
    }
}

/// Where the segments of a folder end, and the newest one's header. Those at the end that are damaged are set aside.
fn end(segments: &Segments, community: CommunityId) -> io::Result<(Reached, Option<SegmentHeader>)> {
    segments.open()?;
    let mut stored = segments.list()?;
    while let Some(newest) = stored.last().copied() {
        match Segment::read(&segments.read(newest.first)?) {
            Ok(segment) => {
                let (count, bytes) = (stored.len() as u64, stored.iter().map(|stored| stored.bytes).sum());
                let Segment { header, tail, .. } = segment;
                let reached = Reached { tail: Some(tail), missing: header.missing, count, bytes };
                return Ok((reached, Some(header)));
            }
            Err(error @ althing_core::segment::SegmentError::Newer { .. }) => {
                return Err(io::Error::other(error));
            }
            Err(error) => {
                let aside = segments.set_aside(newest.first)?;
                tracing::error!(
                    %community, first = %newest.first, %error, %aside,
                    "the newest segment of the archive is damaged: it is set aside, and written again from history"
                );
                stored.pop();
            }
        }
    }
    Ok((Reached::default(), None))
}
