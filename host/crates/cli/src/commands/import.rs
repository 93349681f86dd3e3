//! `althing import`: a file that `althing export` has written becomes a community.

use crate::{
    commands::community::Timing, context::Context, failure::Usage, house, progress::working,
    show::import::Imported,
};
use althing_client::{
    Admin, CHUNKS_BYTES_MAX, CHUNKS_MAX, CallError, Client, HISTORY_PAGES_MAX, NewImport, v1,
};
use althing_core::{
    batch::ProgramManifest,
    codec,
    ids::{Hash, NodeId, Sequence},
    origin::Origin,
    portable::{Header, Kind},
    refusal::{Code, Refusal},
    snapshot::{Chunk, ChunkRef, Cutter, Manifest, Piece},
    transition::Transition,
    view::View,
};
use althing_node::{Proof, replay};
use althing_store::portable::{Reader, Stored};
use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  althing import roster.althing                          under the name it was exported by
  althing import roster.althing --name trial             beside the one it was exported from
  althing import roster.althing --nodes 1,2,4

The file is verified first, as `althing verify` does: that is how the state is made that is imported. Nothing
is visible before all is in place; broken off, it can be asked again, and what is there is not sent twice.";

/// A page of history that is larger is not sent, and history begins after it.
const PAGE_BYTES_MAX: usize = 6 << 20;

/// Makes a community of a file that `althing export` has written: the same history, sessions, timers and
/// answers, under an id of its own.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// A file that `althing export` has written.
    file: PathBuf,
    /// The name here; the one it was exported by, if not given.
    #[arg(long)]
    name: Option<String>,
    /// How many voters; as many as there are nodes, at most 3, if not given.
    #[arg(long, conflicts_with = "nodes")]
    voters: Option<u32>,
    /// The nodes to begin on, separated by commas.
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<u64>,
    /// How far apart the nodes are.
    #[arg(long, value_enum, default_value_t = Timing::Lan)]
    timing: Timing,
}

/// A community as it is to be here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// None: as the file says.
    pub(crate) name: Option<String>,
    pub(crate) voters: u32,
    pub(crate) nodes: Vec<NodeId>,
    /// `lan`, `wan` or empty.
    pub(crate) timing: String,
    /// The seal that the file must have, if it is known.
    pub(crate) seal: Option<Hash>,
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let wanted = Wanted {
            name: self.name,
            voters: self.voters.unwrap_or(0),
            nodes: self.nodes.into_iter().map(NodeId).collect(),
            timing: self.timing.text().to_owned(),
            seal: None,
        };
        let imported = import(context, &self.file, wanted).await?;
        Ok(context.print(&imported)?)
    }
}

/// Imports one file; or finds that it was imported before.
pub(crate) async fn import(context: &Context, path: &Path, wanted: Wanted) -> anyhow::Result<Imported> {
    let mut file = Reader::open(path).await?;
    if let Some(seal) = wanted.seal.filter(|&seal| seal != file.seal()) {
        let what = format!(
            "{} has the seal {}, and should have {seal}: it is another file",
            path.display(),
            file.seal()
        );
        return Err(anyhow::anyhow!(what));
    }
    let bar = working(format!("{}: reading", path.display()));
    let imported = Importing { context, path, bar: &bar, wanted }.run(&mut file).await;
    bar.finish_and_clear();
    file.close().await;
    imported.with_context(|| format!("{} was not imported", path.display()))
}

/// An import under way.
struct Importing<'a> {
    context: &'a Context,
    path: &'a Path,
    bar: &'a ProgressBar,
    wanted: Wanted,
}

impl Importing<'_> {
    async fn run(self, file: &mut Reader) -> anyhow::Result<Imported> {
        let admin = one_node(self.context).await?.admin();
        // Not trusted yet, only asked about: verifying may take long.
        let name = match &self.wanted.name {
            Some(name) => name.clone(),
            None => header(file).await?.name,
        };
        if let Some(known) = self.known(&admin, &name, file.seal()).await? {
            return Ok(Imported::new(self.path, known, true));
        }
        let (proof, view) = self.verified(file).await?;
        let manifest = self.send_state(&admin, &proof, &view).await?;
        if let Some(program) = &manifest.program {
            self.send_components(&admin, file, program).await?;
        }
        let oldest = view.sequence().0.saturating_sub(view.policy().retention.transitions);
        let (before, history) = self.send_history(&admin, file, Sequence(oldest)).await?;
        let Proof { header, end, seal, .. } = proof;
        let origin = Origin {
            cluster: header.cluster,
            community: header.community,
            name: header.name,
            sequence: end.sequence,
            digest: end.digest,
            seal,
        };
        let Wanted { voters, nodes, timing, .. } = self.wanted.clone();
        let manifest = admin.upload_manifest(&manifest.encode()).await?;
        let import = NewImport { name, voters, nodes, timing, origin, manifest, before, history };
        self.say("the nodes take it in");
        Ok(Imported::new(self.path, admin.import(import).await?, false))
    }

    /// The community of this name, if it was made of this file.
    async fn known(
        &self,
        admin: &Admin,
        name: &str,
        seal: Hash,
    ) -> anyhow::Result<Option<v1::CommunityInfo>> {
        let known = match admin.inspect(name).await {
            Ok(told) => told.community.unwrap_or_default(),
            Err(error) if error.code() == Some(Code::NoCommunity) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if known.origin.as_ref().is_some_and(|origin| origin.seal == seal.0.as_slice()) {
            return Ok(Some(known));
        }
        let message = format!("there is a community {name:?} already: choose another with --name");
        Err(CallError::Refused(Refusal::new(Code::CommunityExists, message)).into())
    }

    /// Checks every hash and executes the log again: what is imported is what came of that.
    async fn verified(&self, file: &mut Reader) -> anyhow::Result<(Proof, View)> {
        let compiled = tempfile::tempdir().context("there is no place for compiled components")?;
        let engine = house::engine(compiled.path().to_owned())?;
        let say = |progress| self.say(super::verify::said(progress));
        replay(file, &engine, say).await.context("it is not proven")
    }

    /// Sends the state's chunks, as far as they are not there; its manifest.
    async fn send_state(&self, admin: &Admin, proof: &Proof, view: &View) -> anyhow::Result<Manifest> {
        let mut references = Vec::new();
        let mut parcel = Parcel::default();
        for piece in Cutter::new(view.state().clone(), None) {
            let Piece::New(chunk) = piece else { unreachable!("there was no cut before") };
            references.push(chunk.reference());
            if let Some(full) = parcel.add(chunk) {
                self.say(format!("sending the state: {} chunks", references.len()));
                send(admin, full).await?;
            }
        }
        send(admin, parcel.chunks).await?;
        let fingerprint = Some(proof.header.fingerprint);
        Ok(Manifest { fingerprint, ..Manifest::of(view, references) })
    }

    async fn send_components(
        &self,
        admin: &Admin,
        file: &mut Reader,
        program: &ProgramManifest,
    ) -> anyhow::Result<()> {
        let mut wanted: BTreeSet<String> =
            program.components().map(|component| component.to_string()).collect();
        let mut after = 0;
        while let Some(part) = file.next(Kind::Component.text(), after).await? {
            after = part.place;
            if wanted.remove(&part.name) {
                self.say(format!("sending and compiling component {}", part.name));
                admin.upload_component(part.body).await?;
            }
        }
        match wanted.first() {
            Some(missing) => {
                Err(anyhow::anyhow!("component {missing}, which the community runs, is not in the file"))
            }
            None => Ok(()),
        }
    }

    /// Sends the transitions above `oldest`, page by page; the digest before the first, and the pages.
    async fn send_history(
        &self,
        admin: &Admin,
        file: &mut Reader,
        oldest: Sequence,
    ) -> anyhow::Result<(Hash, Vec<ChunkRef>)> {
        let manifest = file.next(Kind::Manifest.text(), 0).await?.context("the file has no manifest")?;
        let mut before = Manifest::decode(&manifest.body)?.digest;
        let (mut pages, mut parcel, mut after) = (Pages::default(), Parcel::default(), 0);
        while let Some(Stored { place, body, .. }) = file.next(Kind::Transitions.text(), after).await? {
            after = place;
            let transitions: Vec<Transition> = codec::decode(&body)?;
            let Some(last) = transitions.last() else { continue };
            if last.sequence <= oldest || body.len() > PAGE_BYTES_MAX {
                // The history begins after these.
                (before, pages, parcel) = (last.digest, Pages::default(), Parcel::default());
                continue;
            }
            let page = Chunk::of(body);
            before = pages.add(page.reference(), last.digest).unwrap_or(before);
            if let Some(full) = parcel.add(page) {
                self.say(format!("sending the history: up to {}", last.sequence));
                send(admin, full).await?;
            }
        }
        send(admin, parcel.chunks).await?;
        Ok((before, pages.0.into_iter().map(|(page, _)| page).collect()))
    }

    fn say(&self, what: impl AsRef<str>) {
        self.bar.set_message(format!("{}: {}", self.path.display(), what.as_ref()));
    }
}

/// The newest pages of history, each with the digest after it.
#[derive(Default)]
struct Pages(VecDeque<(ChunkRef, Hash)>);

impl Pages {
    /// Adds a page; the digest after the oldest, when that has to go for it.
    fn add(&mut self, page: ChunkRef, after: Hash) -> Option<Hash> {
        self.0.push_back((page, after));
        let gone = self.0.len() > HISTORY_PAGES_MAX;
        gone.then(|| self.0.pop_front()).flatten().map(|(_, after)| after)
    }
}

/// Chunks that are sent together.
#[derive(Default)]
struct Parcel {
    chunks: Vec<Chunk>,
    bytes: usize,
}

impl Parcel {
    /// Adds a chunk; what was in it before, when the chunk has no room there.
    fn add(&mut self, chunk: Chunk) -> Option<Vec<Chunk>> {
        let is_full = self.chunks.len() == CHUNKS_MAX
            || !self.chunks.is_empty() && self.bytes + chunk.bytes.len() > CHUNKS_BYTES_MAX;
        let full = is_full.then(|| std::mem::take(self).chunks);
        self.bytes += chunk.bytes.len();
        self.chunks.push(chunk);
        full
    }
}

/// Sends chunks that are not there.
async fn send(admin: &Admin, mut chunks: Vec<Chunk>) -> Result<(), CallError> {
    if chunks.is_empty() {
        return Ok(());
    }
    let hashes: Vec<Hash> = chunks.iter().map(|chunk| chunk.hash).collect();
    let missing: BTreeSet<Hash> = admin.missing_chunks(&hashes).await?.into_iter().collect();
    chunks.retain(|chunk| missing.contains(&chunk.hash));
    if chunks.is_empty() { Ok(()) } else { admin.upload_chunks(chunks).await }
}

/// A client of the first server that answers, and of no other: what is sent lies there.
async fn one_node(context: &Context) -> anyhow::Result<Client> {
    let mut last = None;
    for server in &context.global.server {
        match context.client_of(vec![server.clone()]).await {
            Ok(client) => return Ok(client),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => Err(Usage("no server is named: --server says where to look".into()).into()),
    }
}

async fn header(file: &mut Reader) -> anyhow::Result<Header> {
    let part = file.next(Kind::Header.text(), 0).await?.context("the file has no header")?;
    Ok(codec::decode(&part.body)?)
}

#[cfg(test)]
mod tests {
    use super::{CHUNKS_BYTES_MAX, CHUNKS_MAX, HISTORY_PAGES_MAX, Pages, Parcel};
    use althing_core::{ids::Hash, snapshot::Chunk};

    fn chunk(bytes: usize) -> Chunk {
        Chunk::of(vec![1; bytes].into())
    }

    #[test]
    fn a_parcel_is_full_by_number_or_by_size_and_holds_any_one_chunk() {
        let mut parcel = Parcel::default();
        assert!((0..CHUNKS_MAX).all(|_| parcel.add(chunk(1)).is_none()));
        assert_eq!(parcel.add(chunk(1)).map(|full| full.len()), Some(CHUNKS_MAX));
        assert_eq!(parcel.chunks.len(), 1);
        assert_eq!(parcel.add(chunk(CHUNKS_BYTES_MAX)).map(|full| full.len()), Some(1));
        assert_eq!(parcel.add(chunk(1)).map(|full| full.len()), Some(1));
        assert!(parcel.add(chunk(CHUNKS_BYTES_MAX - 1)).is_none(), "to the byte");
    }

    #[test]
    fn of_more_history_than_may_come_along_the_newest_does() {
        let digest = |place: usize| Hash([u8::try_from(place % 251).unwrap(); 32]);
        let mut pages = Pages::default();
        assert!((0..HISTORY_PAGES_MAX).all(|place| pages.add(chunk(1).reference(), digest(place)).is_none()));
        for place in 0..3 {
            let before = pages.add(chunk(2).reference(), Hash([255; 32]));
            assert_eq!((before, pages.0.len()), (Some(digest(place)), HISTORY_PAGES_MAX));
        }
    }
}
