//! What each code means and what to do about it: for the command line and for
//! `docs/reference/errors.md`, which a test keeps in step.

use althing_core::refusal::Code;

/// A code for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What happened.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// What `code` means and what to do about it.
#[must_use]
pub const fn advice(code: Code) -> Advice {
    match code {
        Code::BadRequest
        | Code::TooLarge
        | Code::BadPolicy
        | Code::BadConfig
        | Code::BadComponent
        | Code::NoComponent => of_content(code),
        Code::NoCommunity
        | Code::CommunityExists
        | Code::NoNode
        | Code::NoReplica
        | Code::NoProgram
        | Code::NotHeld
        | Code::MembersChanging
        | Code::BadMembers
        | Code::NoSnapshot
        | Code::SnapshotNeeded => of_things(code),
        Code::NoSession
        | Code::Acknowledged
        | Code::Mismatch
        | Code::WindowFull
        | Code::OutOfOrder
        | Code::BatchFull
        | Code::TooManySessions => of_sessions(code),
        Code::HistoryGone | Code::TooSlow | Code::NotReached => of_reading(code),
        Code::ReplicaStopped
        | Code::NoLeader
        | Code::UnknownOutcome
        | Code::Busy
        | Code::NoSpace
        | Code::ShuttingDown
        | Code::TimedOut
        | Code::Internal => of_the_moment(code),
    }
}

const fn say(meaning: &'static str, remedy: &'static str) -> Advice {
    Advice { meaning, remedy }
}

/// What was sent is wrong.
const fn of_content(code: Code) -> Advice {
    match code {
        Code::TooLarge => say(
            "Something is larger than the community allows.",
            "Send less, or raise the quota in the community's policy.",
        ),
        Code::BadPolicy => say(
            "A value of the policy is out of the host's bounds.",
            "Choose a value inside the bounds named.",
        ),
        Code::BadConfig => say(
            "The program needs another configuration.",
            "Look at the configuration's schema (`althing program show`) and install it again.",
        ),
        Code::BadComponent => say(
            "The component is not one this host runs.",
            "Build it with `althing build`; the message names what is not allowed.",
        ),
        Code::NoComponent => say("No node has the component.", "Upload it, then activate."),
        _ => say("The request itself is malformed.", "Correct the field that the message names."),
    }
}

/// What was named is not there, or not so.
const fn of_things(code: Code) -> Advice {
    match code {
        Code::CommunityExists => say("The name is taken.", "Choose another name."),
        Code::NoNode => say("No node has that id.", "`althing status` lists the nodes."),
        Code::NoReplica => {
            say("The community has no such replica.", "`althing community show` lists its replicas.")
        }
        Code::NoProgram => {
            say("The community runs no program yet.", "`althing program install` gives it one.")
        }
        Code::NotHeld => say(
            "Not enough voters hold and have compiled the component yet.",
            "Retry; if it stays so, `althing status` tells which voters are away.",
        ),
        Code::MembersChanging => say("A change of members is under way.", "Retry when it is done."),
        Code::BadMembers => say("The change of members makes no sense.", "The message says why."),
        Code::NoSnapshot => say(
            "The node that was asked has no such snapshot of the community.",
            "`althing snapshot list` lists those of the node it asks; each node cuts its own.",
        ),
        Code::SnapshotNeeded => say(
            "The snapshot is pinned, or a restart of the node needs it.",
            "`althing snapshot unpin`, or `althing snapshot create` and delete it when two newer ones are there.",
        ),
        _ => say("No community has that name or id.", "`althing community list` lists them."),
    }
}

/// The session's numbering says no.
const fn of_sessions(code: Code) -> Advice {
    match code {
        Code::Acknowledged => say(
            "The number is acknowledged already: it was answered, and the answer is forgotten.",
            "Use a new number.",
        ),
        Code::Mismatch => say("The number was used for another operation.", "Use a new number."),
        Code::WindowFull => say("Too many answers are unacknowledged.", "Acknowledge some, then retry."),
        Code::OutOfOrder => say(
            "The operation that it comes after has not been executed.",
            "Submit that one first, then retry with the same number.",
        ),
        Code::BatchFull => {
            say("The batch's fuel was used up before its turn.", "Retry with the same number.")
        }
        Code::TooManySessions => {
            say("As many sessions are open as may be.", "Retry when one has expired, or use sessions longer.")
        }
        _ => say(
            "The session has expired or was never opened.",
            "Open a new one, and find out what became of unanswered operations before submitting them again.",
        ),
    }
}

/// What was to be read is not there.
const fn of_reading(code: Code) -> Advice {
    match code {
        Code::TooSlow => say(
            "The subscriber was too slow and was cut.",
            "Subscribe again from the sequence after the last one seen.",
        ),
        Code::NotReached => {
            say("The answering node has not reached the sequence asked for.", "Retry, or ask another node.")
        }
        _ => say(
            "The transitions asked for are no longer held.",
            "Begin at the oldest sequence held, which the message names.",
        ),
    }
}

/// The house is not able to, now.
const fn of_the_moment(code: Code) -> Advice {
    match code {
        Code::ReplicaStopped => say(
            "The community's replica on this node has stopped.",
            "Ask another node; `althing status` says why it stopped.",
        ),
        Code::NoLeader => say(
            "Nobody leads the community at the moment, or the leader reaches no quorum.",
            "Retry; if it stays so, too few voters are up.",
        ),
        Code::UnknownOutcome => say(
            "Leadership moved or a connection broke while the request was under way: it may have been executed.",
            "Submit it again with the same session and number: it is answered, not executed twice.",
        ),
        Code::Busy => say("As much is waiting as may wait.", "Retry a little later."),
        Code::NoSpace => say(
            "The disk of the node that leads the community is nearly full; nothing was executed.",
            "Make room on that disk, or move leadership to a node that has room (`althing member transfer`). Then retry.",
        ),
        Code::ShuttingDown => say("The node is shutting down.", "Ask another node."),
        Code::TimedOut => say(
            "The request took longer than it may: it may have been executed.",
            "Submit it again with the same session and number: it is answered, not executed twice.",
        ),
        _ => say(
            "A fault of the host; the request may have been executed.",
            "Look at the node's log. Submit it again with the same session and number if you must know.",
        ),
    }
}
