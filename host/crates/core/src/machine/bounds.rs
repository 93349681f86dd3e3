//! Sizes of what commands bring along. The doors check them too; here they are checked so that no
//! log entry, whoever wrote it, makes the state larger than its bounds say.

use crate::{actor::Actor, batch::ProgramManifest, limits, transition::NotExecuted};

/// What is too large about an actor, if anything.
pub(super) fn actor(actor: &Actor) -> Option<NotExecuted> {
    within("the actor's id", actor.id.len(), limits::ACTOR_ID_BYTES_MAX)
        .or_else(|| {
            let longest = actor.roles.iter().map(String::len).max()?;
            within("a role of the actor", longest, limits::ACTOR_ROLE_BYTES_MAX)
        })
        .or_else(|| {
            let room = |roles| roles * limits::ACTOR_ROLE_BYTES_MAX;
            let what = "the list of the actor's roles, 64 bytes for each,";
            within(what, room(actor.roles.len()), room(limits::ACTOR_ROLES_MAX))
        })
}

/// What is too large about a program's manifest, if anything.
pub(super) fn program(program: &ProgramManifest) -> Option<NotExecuted> {
    within("the program's name", program.name.len(), limits::PROGRAM_NAME_BYTES_MAX)
        .or_else(|| within("the program's version", program.version.len(), limits::PROGRAM_VERSION_BYTES_MAX))
        .or_else(|| within("the program's configuration", program.config.len(), limits::CONFIG_BYTES_MAX))
        .or_else(|| {
            let longest = program.validators.iter().map(|validator| validator.config.len()).max()?;
            within("a validator's configuration", longest, limits::CONFIG_BYTES_MAX)
        })
        .or_else(|| {
            let room = |validators| validators * size_of::<crate::ids::Hash>();
            let what = "the list of the program's validators, 32 bytes for each,";
            within(what, room(program.validators.len()), room(limits::VALIDATORS_MAX))
        })
}

/// Whether something is too large.
pub(super) fn within(what: &'static str, bytes: usize, bytes_max: usize) -> Option<NotExecuted> {
    let (bytes, bytes_max) = (bytes as u64, bytes_max as u64);
    (bytes > bytes_max).then_some(NotExecuted::TooLarge { what, bytes, bytes_max })
}

const _: () = assert!(limits::ACTOR_ROLE_BYTES_MAX == 64, "the message above says so");
