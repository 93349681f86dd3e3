//! A component as a community uploads it: it is admitted or refused, with a reason, and what is admitted once is
//! admitted always.

use super::values;
use althing_engine::admission::admit;

pub(super) fn take(bytes: &[u8]) {
    let admitted = admit(bytes);
    assert_eq!(admitted.is_ok(), admit(bytes).is_ok(), "twice is as once");
}

pub(super) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![("reducer", values::component()), ("empty", wat("(component)")), ("core", wat("(module)"))]
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is in order")
}
