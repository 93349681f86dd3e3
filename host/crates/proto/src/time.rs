//! [`Timestamp`] on the wire.

use crate::{Malformed, v1};
use althing_core::time::Timestamp;

impl From<Timestamp> for v1::Timestamp {
    fn from(time: Timestamp) -> Self {
        Self { millis: time.millis(), counter: time.counter().into() }
    }
}

impl TryFrom<v1::Timestamp> for Timestamp {
    type Error = Malformed;

    fn try_from(time: v1::Timestamp) -> Result<Self, Malformed> {
        let counter = u16::try_from(time.counter)
            .map_err(|_| Malformed::new("time.counter", format!("is {}, at most 65535", time.counter)))?;
        let exact = Self::new(time.millis, counter);
        if exact.millis() != time.millis {
            return Err(Malformed::new("time.millis", format!("is {}, it has 48 bits at most", time.millis)));
        }
        Ok(exact)
    }
}
