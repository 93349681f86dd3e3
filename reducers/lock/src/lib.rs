//! Locks that expire, with a version that fences off whoever held one before.
//!
//! A lock that is acquired is held until it is released or its time is up; the holder renews it to
//! keep it longer. Every grant has a *version*, higher than that of any grant before it: whoever
//! works under the lock shows it to the resource, which refuses lower ones, so a holder that slept
//! through its expiry does no harm. It is the grant's place in the community's history, so nothing
//! has to be kept for locks that nobody holds.
//!
//! State: `hold/LOCK` while a lock is held; one timer for each, named after it.

use althing_guest::prelude::*;
use std::{collections::BTreeMap, ops::Bound, time::Duration};

/// Who holds which lock.
pub const HOLDS: Map<String, Hold> = Map::new("hold");

/// A timer's id has room for it.
const LOCK_BYTES_MAX: usize = 200;
const TTL_MILLIS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// A lock that is held.
#[data]
pub struct Hold {
    /// By whom.
    pub holder: String,
    /// Higher than that of any grant before.
    pub version: u64,
    /// When it expires.
    pub until: Timestamp,
}

/// What a client can do.
#[operation]
pub enum Operation {
    /// Takes a lock that nobody holds.
    Acquire {
        /// The lock, 1 to 200 bytes.
        lock: String,
        /// For how long, in milliseconds; 30 days at most.
        ttl_millis: u64,
    },
    /// Keeps a lock for so long from now on.
    Renew {
        /// The lock.
        lock: String,
        /// The version of the grant.
        version: u64,
        /// For how long, in milliseconds; 30 days at most.
        ttl_millis: u64,
    },
    /// Gives a lock back.
    Release {
        /// The lock.
        lock: String,
        /// The version of the grant.
        version: u64,
    },
}

/// What a client can ask.
#[query]
pub enum Query {
    /// Who holds a lock; `null` when nobody does.
    Hold {
        /// The lock.
        lock: String,
    },
    /// All locks that are held, page by page.
    Holds {
        /// Go on after this lock: the last of the page before.
        #[serde(default)]
        after: Option<String>,
        /// At most so many; 100 unless told, 1000 at most.
        #[serde(default)]
        limit: Option<u32>,
    },
}

/// What is answered.
#[data]
#[serde(untagged)]
pub enum Answer {
    /// To `hold`.
    Hold(Option<Hold>),
    /// To `holds`.
    Holds(BTreeMap<String, Hold>),
}

/// What subscribers are told.
#[event]
pub enum Event {
    /// A lock was taken, or kept longer.
    Granted {
        /// The lock.
        lock: String,
        /// By whom, and until when.
        hold: Hold,
    },
    /// A lock was given back.
    Released {
        /// The lock.
        lock: String,
        /// The version of the grant.
        version: u64,
    },
    /// A lock's time was up.
    Expired {
        /// The lock.
        lock: String,
        /// The version of the grant.
        version: u64,
    },
}

/// What a timer carries: the lock whose time is up.
#[data]
pub struct Expiry {
    lock: String,
}

/// How the lock says no.
#[derive(Debug, PartialEq, Rejection)]
pub enum Refusal {
    /// A name that is empty or too long.
    #[reject("a lock's name has 1 to 200 bytes, this one has {bytes}")]
    BadName {
        /// How many it has.
        bytes: usize,
    },
    /// No time at all, or too long.
    #[reject("ttl_millis is {ttl_millis}, it must be 1 to 2592000000 (30 days)")]
    BadTtl {
        /// What was asked.
        ttl_millis: u64,
    },
    /// Somebody holds it.
    #[reject("{lock:?} is held by {holder:?} until {until}: wait for its release, or until then")]
    Held {
        /// The lock.
        lock: String,
        /// By whom.
        holder: String,
        /// Until when, in milliseconds since 1970.
        until: u64,
    },
    /// Nobody holds it, any longer or at all.
    #[reject("nobody holds {lock:?}, or no longer: acquire it")]
    NotHeld {
        /// The lock.
        lock: String,
    },
    /// Somebody else holds it.
    #[reject("{lock:?} is held by {holder:?}: only the holder may do this")]
    NotTheHolder {
        /// The lock.
        lock: String,
        /// By whom.
        holder: String,
    },
    /// It was granted anew since.
    #[reject("the grant of {lock:?} with version {given} is over: it is held under version {version} now")]
    StaleVersion {
        /// The lock.
        lock: String,
        /// What was shown.
        given: u64,
        /// What is held.
        version: u64,
    },
}

/// The reducer.
pub struct Lock;

#[reducer(scope = "per-batch")]
impl Reducer for Lock {
    type Event = Event;

    fn reduce(cx: &Context, operation: Operation) -> Result<Option<Hold>, Refusal> {
        match operation {
            Operation::Acquire { lock, ttl_millis } => acquire(cx, lock, ttl_millis).map(Some),
            Operation::Renew { lock, version, ttl_millis } => renew(cx, lock, version, ttl_millis).map(Some),
            Operation::Release { lock, version } => release(cx, lock, version).map(|()| None),
        }
    }

    fn query(_: &Context, query: Query) -> Result<Answer, Refusal> {
        Ok(match query {
            Query::Hold { lock } => Answer::Hold(HOLDS.get(&lock)),
            Query::Holds { after, limit } => {
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let limit = limit.unwrap_or(100).clamp(1, 1000) as usize;
                Answer::Holds(HOLDS.range((start, Bound::Unbounded)).take(limit).collect())
            }
        })
    }

    fn on_timer(_: &Context, Expiry { lock }: Expiry) -> Result<(), Refusal> {
        // The timer is set anew with each renewal and taken back with the release, so the hold is
        // the one whose time is up.
        let Some(Hold { version, .. }) = HOLDS.get(&lock) else { return Err(Refusal::NotHeld { lock }) };
        HOLDS.delete(&lock);
        Self::emit(Event::Expired { lock, version });
        Ok(())
    }
}

fn acquire(cx: &Context, lock: String, ttl_millis: u64) -> Result<Hold, Refusal> {
    if lock.is_empty() || lock.len() > LOCK_BYTES_MAX {
        return Err(Refusal::BadName { bytes: lock.len() });
    }
    let until = until(cx, ttl_millis)?;
    if let Some(Hold { holder, until, .. }) = HOLDS.get(&lock) {
        return Err(Refusal::Held { lock, holder, until: until.millis });
    }
    Ok(grant(lock, Hold { holder: cx.actor.id.clone(), version: cx.sequence, until }))
}

fn renew(cx: &Context, lock: String, version: u64, ttl_millis: u64) -> Result<Hold, Refusal> {
    let until = until(cx, ttl_millis)?;
    let hold = held(cx, &lock, version)?;
    Ok(grant(lock, Hold { until, ..hold }))
}

fn release(cx: &Context, lock: String, version: u64) -> Result<(), Refusal> {
    held(cx, &lock, version)?;
    HOLDS.delete(&lock);
    let was_set = Lock::cancel(&lock);
    debug_assert!(was_set, "each hold has its timer");
    Lock::emit(Event::Released { lock, version });
    Ok(())
}

fn grant(lock: String, hold: Hold) -> Hold {
    HOLDS.set(&lock, &hold);
    Lock::schedule(&lock, hold.until, Expiry { lock: lock.clone() });
    Lock::emit(Event::Granted { lock, hold: hold.clone() });
    hold
}

/// The actor's hold of this version.
fn held(cx: &Context, lock: &str, version: u64) -> Result<Hold, Refusal> {
    let lock = lock.to_owned();
    match HOLDS.get(&lock) {
        None => Err(Refusal::NotHeld { lock }),
        Some(Hold { holder, .. }) if holder != cx.actor.id => Err(Refusal::NotTheHolder { lock, holder }),
        Some(hold) if hold.version != version => {
            Err(Refusal::StaleVersion { lock, given: version, version: hold.version })
        }
        Some(hold) => Ok(hold),
    }
}

fn until(cx: &Context, ttl_millis: u64) -> Result<Timestamp, Refusal> {
    if ttl_millis == 0 || ttl_millis > TTL_MILLIS_MAX {
        return Err(Refusal::BadTtl { ttl_millis });
    }
    Ok(cx.time.after(Duration::from_millis(ttl_millis)))
}
