//! Changing the directory: the node as a client of the system community.
//!
//! Like any client it has a session there, so that a retry is answered, not executed again. One
//! change at a time for each node: directory changes are rare. A number is taken before it is used:
//! one whose outcome never came is given up by the next one, and cannot take effect after it.

use crate::{
    directory::record::{DirectoryOperation, DirectoryResult},
    node::Node,
    refuse,
};
use althing_core::{
    actor::Actor,
    batch::{Command, OpenSession, Operation},
    codec,
    ids::{CommunityId, OperationNumber, SessionId},
    refusal::{Code, Refusal},
    transition::{Outcome, Rejection},
};
use tokio::sync::Mutex;

/// The node's session; opened when first needed.
#[derive(Default)]
pub(crate) struct Session(Mutex<Option<Open>>);

struct Open {
    session: SessionId,
    next: OperationNumber,
}

impl Node {
    /// Makes a change of the directory and waits for it.
    ///
    /// # Errors
    /// A refusal: the directory's own, or that the system community has no quorum.
    pub(crate) async fn change_directory(
        &self,
        operation: DirectoryOperation,
    ) -> Result<DirectoryResult, Refusal> {
        let payload = codec::encode(&operation);
        let mut open = self.directory_session().0.lock().await;
        loop {
            let current = match &mut *open {
                Some(current) => current,
                none => none.insert(self.open_directory_session().await?),
            };
            let (session, number) = (current.session, current.next);
            current.next = number.next();
            let command = Command::Operation(Operation {
                session,
                number,
                acknowledged: OperationNumber(number.0 - 1),
                after: OperationNumber(0),
                actor: self.directory_actor(),
                payload: payload.clone().into(),
            });
            let submitted = self.command(CommunityId::SYSTEM, command).await;
            match submitted {
                // The session slept too long: nothing was executed under this number.
                Err(refusal) if refusal.code == Code::NoSession => *open = None,
                Err(refusal) => return Err(refusal),
                Ok(submitted) => {
                    drop(open);
                    // Whoever asks this node next finds what was decided here.
                    let decided = submitted.receipt.sequence;
                    self.wait(self.system(), |view, _| view.sequence() >= decided).await;
                    self.reconcile_now().notify_one();
                    return result(submitted.receipt.outcome);
                }
            }
        }
    }

    async fn open_directory_session(&self) -> Result<Open, Refusal> {
        let opening = Command::OpenSession(OpenSession { actor: self.directory_actor() });
        let opened = self.command(CommunityId::SYSTEM, opening).await?;
        Ok(Open { session: SessionId(opened.receipt.sequence.0), next: OperationNumber(1) })
    }

    fn directory_actor(&self) -> Actor {
        Actor { id: format!("node/{}", self.id()), roles: vec!["node".to_owned()] }
    }
}

fn result(outcome: Outcome) -> Result<DirectoryResult, Refusal> {
    match outcome {
        Outcome::Accepted { result } => codec::decode(&result)
            .map_err(|error| refuse::internal("the directory's answer cannot be read", &error)),
        Outcome::Rejected(Rejection { code, message, .. }) => {
            Err(Refusal::new(Code::from_text(&code).unwrap_or(Code::BadRequest), message))
        }
        Outcome::Trapped(trap) => {
            Err(Refusal::new(Code::Internal, format!("the directory failed: {}", trap.message)))
        }
    }
}
