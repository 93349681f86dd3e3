//! `althing.v1.Admin`: communities, programs, members.

use crate::{
    answers, door::Door, export, fields, import, members, policy, refused::answer, snapshots, upload,
};
use althing_core::{
    ids::ReplicaId,
    limits::CONFIG_BYTES_MAX,
    policy::Policy,
    refusal::{Code, Refusal},
};
use althing_node::ProgramSpec;
use althing_proto::{hash, v1};
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use v1::admin_server::Admin;

/// The service.
pub(crate) struct AdminService(pub(crate) Arc<Door>);

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_community(
        &self,
        request: Request<v1::CreateCommunityRequest>,
    ) -> Result<Response<v1::CreateCommunityResponse>, Status> {
        answer(create_community(&self.0, request.into_inner()).await)
    }

    async fn list_communities(
        &self,
        _request: Request<v1::ListCommunitiesRequest>,
    ) -> Result<Response<v1::ListCommunitiesResponse>, Status> {
        let node = &self.0.node;
        let told = |record| answers::community(node, record);
        let communities = node.list_communities().into_iter().map(told).collect();
        answer(Ok(v1::ListCommunitiesResponse { communities }))
    }

    async fn inspect_community(
        &self,
        request: Request<v1::InspectCommunityRequest>,
    ) -> Result<Response<v1::InspectCommunityResponse>, Status> {
        answer(inspect_community(&self.0, request.into_inner()).await)
    }

    async fn delete_community(
        &self,
        request: Request<v1::DeleteCommunityRequest>,
    ) -> Result<Response<v1::DeleteCommunityResponse>, Status> {
        answer(delete_community(&self.0, request.into_inner()).await)
    }

    async fn upload_component(
        &self,
        request: Request<Streaming<v1::UploadComponentRequest>>,
    ) -> Result<Response<v1::UploadComponentResponse>, Status> {
        answer(upload::component(&self.0, request.into_inner()).await)
    }

    async fn activate_program(
        &self,
        request: Request<v1::ActivateProgramRequest>,
    ) -> Result<Response<v1::ActivateProgramResponse>, Status> {
        answer(activate_program(&self.0, request).await)
    }

    async fn inspect_program(
        &self,
        request: Request<v1::InspectProgramRequest>,
    ) -> Result<Response<v1::InspectProgramResponse>, Status> {
        answer(inspect_program(&self.0, request.into_inner()))
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Result<Response<v1::SetPolicyResponse>, Status> {
        answer(set_policy(&self.0, request.into_inner()).await)
    }

    async fn add_replica(
        &self,
        request: Request<v1::AddReplicaRequest>,
    ) -> Result<Response<v1::AddReplicaResponse>, Status> {
        answer(add_replica(&self.0, request.into_inner()).await)
    }

    async fn promote_replica(
        &self,
        request: Request<v1::PromoteReplicaRequest>,
    ) -> Result<Response<v1::PromoteReplicaResponse>, Status> {
        answer(promote_replica(&self.0, request.into_inner()).await)
    }

    async fn remove_replica(
        &self,
        request: Request<v1::RemoveReplicaRequest>,
    ) -> Result<Response<v1::RemoveReplicaResponse>, Status> {
        answer(remove_replica(&self.0, request.into_inner()).await)
    }

    async fn rebuild_replica(
        &self,
        request: Request<v1::RebuildReplicaRequest>,
    ) -> Result<Response<v1::RebuildReplicaResponse>, Status> {
        answer(rebuild_replica(&self.0, request.into_inner()).await)
    }

    async fn move_replica(
        &self,
        request: Request<v1::MoveReplicaRequest>,
    ) -> Result<Response<v1::MoveReplicaResponse>, Status> {
        answer(members::move_replica(&self.0, request.into_inner()).await)
    }

    async fn set_replicas(
        &self,
        request: Request<v1::SetReplicasRequest>,
    ) -> Result<Response<v1::SetReplicasResponse>, Status> {
        answer(members::set_replicas(&self.0, request.into_inner()).await)
    }

    async fn retire_node(
        &self,
        request: Request<v1::RetireNodeRequest>,
    ) -> Result<Response<v1::RetireNodeResponse>, Status> {
        answer(members::retire_node(&self.0, request.into_inner()).await)
    }

    async fn keep_node(
        &self,
        request: Request<v1::KeepNodeRequest>,
    ) -> Result<Response<v1::KeepNodeResponse>, Status> {
        answer(members::keep_node(&self.0, request.into_inner()).await)
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        answer(transfer_leadership(&self.0, request.into_inner()).await)
    }

    async fn create_snapshot(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::CreateSnapshotResponse>, Status> {
        answer(snapshots::create(&self.0, request.into_inner()).await)
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        answer(snapshots::list(&self.0, request.into_inner()).await)
    }

    async fn pin_snapshot(
        &self,
        request: Request<v1::PinSnapshotRequest>,
    ) -> Result<Response<v1::PinSnapshotResponse>, Status> {
        answer(snapshots::pin(&self.0, request.into_inner()).await)
    }

    async fn unpin_snapshot(
        &self,
        request: Request<v1::UnpinSnapshotRequest>,
    ) -> Result<Response<v1::UnpinSnapshotResponse>, Status> {
        answer(snapshots::unpin(&self.0, request.into_inner()).await)
    }

    async fn delete_snapshot(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotResponse>, Status> {
        answer(snapshots::delete(&self.0, request.into_inner()).await)
    }

    async fn verify_snapshots(
        &self,
        request: Request<v1::VerifySnapshotsRequest>,
    ) -> Result<Response<v1::VerifySnapshotsResponse>, Status> {
        answer(snapshots::verify(&self.0, request.into_inner()).await)
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        answer(Ok(answers::status(self.0.node.status().await)))
    }

    type ExportCommunityStream = BoxStream<'static, Result<v1::ExportCommunityResponse, Status>>;

    async fn export_community(
        &self,
        request: Request<v1::ExportCommunityRequest>,
    ) -> Result<Response<Self::ExportCommunityStream>, Status> {
        answer(export::open(&self.0, request.into_inner()).await)
    }

    async fn missing_chunks(
        &self,
        request: Request<v1::MissingChunksRequest>,
    ) -> Result<Response<v1::MissingChunksResponse>, Status> {
        answer(import::missing(&self.0, request.into_inner()).await)
    }

    async fn upload_chunks(
        &self,
        request: Request<v1::UploadChunksRequest>,
    ) -> Result<Response<v1::UploadChunksResponse>, Status> {
        answer(import::chunks(&self.0, request.into_inner()).await)
    }

    async fn import_community(
        &self,
        request: Request<v1::ImportCommunityRequest>,
    ) -> Result<Response<v1::ImportCommunityResponse>, Status> {
        answer(import::community(&self.0, request.into_inner()).await)
    }
}

async fn create_community(
    door: &Door,
    request: v1::CreateCommunityRequest,
) -> Result<v1::CreateCommunityResponse, Refusal> {
    let v1::CreateCommunityRequest { name, voters, nodes, policy, timing } = request;
    let name = fields::community(name)?;
    let placement = fields::placement(voters, nodes)?;
    let timing = fields::timing(&timing)?;
    let policy = policy::over(&Policy::default(), &policy)?;
    let record = door.node.create_community(name, placement, timing, policy).await?;
    Ok(v1::CreateCommunityResponse { community: Some(answers::community(&door.node, record)) })
}

async fn inspect_community(
    door: &Door,
    request: v1::InspectCommunityRequest,
) -> Result<v1::InspectCommunityResponse, Refusal> {
    let name = fields::community(request.community)?;
    let record = door.node.community(&name)?;
    let policy = door.node.policy(&name)?;
    let replica = here(door.node.local_replica(&name).await)?;
    let program = here(door.node.program(&name))?.and_then(|info| info.manifest);
    Ok(v1::InspectCommunityResponse {
        community: Some(answers::community(&door.node, record)),
        replica: replica.map(answers::replica),
        policy: policy::text(&policy),
        program: program.map(|manifest| program_info(door, manifest)),
    })
}

/// What only a node with a replica can tell: none when this one has no replica.
fn here<T>(told: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match told {
        Ok(told) => Ok(Some(told)),
        Err(refusal) if refusal.code == Code::NoReplica => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn program_info(door: &Door, manifest: althing_core::batch::ProgramManifest) -> v1::ProgramInfo {
    let reducer = door.node.component(manifest.reducer).ok();
    answers::program(manifest, reducer)
}

async fn delete_community(
    door: &Door,
    request: v1::DeleteCommunityRequest,
) -> Result<v1::DeleteCommunityResponse, Refusal> {
    door.node.delete_community(&fields::community(request.community)?).await?;
    Ok(v1::DeleteCommunityResponse {})
}

async fn activate_program(
    door: &Door,
    request: Request<v1::ActivateProgramRequest>,
) -> Result<v1::ActivateProgramResponse, Refusal> {
    let (metadata, _, request) = request.into_parts();
    let v1::ActivateProgramRequest { community, actor, reducer, validators, config, timeout_millis } =
        request;
    let community = fields::community(community)?;
    let actor = door.actor(&metadata, actor)?;
    let patience = fields::patience(timeout_millis)?;
    fields::sized("config", config.len(), CONFIG_BYTES_MAX)?;
    let spec = ProgramSpec {
        reducer: hash("reducer", &reducer)?,
        validators: fields::validators(validators)?,
        config,
    };
    let activated = door.node.activate(&community, actor, spec, patience).await?;
    Ok(v1::ActivateProgramResponse { receipt: Some(activated.receipt.into()) })
}

fn inspect_program(
    door: &Door,
    request: v1::InspectProgramRequest,
) -> Result<v1::InspectProgramResponse, Refusal> {
    let info = door.node.program(&fields::community(request.community)?)?;
    Ok(v1::InspectProgramResponse {
        versions: answers::versions(&info),
        program: info.manifest.map(|manifest| program_info(door, manifest)),
    })
}

async fn set_policy(door: &Door, request: v1::SetPolicyRequest) -> Result<v1::SetPolicyResponse, Refusal> {
    let community = fields::community(request.community)?;
    let set = door.node.set_policy(&community, policy::whole(&request.policy)?).await?;
    Ok(v1::SetPolicyResponse { receipt: Some(set.receipt.into()) })
}

async fn add_replica(door: &Door, request: v1::AddReplicaRequest) -> Result<v1::AddReplicaResponse, Refusal> {
    let (community, node) = (fields::community(request.community)?, fields::node(request.node)?);
    let replica = door.node.add_replica(&community, node).await?;
    let replica = v1::ReplicaInfo { replica: replica.0, node: node.0, voter: false };
    Ok(v1::AddReplicaResponse { replica: Some(replica) })
}

async fn promote_replica(
    door: &Door,
    request: v1::PromoteReplicaRequest,
) -> Result<v1::PromoteReplicaResponse, Refusal> {
    let (community, node) = (fields::community(request.community)?, fields::node(request.node)?);
    door.node.promote_replica(&community, node).await?;
    Ok(v1::PromoteReplicaResponse {})
}

async fn remove_replica(
    door: &Door,
    request: v1::RemoveReplicaRequest,
) -> Result<v1::RemoveReplicaResponse, Refusal> {
    let (community, node) = (fields::community(request.community)?, fields::node(request.node)?);
    door.node.remove_replica(&community, node).await?;
    Ok(v1::RemoveReplicaResponse {})
}

async fn rebuild_replica(
    door: &Door,
    request: v1::RebuildReplicaRequest,
) -> Result<v1::RebuildReplicaResponse, Refusal> {
    let (community, node) = (fields::community(request.community)?, fields::node(request.node)?);
    let only = (request.replica != 0).then_some(ReplicaId(request.replica));
    let replica = door.node.rebuild_replica(&community, node, only).await?;
    let voter = door.node.community(&community)?.replicas.get(&replica).is_some_and(|replica| replica.voter);
    let replica = v1::ReplicaInfo { replica: replica.0, node: node.0, voter };
    Ok(v1::RebuildReplicaResponse { replica: Some(replica) })
}

async fn transfer_leadership(
    door: &Door,
    request: v1::TransferLeadershipRequest,
) -> Result<v1::TransferLeadershipResponse, Refusal> {
    let community = fields::community(request.community)?;
    let to = fields::node(request.node).ok();
    door.node.transfer_leadership(&community, to).await?;
    Ok(v1::TransferLeadershipResponse {})
}
