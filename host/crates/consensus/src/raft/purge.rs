//! Purging the log: what a snapshot has taken the place of, but for what an older one may yet need.
//!
//! openraft's own policy knows one snapshot only, so it is off: it would purge what lies between an
//! older snapshot and the newest, and nobody could begin again with the older one when the newest is
//! found damaged.

use super::group::RaftGroup;
use openraft::{AsyncRuntime, async_runtime::WatchReceiver as _};
use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// The last index that no older snapshot needs; what is behind it stays. Nothing may go before the
/// first snapshot has been built. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Floor(Arc<AtomicU64>);

impl Floor {
    pub(crate) fn set(&self, index: u64) {
        self.0.store(index, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Purges whenever openraft has been told of another snapshot, until the group is gone.
pub(super) async fn keep_purging<RT: AsyncRuntime>(group: Weak<RaftGroup<RT>>, cut: Arc<Notify>) {
    loop {
        cut.notified().await;
        let Some(group) = group.upgrade() else { return };
        let snapshot = group.raft.metrics().borrow_watched().snapshot.map_or(0, |snapshot| snapshot.index);
        let upto = group.floor.get().min(snapshot.saturating_sub(group.config.log_kept));
        // What is purged already is overlooked; a core that has stopped needs no purging.
        if upto > 0 && group.raft.trigger().purge_log(upto).await.is_err() {
            return;
        }
    }
}
