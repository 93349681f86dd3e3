//! A state of which a crash keeps a prefix of the changes.
//!
//! Knows nothing of what the state is: only that changes apply to it one after the other.

/// A state that changes one operation at a time.
pub(super) trait Apply<Change> {
    /// Makes one change.
    fn apply(&mut self, change: &Change);
}

/// A state, and what of it is durable.
pub(super) struct Journal<State, Change> {
    live: State,
    /// The state on the imagined disk; none if every change is durable at once.
    durable: Option<State>,
    unsynced: Vec<Change>,
}

impl<State: Apply<Change> + Clone + Default, Change> Journal<State, Change> {
    /// An empty state whose changes are durable at once.
    pub(super) fn immediate() -> Self {
        Self { live: State::default(), durable: None, unsynced: Vec::new() }
    }

    /// An empty state whose changes are durable after [`Journal::sync`].
    pub(super) fn unsynced() -> Self {
        Self { live: State::default(), durable: Some(State::default()), unsynced: Vec::new() }
    }

    /// Whether every change is durable at once.
    pub(super) fn is_immediate(&self) -> bool {
        self.durable.is_none()
    }

    /// The state with every change.
    pub(super) fn live(&self) -> &State {
        &self.live
    }

    /// Makes a change.
    pub(super) fn write(&mut self, change: Change) {
        self.live.apply(&change);
        if self.durable.is_some() {
            self.unsynced.push(change);
        }
    }

    /// Makes every change so far durable; whether there was one.
    pub(super) fn sync(&mut self) -> bool {
        let changed = !self.unsynced.is_empty();
        if let Some(durable) = &mut self.durable {
            self.unsynced.drain(..).for_each(|change| durable.apply(&change));
        }
        changed
    }

    /// What a crash leaves: the durable state and the first `reached` changes that came to the disk
    /// without an fsync, of the same kind.
    pub(super) fn after_crash(&self, reached: usize) -> Self {
        let mut kept = self.durable.as_ref().unwrap_or(&self.live).clone();
        self.unsynced.iter().take(reached).for_each(|change| kept.apply(change));
        let durable = self.durable.as_ref().map(|_| kept.clone());
        Self { live: kept, durable, unsynced: Vec::new() }
    }
}
