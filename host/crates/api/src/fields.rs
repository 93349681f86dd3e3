//! Fields of requests that no domain type has a conversion for.

use althing_core::{
    batch::ValidatorManifest,
    ids::NodeId,
    limits::{COMMUNITY_NAME_BYTES_MAX, CONFIG_BYTES_MAX, SCAN_PAIRS_MAX},
    refusal::{Code, Refusal},
};
use althing_node::{Consistency, HOLD_PATIENCE, Placement, Timing};
use althing_proto::{Malformed, hash, v1};
use std::time::Duration;

/// The longest that an activation may be asked to wait.
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// A community's name or id, of a sane length.
pub(crate) fn community(name: String) -> Result<String, Malformed> {
    match name.len() {
        0 => Err(Malformed::new("community", "is empty: name the community, or give its id")),
        1..=COMMUNITY_NAME_BYTES_MAX => Ok(name),
        bytes => {
            let why = format!("has {bytes} bytes, names have {COMMUNITY_NAME_BYTES_MAX} at most");
            Err(Malformed::new("community", why))
        }
    }
}

/// Something of a bounded size.
pub(crate) fn sized(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Refusal> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("{what} has {bytes} bytes, this host takes {bytes_max} at most");
    Err(Refusal::new(Code::TooLarge, message).with("bytes", bytes).with("bytes_max", bytes_max))
}

/// The size of a page; 0: as large as may be.
pub(crate) fn limit(limit: u32) -> Result<u32, Malformed> {
    match limit {
        0 => Ok(SCAN_PAIRS_MAX),
        1..=SCAN_PAIRS_MAX => Ok(limit),
        _ => Err(Malformed::new("limit", format!("is {limit}, at most {SCAN_PAIRS_MAX} are given at once"))),
    }
}

/// How fresh an answer must be.
pub(crate) fn consistency(consistency: Option<v1::Consistency>) -> Result<Consistency, Malformed> {
    Ok(match consistency.try_into()? {
        althing_proto::Consistency::Linearizable => Consistency::Linearizable,
        althing_proto::Consistency::AtLeast(sequence) => Consistency::AtLeast(sequence),
        althing_proto::Consistency::Local => Consistency::Local,
    })
}

/// A node that has to be named.
pub(crate) fn node(node: u64) -> Result<NodeId, Malformed> {
    match node {
        0 => Err(Malformed::new("node", "is 0: name the node, they are numbered from 1")),
        node => Ok(NodeId(node)),
    }
}

/// Where a new community shall live.
pub(crate) fn placement(voters: u32, nodes: Vec<u64>) -> Result<Placement, Malformed> {
    match (voters, nodes.is_empty()) {
        (0, true) => Ok(Placement::Default),
        (voters, true) => Ok(Placement::Count(voters as usize)),
        (0, false) => Ok(Placement::Nodes(nodes.into_iter().map(NodeId).collect())),
        _ => Err(Malformed::new("voters", "is given together with `nodes`: give one of the two")),
    }
}

/// How patient a new community is.
pub(crate) fn timing(name: &str) -> Result<Timing, Malformed> {
    match name {
        "" | "lan" => Ok(Timing::LAN),
        "wan" => Ok(Timing::WAN),
        _ => Err(Malformed::new("timing", "is neither `lan` nor `wan`")),
    }
}

/// How long an activation may wait.
pub(crate) fn patience(millis: u64) -> Result<Duration, Malformed> {
    match Duration::from_millis(millis) {
        Duration::ZERO => Ok(HOLD_PATIENCE),
        patience if patience <= PATIENCE_MAX => Ok(patience),
        _ => {
            let why = format!("is {millis}, at most {} may be waited", PATIENCE_MAX.as_millis());
            Err(Malformed::new("timeout_millis", why))
        }
    }
}

/// The validators of a program, in order.
pub(crate) fn validators(specs: Vec<v1::ValidatorSpec>) -> Result<Vec<ValidatorManifest>, Refusal> {
    let read = |v1::ValidatorSpec { component, config }: v1::ValidatorSpec| {
        sized("validators.config", config.len(), CONFIG_BYTES_MAX)?;
        Ok(ValidatorManifest { component: hash("validators.component", &component)?, config })
    };
    specs.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::{community, limit, patience, placement, timing};
    use althing_core::ids::NodeId;
    use althing_node::{HOLD_PATIENCE, Placement, Timing};

    #[test]
    fn a_community_has_to_be_named_in_bounds() {
        assert_eq!(community("hall".to_owned()).unwrap(), "hall");
        assert_eq!(community(String::new()).unwrap_err().field, "community");
        assert_eq!(community("a".repeat(65)).unwrap_err().field, "community");
    }

    #[test]
    fn zero_means_what_is_usual_and_too_much_is_refused() {
        assert_eq!(limit(0).unwrap(), 1024);
        assert_eq!(limit(7).unwrap(), 7);
        assert_eq!(limit(1025).unwrap_err().field, "limit");
        assert_eq!(patience(0).unwrap(), HOLD_PATIENCE);
        assert_eq!(patience(600_001).unwrap_err().field, "timeout_millis");
    }

    #[test]
    fn a_place_is_a_number_or_nodes_but_not_both() {
        assert_eq!(placement(0, vec![]).unwrap(), Placement::Default);
        assert_eq!(placement(3, vec![]).unwrap(), Placement::Count(3));
        assert_eq!(placement(0, vec![2]).unwrap(), Placement::Nodes(vec![NodeId(2)]));
        assert_eq!(placement(1, vec![2]).unwrap_err().field, "voters");
    }

    #[test]
    fn timing_is_lan_unless_said_otherwise() {
        assert_eq!(timing("").unwrap(), Timing::LAN);
        assert_eq!(timing("wan").unwrap(), Timing::WAN);
        assert_eq!(timing("moon").unwrap_err().field, "timing");
    }
}
