//! `althing export`: a community as one file, to be verified anywhere.

use crate::{
    context::Context,
    failure::Usage,
    progress::working,
    show::export::{Exported, Lines},
};
use althing_client::{Admin, CallError};
use althing_core::{
    codec,
    ids::Sequence,
    portable::{End, Kind, Part},
    refusal::Code,
    transition::Transition,
};
use althing_store::portable::Writer;
use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, ValueEnum};
use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  althing export roster roster.althing                 while the community goes on
  althing export roster roster.althing --server 127.0.0.1:7412
  althing verify roster.althing                        anywhere, offline
  althing export roster roster.txt --format text       a line for each transition that is held";

/// Transitions of one request.
const PAGE: u32 = 256;

/// Writes a community to one portable file, from a node with a replica, while it goes on.
///
/// The file holds the newest snapshot, the log above it with what it did, and every component that is
/// needed to execute it again. It has its name only when it is whole.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// The community, by name or id.
    community: String,
    /// The file to write; it must not be there yet.
    file: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Portable)]
    format: Format,
    /// The first sequence of a text; 0: the oldest held.
    #[arg(long, default_value_t = 0, value_name = "SEQUENCE")]
    from: u64,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A file for `althing verify`.
    Portable,
    /// A line for each transition: its sequence, a space, and its record in base64.
    Text,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.format {
            Format::Text => self.write_text(context).await,
            Format::Portable if self.from != 0 => {
                Err(Usage("--from is for `--format text`: a portable file begins with a snapshot".into())
                    .into())
            }
            Format::Portable => {
                let exported = to_file(context, &self.community, &self.file).await?;
                Ok(context.print(&exported)?)
            }
        }
    }

    async fn write_text(self, context: &Context) -> anyhow::Result<()> {
        if self.file.exists() {
            return Err(
                Usage(format!("{} is there already: choose another name", self.file.display())).into()
            );
        }
        let community = context.client().await?.community(self.community.clone());
        let mut lines = LinesWriter::create(&self.file)?;
        let bar = working(format!("exporting {}", self.community));
        let (mut from, mut first) = (Sequence(self.from), None);
        // Up to where the community is when it begins: a busy one would never end.
        let mut newest = None;
        loop {
            let page = community.history(from, PAGE).await?;
            let newest = *newest.get_or_insert(page.newest);
            let within = page.transitions.iter().take_while(|transition| transition.sequence <= newest);
            for transition in within {
                first.get_or_insert(transition.sequence);
                lines.add(transition)?;
            }
            bar.set_message(format!("exporting {}: {from} of {newest}", self.community));
            match page.transitions.last().map(|transition| transition.sequence) {
                Some(last) if last < newest => from = last.next(),
                _ => break,
            }
        }
        let (count, last) = lines.finish(&self.file)?;
        bar.finish_and_clear();
        let first = first.unwrap_or_default().0;
        let file = self.file.display().to_string();
        Ok(context.print(&Lines { file, lines: count, first, last: last.0 })?)
    }
}

/// Writes a community to a portable file.
pub(super) async fn to_file(context: &Context, community: &str, path: &Path) -> anyhow::Result<Exported> {
    let mut writer = Writer::create(path).await?;
    let (mut export, first) = begin(context, community).await?;
    let bar = working(format!("exporting {community}"));
    let mut bytes = 0;
    let mut add = async |part: &Part, writer: &mut Writer| {
        bytes += part.body.len() as u64;
        bar.set_message(format!("exporting {community}: {part}, {bytes} bytes"));
        writer.add(part.kind.text(), &part.name, &part.body).await
    };
    add(&first, &mut writer).await?;
    let mut end = None;
    while let Some(part) = export.next().await.context("the export broke off; nothing was written")? {
        add(&part, &mut writer).await?;
        if part.kind == Kind::End {
            end = Some(codec::decode::<End>(&part.body)?);
        }
    }
    let end = end.context("the export has no end")?;
    let seal = writer.finish().await?;
    bar.finish_and_clear();
    let bytes = fs::metadata(path).map_or(bytes, |file| file.len());
    Ok(Exported::new(path.display().to_string(), bytes, end, seal))
}

/// The export and its first part, from the first of the servers that has a replica.
async fn begin(context: &Context, community: &str) -> anyhow::Result<(althing_client::Export, Part)> {
    let mut last = None;
    for server in &context.global.server {
        let Ok(client) = context.client_of(vec![server.clone()]).await else { continue };
        match first(&client.admin(), community).await {
            Ok(begun) => return Ok(begun),
            Err(error) => last = Some(error),
        }
        if !last.as_ref().is_some_and(is_of_this_node) {
            break;
        }
    }
    match last {
        Some(error) => Err(error.into()),
        // None answered: the error that says so.
        None => Ok(first(&context.client().await?.admin(), community).await?),
    }
}

async fn first(admin: &Admin, community: &str) -> Result<(althing_client::Export, Part), CallError> {
    let mut export = admin.export(community).await?;
    match export.next().await? {
        Some(part) => Ok((export, part)),
        None => unreachable!("an export ends with a part"),
    }
}

/// Whether another node may do better.
fn is_of_this_node(error: &CallError) -> bool {
    matches!(
        error.code(),
        None | Some(Code::NoReplica | Code::ReplicaStopped | Code::ShuttingDown | Code::NoComponent)
    )
}

/// Lines on their way, under a temporary name.
struct LinesWriter {
    out: BufWriter<tempfile::NamedTempFile>,
    count: u64,
    last: Sequence,
}

impl LinesWriter {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new().prefix(".export-").tempfile_in(folder);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { out: BufWriter::new(file), count: 0, last: Sequence(0) })
    }

    fn add(&mut self, transition: &Transition) -> anyhow::Result<()> {
        writeln!(self.out, "{}", line(transition))?;
        (self.count, self.last) = (self.count + 1, transition.sequence);
        Ok(())
    }

    fn finish(self, path: &Path) -> anyhow::Result<(u64, Sequence)> {
        let file = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        let file: File = file.persist_noclobber(path)?;
        drop(file);
        Ok((self.count, self.last))
    }
}

/// A transition as a line: it holds its sequence, its time, what was asked and what came of it.
fn line(transition: &Transition) -> String {
    format!("{} {}", transition.sequence, BASE64_STANDARD.encode(codec::encode(transition)))
}

#[cfg(test)]
mod tests {
    use super::line;
    use althing_core::{
        codec,
        ids::{Hash, Sequence},
        time::Timestamp,
        transition::{Cause, Outcome, Transition},
    };
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use bytes::Bytes;

    /// A published format: never edited.
    #[test]
    fn a_line_is_a_sequence_and_a_record() {
        let transition = Transition {
            sequence: Sequence(300),
            time: Timestamp::new(5, 1),
            cause: Cause::SetPolicy,
            outcome: Outcome::Accepted { result: Bytes::from_static(b"r") },
            writes: Vec::new(),
            events: Vec::new(),
            timers: Vec::new(),
            fuel: 9,
            digest: Hash([7; 32]),
        };
        let text = line(&transition);
        let (sequence, record) = text.split_once(' ').unwrap();
        assert_eq!(sequence, "300");
        let bytes = BASE64_STANDARD.decode(record).unwrap();
        assert_eq!(codec::decode::<Transition>(&bytes).unwrap(), transition);
        assert_eq!(text, "300 AawCgYAUBAABcgAAAAkHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==");
    }
}
