//! Sets the community's policy, in force from the next command on.

use super::{verdict::Verdict, work::Work};
use crate::{
    header,
    policy::Policy,
    transition::{Cause, NotExecuted, Reply},
};
use bytes::Bytes;
use std::sync::Arc;

pub(super) fn execute(work: &mut Work<'_>, policy: &Policy) -> Reply {
    if let Err(bad) = policy.check() {
        return Reply::NotExecuted(NotExecuted::BadPolicy(bad.to_string()));
    }
    header::write_policy(&mut work.view.state, policy);
    work.view.policy = Arc::new(policy.clone());
    let result = Bytes::copy_from_slice(&policy.hash().0);
    Reply::Done(work.record(Cause::SetPolicy, Verdict::accepted(result)))
}
