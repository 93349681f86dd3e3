//! `althing bench`: how many operations a second, and how long each takes.
//!
//! Closed-loop clients: each submits its next operation when it has the answer to the one before (or,
//! pipelined, when fewer than so many are under way). So latencies are those of a system that is not
//! driven beyond what it can do.

mod load;
mod report;

use crate::{arguments::seconds, context::Context};
use althing_client::{Client, Session};
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use load::{Live, Load, Tally};
use report::Report;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

const EXAMPLES: &str = "\
Examples:
  althing bench counter --payload '{\"op\":\"add\",\"name\":\"a\",\"amount\":1}'
  althing bench counter --payload '{\"op\":\"add\",\"name\":\"a\",\"amount\":1}' --clients 256 --seconds 30 --output json
  althing bench counter --payload '{\"op\":\"add\",\"name\":\"{random}\",\"amount\":{n}}' --pipeline

In the payload, {n} becomes the number of the client's operation, {client} the number of the client,
{random} a random number below a million.";

/// Measures throughput and latency of a community's operations.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// The community, by name or id.
    community: String,
    /// The operations.
    #[arg(long, value_name = "TEMPLATE")]
    payload: String,
    /// How many clients, each with a session of its own; 64, or 1 if pipelined.
    #[arg(long, value_name = "N")]
    clients: Option<usize>,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    seconds: Duration,
    /// How long to run before measuring.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    warmup: Duration,
    /// Each client submits without waiting in between.
    #[arg(long)]
    pipeline: bool,
    /// How many operations of a pipeline are under way at once.
    #[arg(long, value_name = "N", default_value_t = 256, requires = "pipeline")]
    in_flight: usize,
    /// How many connections the clients share.
    #[arg(long, value_name = "N", default_value_t = 4)]
    connections: usize,
    /// Connects to all the servers in turn, instead of to the first that answers.
    #[arg(long)]
    spread: bool,
}

impl Bench {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let count = self.clients.unwrap_or(if self.pipeline { 1 } else { 64 }).max(1);
        let sessions = self.sessions(context, count).await?;
        let begin = Instant::now() + self.warmup;
        let live = Arc::new(Live::new(begin, begin + self.seconds));
        let mut clients = JoinSet::new();
        for (client, session) in sessions.into_iter().enumerate() {
            let in_flight = self.pipeline.then_some(self.in_flight);
            let load = Load::new(session, client, self.payload.clone(), Arc::clone(&live));
            clients.spawn(async move {
                match in_flight {
                    None => load.one_by_one().await,
                    Some(in_flight) => load.pipelined(in_flight).await,
                }
            });
        }
        let tally = watch(clients, &live).await?;
        let mode = if self.pipeline { "pipeline" } else { "unary" };
        Ok(context.print(&Report::new(mode, count, self.seconds.min(begin.elapsed()), &tally))?)
    }

    /// A session for each client, over few connections.
    async fn sessions(&self, context: &Context, count: usize) -> anyhow::Result<Vec<Session>> {
        let mut connections: Vec<Client> = Vec::new();
        for place in 0..self.connections.clamp(1, count) {
            let mut addresses = context.global.server.clone();
            if self.spread {
                let places = addresses.len();
                addresses.rotate_left(place % places);
            }
            connections.push(context.client_of(addresses).await?);
        }
        let opening = connections.iter().cycle().take(count).map(|client| {
            let community = client.community(&self.community);
            let actor = context.actor();
            async move { community.open_session(actor).await }
        });
        futures::future::try_join_all(opening).await.context("a client could not open its session")
    }
}

/// Shows how it goes until all clients have ended; adds up what they did.
async fn watch(mut clients: JoinSet<anyhow::Result<Tally>>, live: &Live) -> anyhow::Result<Tally> {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is sound");
    let line = ProgressBar::new_spinner().with_style(style);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut tally = Tally::default();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => tally.add(&ended.context("a client panicked")??),
                None => break,
            },
            _ = &mut interrupted, if !live.is_stopped() => live.stop(),
            _ = tick.tick() => {
                line.set_message(live.line());
                line.tick();
            }
        }
    }
    line.finish_and_clear();
    Ok(tally)
}
