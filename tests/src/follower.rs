//! A subscriber that notes everything it is told. The client checks that it is told every sequence
//! once and in order; an error of the subscription is noted too.

use crate::wait::eventually;
use althing_client::{Community, SubscribeError};
use althing_core::{ids::Sequence, transition::Transition};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// The subscriber; it goes with the handle.
#[derive(Debug)]
pub struct Follower {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    transitions: Vec<Transition>,
    error: Option<SubscribeError>,
}

impl Follower {
    /// Follows a community from `from` on.
    ///
    /// # Panics
    /// When there is no such community.
    pub async fn start(community: Community, from: Sequence) -> Self {
        let mut subscription = community.subscribe(from).await.expect("the community can be followed");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                match subscription.next().await {
                    Ok(transition) => lock(&noted).transitions.push(transition),
                    Err(error) => {
                        lock(&noted).error = Some(error);
                        return;
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// Waits until it has been told of something.
    ///
    /// # Panics
    /// When the subscription fails first.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Transition) -> bool) -> Transition {
        eventually(&format!("the subscriber is told of {what}"), async || {
            let seen = lock(&self.seen);
            assert!(seen.error.is_none(), "the subscription failed: {:?}", seen.error);
            seen.transitions.iter().find(|transition| wanted(transition)).cloned()
        })
        .await
    }

    /// Waits until it has been told of a sequence, and gives all it was told up to there.
    pub async fn up_to(&self, sequence: Sequence) -> Vec<Transition> {
        self.until(&format!("sequence {sequence}"), |transition| transition.sequence >= sequence).await;
        let seen = lock(&self.seen);
        seen.transitions.iter().filter(|transition| transition.sequence <= sequence).cloned().collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
