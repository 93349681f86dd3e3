//! `althing submit`: operations, one or many, in order.

use crate::{
    context::Context,
    failure::{ProgramSaidNo, Usage},
    show::outcome::{ReceiptShown, RefusedShown, Said},
};
use althing_client::{Answered, Session};
use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

const EXAMPLES: &str = "\
Examples:
  althing submit counter '{\"op\":\"add\",\"name\":\"a\",\"amount\":1}'
  althing submit roster --file operations.jsonl --quiet --receipts receipts.jsonl
  generate | althing submit ledger - --fail-on-rejection --output json

Many operations go out without waiting in between, and are executed in their order, each once,
whatever happens to nodes on the way.";

/// Submits operations: one as an argument, or a file or stdin with one a line.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Submit {
    /// The community, by name or id.
    community: String,
    /// The operation, in the program's own words, usually JSON; `-` reads them from stdin, one a line.
    #[arg(required_unless_present = "file")]
    operation: Option<String>,
    /// Reads operations from a file, one a line.
    #[arg(long, value_name = "FILE", conflicts_with = "operation")]
    file: Option<PathBuf>,
    /// Fails (exit code 3) if the program rejected, or failed at, any of them.
    #[arg(long)]
    fail_on_rejection: bool,
    /// Writes every answer to a file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// Prints the summary only.
    #[arg(long, short)]
    quiet: bool,
    /// How many may be under way at once.
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
}

/// What became of all of them.
#[derive(Debug, Default, Serialize)]
struct Summary {
    submitted: u64,
    accepted: u64,
    rejected: u64,
    trapped: u64,
    /// Not executed.
    refused: u64,
    /// Executed at an earlier attempt.
    repeated: u64,
    last_sequence: Option<u64>,
    seconds: f64,
    per_second: f64,
}

#[derive(Serialize)]
struct Summarized<'a> {
    summary: &'a Summary,
}

impl fmt::Display for Summarized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { submitted, accepted, rejected, trapped, refused, .. } = self.summary;
        write!(f, "{submitted} submitted: {accepted} accepted, {rejected} rejected, {trapped} trapped")?;
        if *refused > 0 {
            write!(f, ", {refused} refused")?;
        }
        write!(f, "; {:.2} s, {:.0} per second", self.summary.seconds, self.summary.per_second)
    }
}

impl Submit {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let receipts = self.receipts.as_deref().map(Receipts::create).transpose()?;
        let source = self.source()?;
        let session =
            context.client().await?.community(&self.community).open_session(context.actor()).await?;
        let summary = match source {
            Source::One(operation) => self.one(context, &session, operation, receipts).await?,
            Source::Lines(lines, total) => {
                let (summary, outcome) = self.many(context, &session, lines, total, receipts).await?;
                context.print(&Summarized { summary: &summary })?;
                outcome?;
                summary
            }
        };
        if summary.refused > 0 {
            anyhow::bail!("{} of the operations were refused and not executed", summary.refused);
        }
        let no = summary.rejected + summary.trapped;
        if self.fail_on_rejection && no > 0 {
            return Err(
                ProgramSaidNo(format!("{no} of {} operations were not accepted", summary.submitted)).into()
            );
        }
        Ok(())
    }

    fn source(&self) -> anyhow::Result<Source> {
        match (&self.operation, &self.file) {
            (Some(operation), _) if operation != "-" => Ok(Source::One(operation.clone().into())),
            (_, Some(path)) => {
                let unreadable = || Usage(format!("{} cannot be read", path.display()));
                let total = lines_in(path).with_context(unreadable)?;
                let file = tokio::fs::File::from_std(File::open(path).with_context(unreadable)?);
                Ok(Source::Lines(Box::new(tokio::io::BufReader::new(file)), Some(total)))
            }
            _ => Ok(Source::Lines(Box::new(tokio::io::BufReader::new(tokio::io::stdin())), None)),
        }
    }

    async fn one(
        &self,
        context: &Context,
        session: &Session,
        operation: Bytes,
        receipts: Option<Receipts>,
    ) -> anyhow::Result<Summary> {
        let submitted = session.submit(operation).await?;
        let mut summary = Summary::default();
        let answered = Answered { number: submitted.number, answer: Ok(submitted) };
        let told = summary.count(answered);
        if !self.quiet {
            told.print(context)?;
        }
        if let Some(mut receipts) = receipts {
            receipts.write(&told)?;
            receipts.finish()?;
        }
        Ok(summary)
    }

    /// What became of those that were answered, and what went wrong then, if anything.
    async fn many(
        &self,
        context: &Context,
        session: &Session,
        lines: Box<dyn AsyncBufRead + Send + Unpin>,
        total: Option<u64>,
        mut receipts: Option<Receipts>,
    ) -> anyhow::Result<(Summary, anyhow::Result<()>)> {
        let bar = progress(total);
        let failed = Arc::new(Mutex::new(None));
        let mut pipeline = session.pipeline(Box::pin(operations(lines, failed.clone())), self.in_flight);
        let mut summary = Summary::default();
        let began = Instant::now();
        let mut outcome = Ok(());
        while let Some(answered) = pipeline.next().await {
            let told = match answered {
                Ok(answered) => summary.count(answered),
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            };
            if let Some(receipts) = &mut receipts {
                receipts.write(&told)?;
            }
            if !self.quiet {
                bar.suspend(|| told.print(context))?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        summary.took(began.elapsed());
        if let Some(receipts) = receipts {
            receipts.finish()?;
        }
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let failed =
            failed.map(|error| anyhow::Error::from(error).context("the input could not be read to its end"));
        Ok((summary, outcome.and(failed.map_or(Ok(()), Err))))
    }
}

enum Source {
    One(Bytes),
    /// With their number, if it is known.
    Lines(Box<dyn AsyncBufRead + Send + Unpin>, Option<u64>),
}

/// An answer, ready to be shown.
enum Told {
    Executed(ReceiptShown),
    Refused(RefusedShown),
}

impl Told {
    fn print(&self, context: &Context) -> io::Result<()> {
        match self {
            Self::Executed(receipt) => context.print(receipt),
            Self::Refused(refused) => context.print(refused),
        }
    }
}

impl Summary {
    fn took(&mut self, time: Duration) {
        self.seconds = time.as_secs_f64();
        self.per_second = self.submitted as f64 / self.seconds.max(f64::EPSILON);
    }

    fn count(&mut self, answered: Answered) -> Told {
        self.submitted += 1;
        match answered.answer {
            Err(refusal) => {
                self.refused += 1;
                Told::Refused(RefusedShown::new(answered.number, &refusal))
            }
            Ok(submitted) => {
                self.repeated += u64::from(submitted.repeated);
                self.last_sequence = Some(submitted.receipt.sequence.0);
                let shown =
                    ReceiptShown::of_operation(submitted.number, submitted.receipt, submitted.repeated);
                match shown.said {
                    Said::Accepted { .. } => self.accepted += 1,
                    Said::Rejected(_) => self.rejected += 1,
                    Said::Trapped(_) => self.trapped += 1,
                }
                Told::Executed(shown)
            }
        }
    }
}

/// The file of answers.
struct Receipts {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Receipts {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let unwritable = || Usage(format!("{} cannot be written", path.display()));
        let file = BufWriter::new(File::create(path).with_context(unwritable)?);
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(&mut self, told: &Told) -> anyhow::Result<()> {
        let line = match told {
            Told::Executed(receipt) => serde_json::to_string(receipt),
            Told::Refused(refused) => serde_json::to_string(refused),
        }?;
        writeln!(self.file, "{line}").with_context(|| format!("{} cannot be written", self.path.display()))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// The lines that are not blank. A failure ends them and is kept aside: operations before it are
/// submitted all the same.
fn operations(
    lines: Box<dyn AsyncBufRead + Send + Unpin>,
    failed: Arc<Mutex<Option<io::Error>>>,
) -> impl Stream<Item = Bytes> {
    let lines = stream::unfold((lines.lines(), failed), |(mut lines, failed)| async move {
        match lines.next_line().await {
            Ok(line) => Some((line?, (lines, failed))),
            Err(error) => {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    });
    lines.filter_map(async |line| {
        let line = line.trim();
        (!line.is_empty()).then(|| Bytes::copy_from_slice(line.as_bytes()))
    })
}

/// How many lines of a file are not blank.
fn lines_in(path: &Path) -> io::Result<u64> {
    let mut count = 0;
    for line in BufReader::new(File::open(path)?).lines() {
        count += u64::from(!line?.trim().is_empty());
    }
    Ok(count)
}

/// A bar on stderr, if that is a terminal.
fn progress(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{bar:40} {pos}/{len} operations, {per_sec}, {eta} left",
        None => "{spinner} {pos} operations, {per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is sound");
    total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::{Summarized, Summary, operations};
    use futures::StreamExt as _;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn operations_are_the_lines_that_are_not_blank() {
        let failed = Arc::new(Mutex::new(None));
        let lines = Box::new(&b"{\"a\":1}\r\n\n  \n2"[..]);
        let operations: Vec<_> = operations(lines, failed.clone()).collect().await;
        assert_eq!(operations, ["{\"a\":1}", "2"]);
        assert!(failed.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_line_that_is_no_text_ends_the_input_and_is_told() {
        let failed = Arc::new(Mutex::new(None));
        let operations: Vec<_> = operations(Box::new(&b"1\n\xff\n3"[..]), failed.clone()).collect().await;
        assert_eq!(operations, ["1"]);
        assert!(failed.lock().unwrap().is_some());
    }

    #[test]
    fn the_summary_is_one_line_and_one_object() {
        let summary = Summary {
            submitted: 3,
            accepted: 2,
            rejected: 1,
            seconds: 0.5,
            per_second: 6.0,
            ..Summary::default()
        };
        let shown = Summarized { summary: &summary };
        assert_eq!(shown.to_string(), "3 submitted: 2 accepted, 1 rejected, 0 trapped; 0.50 s, 6 per second");
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["summary"]["accepted"], 2);
    }
}
