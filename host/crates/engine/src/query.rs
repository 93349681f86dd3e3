//! Questions to a program, beside its operations: read only, each in a fresh instance.

use crate::{
    answer::{Answer, end},
    link::Loaded,
    run::{self, Exports, Lent},
};
use althing_core::{
    overlay::Overlay,
    program::{Context, End, Fault},
};
use std::sync::Arc;

/// A program that can be asked, by any number of guest threads at once.
#[derive(Clone)]
pub struct QueryProgram {
    reducer: Arc<Loaded>,
}

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryEnd {
    /// The answer, a refusal or a trap; none of them is recorded anywhere.
    pub end: End,
    /// Fuel used.
    pub fuel: u64,
}

impl QueryProgram {
    pub(crate) const fn new(reducer: Arc<Loaded>) -> Self {
        Self { reducer }
    }

    /// Asks. `overlay` is made read-only here; what a guest tries to write traps. Call it on a thread
    /// of [`crate::thread::spawn_guest_thread`].
    ///
    /// # Errors
    /// A [`Fault`] of the host: it concerns this query and nothing else.
    pub fn query(
        &self,
        context: &Context,
        question: &[u8],
        overlay: Overlay,
        fuel: u64,
    ) -> Result<QueryEnd, Fault> {
        let Exports::Reducer { query, .. } = self.reducer.linked.exports else {
            return Err(Fault::new(format!("component {} is no reducer", self.reducer.linked.component)));
        };
        let overlay = overlay.read_only();
        let answer_bytes = overlay.quotas().result_bytes;
        let lent = Lent { context, overlay, fuel, validator: None };
        let told = run::context(context);
        let ended =
            run::call::<_, Answer<Vec<u8>>>(&self.reducer.linked, None, lent, query, (&told, question))?;
        Ok(QueryEnd { end: end(ended.answer, answer_bytes, None), fuel: ended.fuel })
    }
}
