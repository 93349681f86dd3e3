//! How what works for a group beside openraft's core ends with it.
//!
//! openraft's shutdown waits for its core only. The state machine, which may be waiting for a
//! component, and a snapshot under construction would go on beside their successors. Each of them
//! holds a [`Life`]; closing breaks off what waits and then waits until all of them are gone.

use futures::{
    FutureExt as _,
    future::{Either, Shared},
};
use std::{io, sync::Mutex};
use tokio::sync::{mpsc, oneshot};

/// Held by whatever must have ended before the group has.
#[derive(Clone)]
pub(crate) struct Life {
    closing: Shared<oneshot::Receiver<()>>,
    _held: mpsc::Sender<()>,
}

/// Ends the lives of a group.
pub(crate) struct Closing(Mutex<Option<(oneshot::Sender<()>, mpsc::Receiver<()>)>>);

/// A life, and what ends it.
pub(crate) fn life() -> (Life, Closing) {
    let (close, closing) = oneshot::channel();
    let (held, all_gone) = mpsc::channel(1);
    let life = Life { closing: closing.shared(), _held: held };
    (life, Closing(Mutex::new(Some((close, all_gone)))))
}

impl Life {
    /// The work's outcome, or an error if the group closes before. The work is dropped then.
    pub(crate) async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> io::Result<T> {
        futures::pin_mut!(work);
        match futures::future::select(work, self.closing.clone()).await {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => Err(io::Error::other("the group closes")),
        }
    }
}

impl Closing {
    /// Breaks off what waits, and returns when no life is left. Later calls return at once.
    pub(crate) async fn close(&self) {
        let ends = self.0.lock().expect("nothing panics while it holds this").take();
        if let Some((close, mut all_gone)) = ends {
            let _ = close.send(());
            // Nothing is ever sent: this ends when the last sender is dropped.
            let _ = all_gone.recv().await;
        }
    }
}
