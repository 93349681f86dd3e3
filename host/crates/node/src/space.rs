//! Room on the disk: looked at often, and kept for what must go on.
//!
//! A log that cannot be written ends its node (nothing is tried again after an error of the disk), so new
//! operations are refused while there is still room for those under way, for snapshots, and for the
//! directory, by which somebody can make room. They are taken again when there is room.

use crate::node::Node;
use althing_core::refusal::{Code, Refusal};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How much room there is where the store lies, in bytes.
pub type FreeBytes = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// What is to be kept free.
#[derive(Clone)]
pub struct Reserve {
    /// Tells how much is free.
    pub free: FreeBytes,
    /// Below so many bytes new operations are refused.
    pub bytes: u64,
}

/// Whether there is room; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Space(Arc<Seen>);

#[derive(Default)]
struct Seen {
    is_low: AtomicBool,
    free: AtomicU64,
    reserve: AtomicU64,
}

impl Space {
    /// Refuses what would take room.
    ///
    /// # Errors
    /// [`Code::NoSpace`].
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if !self.0.is_low.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (free, reserve) = (self.0.free.load(Ordering::Relaxed), self.0.reserve.load(Ordering::Relaxed));
        let message = format!(
            "the disk of the node that leads the community has {} MiB free, and {} MiB are kept for what must go \
             on: make room on it, or move leadership to another node, and retry",
            free >> 20,
            reserve >> 20
        );
        Err(Refusal::new(Code::NoSpace, message).with("free", free).with("reserve", reserve))
    }

    /// How many bytes the disk has beyond what is kept free; none when nobody looks.
    pub(crate) fn left(&self) -> Option<u64> {
        let Seen { free, reserve, .. } = &*self.0;
        let (free, reserve) = (free.load(Ordering::Relaxed), reserve.load(Ordering::Relaxed));
        (free > 0).then(|| free.saturating_sub(reserve))
    }

    /// Refuses what would take so many bytes, unless they can be spared.
    ///
    /// # Errors
    /// [`Code::NoSpace`].
    pub(crate) fn check_for(&self, bytes: u64) -> Result<(), Refusal> {
        self.check()?;
        let (free, reserve) = (self.0.free.load(Ordering::Relaxed), self.0.reserve.load(Ordering::Relaxed));
        // Where nobody looks, nothing is kept.
        if reserve == 0 || free >= reserve.saturating_add(bytes) {
            return Ok(());
        }
        let message = format!(
            "{} MiB are to be stored, the node's disk has {} MiB free, and {} MiB are kept for what must go on: make \
             room on it, and retry",
            bytes.div_ceil(1 << 20),
            free >> 20,
            reserve >> 20
        );
        let refusal = Refusal::new(Code::NoSpace, message).with("bytes", bytes);
        Err(refusal.with("free", free).with("reserve", reserve))
    }

    fn note(&self, free: u64, reserve: u64) {
        let Seen { is_low, free: seen, reserve: kept } = &*self.0;
        seen.store(free, Ordering::Relaxed);
        kept.store(reserve, Ordering::Relaxed);
        // Some more before it is called enough again, or it would come and go.
        let was_low = is_low.load(Ordering::Relaxed);
        let now_low = free < if was_low { reserve + reserve / 8 } else { reserve };
        is_low.store(now_low, Ordering::Relaxed);
        match (was_low, now_low) {
            (false, true) => {
                tracing::error!(free, reserve, "the disk is nearly full: new operations are refused");
            }
            (true, false) => tracing::info!(free, reserve, "there is room on the disk again"),
            _ => {}
        }
    }
}

/// Looks for as long as the node lives.
pub(crate) async fn run(node: Node, reserve: Reserve) {
    let space = node.shared().space.clone();
    loop {
        match (reserve.free)() {
            Ok(free) => {
                metrics::gauge!("althing_disk_free_bytes").set(free as f64);
                space.note(free, reserve.bytes);
            }
            // Whoever cannot look goes on: the disk itself will say no.
            Err(error) => tracing::warn!(%error, "how much room the disk has cannot be seen"),
        }
        node.runtime().sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Space;
    use althing_core::refusal::Code;

    #[test]
    fn room_is_refused_below_the_reserve_and_given_again_well_above_it() {
        let space = Space::default();
        assert!(space.check().is_ok() && space.check_for(1 << 40).is_ok(), "nobody has looked yet");
        for (free, has_room) in [(100, true), (79, false), (85, false), (90, true), (80, true), (0, false)] {
            space.note(free, 80);
            assert_eq!(space.check().is_ok(), has_room, "{free} bytes free");
        }
        space.note(100, 80);
        assert!(space.check_for(20).is_ok());
        let refusal = space.check_for(21).unwrap_err();
        assert_eq!((refusal.code, &refusal.data["bytes"][..]), (Code::NoSpace, "21"));
        space.note(0, 80);
        let refusal = space.check().unwrap_err();
        assert_eq!((refusal.code, &refusal.data["free"][..]), (Code::NoSpace, "0"));
    }

    #[test]
    fn what_is_kept_free_is_not_left_for_others() {
        let space = Space::default();
        assert_eq!(space.left(), None, "nobody has looked yet");
        for (free, left) in [(100, 20), (80, 0), (10, 0)] {
            space.note(free, 80);
            assert_eq!(space.left(), Some(left), "{free} bytes free");
        }
    }
}
