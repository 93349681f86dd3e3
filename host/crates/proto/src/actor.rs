//! [`Actor`] on the wire.

use crate::{Malformed, present, v1};
use althing_core::{
    actor::Actor,
    limits::{ACTOR_ID_BYTES_MAX, ACTOR_ROLES_MAX},
};

impl From<Actor> for v1::Actor {
    fn from(actor: Actor) -> Self {
        Self { id: actor.id, roles: actor.roles }
    }
}

impl TryFrom<v1::Actor> for Actor {
    type Error = Malformed;

    /// Sorts the roles; refuses duplicates and what is too long or too many.
    fn try_from(actor: v1::Actor) -> Result<Self, Malformed> {
        let v1::Actor { id, mut roles } = actor;
        if id.len() > ACTOR_ID_BYTES_MAX {
            let why = format!("has {} bytes, at most {ACTOR_ID_BYTES_MAX} are allowed", id.len());
            return Err(Malformed::new("actor.id", why));
        }
        if roles.len() > ACTOR_ROLES_MAX {
            let why = format!("has {} entries, at most {ACTOR_ROLES_MAX} are allowed", roles.len());
            return Err(Malformed::new("actor.roles", why));
        }
        roles.sort_unstable();
        if let Some(twice) = roles.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Malformed::new("actor.roles", format!("names {:?} twice", twice[0])));
        }
        for role in &roles {
            if role.is_empty() || role.len() > ACTOR_ID_BYTES_MAX {
                let why =
                    format!("has a role of {} bytes, 1 to {ACTOR_ID_BYTES_MAX} are allowed", role.len());
                return Err(Malformed::new("actor.roles", why));
            }
        }
        Ok(Self { id, roles })
    }
}

/// The actor of a request: there, and not the nameless one, which is the host itself.
///
/// # Errors
/// It is missing, nameless or malformed.
pub fn client(actor: Option<v1::Actor>) -> Result<Actor, Malformed> {
    let actor = Actor::try_from(present("actor", actor)?)?;
    if actor.id.is_empty() {
        return Err(Malformed::new("actor.id", "is empty: say who asks"));
    }
    Ok(actor)
}
