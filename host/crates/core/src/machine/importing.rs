//! Goes on with the history of another community under an id of its own: one transition that no log
//! entry asks for, so that whoever reads the history finds where it comes from.

use super::{verdict::Verdict, work::Work};
use crate::{
    batch::ProgramManifest,
    ids::CommunityId,
    origin::Origin,
    program::{Fault, Program, Programs},
    time::Timestamp,
    transition::{Cause, Transition},
    view::View,
};
use bytes::Bytes;

/// No guest is asked.
struct Nobody;

impl Programs for Nobody {
    fn load(&mut self, _manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        Err(Fault::new("an import runs no program: this is a bug"))
    }
}

/// The view after it, and the transition. Its time is the next there is: nobody's clock is asked.
pub(super) fn import(view: View, community: CommunityId, origin: Origin) -> (View, Transition) {
    let mut nobody = Nobody;
    let mut work = Work::begin(view, None, Timestamp::default(), &mut nobody);
    work.view.header.community = community;
    work.record(Cause::Import(origin), Verdict::accepted(Bytes::new()));
    let mut finished = work.finish();
    let transition = finished.transitions.pop().expect("it was just recorded");
    (finished.view, transition)
}
