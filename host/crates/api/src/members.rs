//! Where replicas live, and nodes that leave: the verbs behind `althing member move`, `althing community
//! set-replicas` and `althing node`.

use crate::{answers, door::Door, fields};
use althing_core::refusal::Refusal;
use althing_node::{Expected, Remaining, Retire};
use althing_proto::{Malformed, v1};

pub(crate) async fn move_replica(
    door: &Door,
    request: v1::MoveReplicaRequest,
) -> Result<v1::MoveReplicaResponse, Refusal> {
    let (from, to) = (fields::node(request.from)?, fields::node(request.to)?);
    let community = fields::community(request.community)?;
    let replica = door.node.move_replica(&community, from, to).await?;
    let voter = door.node.community(&community)?.replicas.get(&replica).is_some_and(|replica| replica.voter);
    let replica = v1::ReplicaInfo { replica: replica.0, node: to.0, voter };
    Ok(v1::MoveReplicaResponse { replica: Some(replica) })
}

pub(crate) async fn set_replicas(
    door: &Door,
    request: v1::SetReplicasRequest,
) -> Result<v1::SetReplicasResponse, Refusal> {
    let community = fields::community(request.community)?;
    let voters = usize::try_from(request.voters).unwrap_or(usize::MAX);
    let record = door.node.set_replicas(&community, voters).await?;
    Ok(v1::SetReplicasResponse { community: Some(answers::community(&door.node, record)) })
}

pub(crate) async fn retire_node(
    door: &Door,
    request: v1::RetireNodeRequest,
) -> Result<v1::RetireNodeResponse, Refusal> {
    let v1::RetireNodeRequest { node, to, may_vacate, expected } = request;
    let to = match to {
        0 => None,
        to => Some(fields::node(to)?),
    };
    let how = Retire { expected: self::expected(&expected)?, to, may_vacate };
    let told = door.node.retire_node(fields::node(node)?, how).await?;
    let remaining = told
        .remaining
        .into_iter()
        .map(|Remaining { community, name, why }| v1::RemainingReplica { community: community.0, name, why });
    Ok(v1::RetireNodeResponse { has_left: told.has_left, remaining: remaining.collect() })
}

pub(crate) async fn keep_node(
    door: &Door,
    request: v1::KeepNodeRequest,
) -> Result<v1::KeepNodeResponse, Refusal> {
    door.node.keep_node(fields::node(request.node)?).await?;
    Ok(v1::KeepNodeResponse {})
}

fn expected(name: &str) -> Result<Expected, Malformed> {
    match name {
        "" => Ok(Expected::Whatever),
        "answering" => Ok(Expected::Answering),
        "silent" => Ok(Expected::Silent),
        other => Err(Malformed::new("expected", format!("is {other:?}: `answering`, `silent` or nothing"))),
    }
}
