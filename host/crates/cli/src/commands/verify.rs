//! `althing verify`: whether an export is what executing it gives, and whether archived history is whole. Needs no
//! node.

use crate::{
    archive::{self, Folder},
    context::Context,
    house,
    progress::working,
    show::export::{Difference, Proven},
};
use althing_node::{Progress, ProofError, prove};
use althing_store::portable::Reader;
use anyhow::Context as _;
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  althing verify roster.althing
  althing verify roster.althing --output json | jq .digest
  althing verify /mnt/archive1                         what `serve --archive` has written, or part of it

Of an export it checks every hash, restores the snapshot, compiles the components, executes every batch above the
snapshot again, and compares each transition with the one recorded. Where they part it says so: the
first sequence, what is recorded, and what came of it.

Of archived history it checks every file and the digest of every transition, from the first to the last, and says what
is damaged, missing or different. It is not executed again: compare a digest with an export's at the same sequence.";

/// Executes an export again, offline, and compares every transition with what is recorded; or checks archived
/// history.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// A file that `althing export` has written, the folder of an archive, one community's folder in it, or a segment.
    file: PathBuf,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if archive::is_archive(&self.file) {
            return check(context, &self.file);
        }
        let mut file = Reader::open(&self.file).await?;
        let compiled = tempfile::tempdir().context("there is no place for compiled components")?;
        let engine = house::engine(compiled.path().to_owned())?;
        let bar = working("reading".to_owned());
        let proven = prove(&mut file, &engine, |progress| bar.set_message(said(progress))).await;
        file.close().await;
        bar.finish_and_clear();
        match proven {
            Ok(proof) => Ok(context.print(&Proven::new(self.file.display().to_string(), proof))?),
            Err(ProofError::Differs { sequence, recorded, executed }) => {
                let told = [&recorded, &executed].map(|transition| transition.as_deref().cloned());
                let [shown_recorded, shown_executed] = told;
                context.print(&Difference::new(sequence.0, shown_recorded, shown_executed))?;
                let error = ProofError::Differs { sequence, recorded, executed };
                Err(anyhow::Error::from(error).context(not_proven(&self.file)))
            }
            Err(error) => Err(anyhow::Error::from(error).context(not_proven(&self.file))),
        }
    }
}

/// Checks archived history, one community after the other.
fn check(context: &Context, path: &Path) -> anyhow::Result<()> {
    let (folders, mut wrong) = (Folder::all(path)?, 0);
    for folder in &folders {
        let bar = working("reading".to_owned());
        let checked = folder.check(|at, of| bar.set_message(format!("checking segment {} of {of}", at + 1)));
        bar.finish_and_clear();
        wrong += usize::from(!checked.verified);
        context.print(&checked)?;
    }
    match wrong {
        0 => Ok(()),
        _ => anyhow::bail!("{}: {wrong} of {} histories are not whole", path.display(), folders.len()),
    }
}

fn not_proven(file: &Path) -> String {
    format!("{} is not proven", file.display())
}

/// How far verifying is, for people.
pub(super) fn said(progress: Progress) -> String {
    match progress {
        Progress::Checked(checked, parts) => format!("checking hashes: {checked} of {parts}"),
        Progress::Restoring => "compiling components and restoring the snapshot".to_owned(),
        Progress::Executed(at, end) => format!("executing: sequence {at} of {end}"),
    }
}
