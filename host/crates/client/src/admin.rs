//! The verbs on communities, programs and members. Answers are the messages of the wire: they are
//! for people, and nothing here decides by them.
//!
//! What must not be carried out twice is sent again only when it is known not to have been carried
//! out; the error's [`CallError::retry`] tells.

use crate::{
    error::CallError,
    export::{self, Export},
    nodes::{Called, Client, MESSAGE_BYTES_MAX},
};
use althing_core::{
    actor::Actor,
    ids::{Hash, NodeId, ReplicaId, Sequence},
    transition::Receipt,
};
use althing_proto::{Malformed, present, v1};
use bytes::Bytes;
use std::time::Duration;
use tokio_stream::iter;
use tonic::transport::Channel;
use v1::admin_client::AdminClient;

/// Bytes of one piece of an upload.
const PIECE_BYTES: usize = 1 << 20;
/// What the server takes for [`Installation::timeout`] if none is given.
const ACTIVATION: Duration = Duration::from_secs(60);
/// How long reading a node's snapshots may take: 16 GiB from a slow disk.
const VERIFICATION: Duration = Duration::from_secs(600);
/// How long a component may take to arrive, be checked and be compiled.
const UPLOAD: Duration = Duration::from_secs(180);

/// The verbs on communities, programs and members.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// A community to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewCommunity {
    /// 1 to 64 of a-z, 0-9 and `-`, beginning with a letter.
    pub name: String,
    /// How many voters; 0: as many as there are nodes, at most 3.
    pub voters: u32,
    /// The nodes to begin on, instead of a number.
    pub nodes: Vec<NodeId>,
    /// JSON; empty: the defaults.
    pub policy: String,
    /// `lan` or `wan`; empty: `lan`.
    pub timing: String,
}

/// A program to become a community's law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// Who installs it.
    pub actor: Actor,
    /// The reducer component, uploaded before.
    pub reducer: Hash,
    /// The validators, uploaded before, each with its configuration.
    pub validators: Vec<(Hash, Bytes)>,
    /// Given to the reducer.
    pub config: Bytes,
    /// How long to wait for a quorum of voters to hold and compile it; none: 60 s.
    pub timeout: Option<Duration>,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Creates a community.
    ///
    /// # Errors
    /// The name is taken or malformed; too few nodes; nobody answers.
    pub async fn create(&self, community: NewCommunity) -> Result<v1::CommunityInfo, CallError> {
        let request = v1::CreateCommunityRequest {
            name: community.name,
            voters: community.voters,
            nodes: community.nodes.into_iter().map(|node| node.0).collect(),
            policy: community.policy,
            timing: community.timing,
        };
        let told = self
            .once(request, |channel, request| async move { stub(channel).create_community(request).await })
            .await?;
        Ok(present("community", told.community)?)
    }

    /// Lists communities.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn list(&self) -> Result<Vec<v1::CommunityInfo>, CallError> {
        let request = v1::ListCommunitiesRequest {};
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).list_communities(request).await })
            .await?;
        Ok(told.communities)
    }

    /// Tells about one community.
    ///
    /// # Errors
    /// No such community; nobody answers.
    pub async fn inspect(&self, community: &str) -> Result<v1::InspectCommunityResponse, CallError> {
        let request = v1::InspectCommunityRequest { community: community.to_owned() };
        self.client
            .repeat(request, |channel, request| async move { stub(channel).inspect_community(request).await })
            .await
    }

    /// Deletes a community with all it holds.
    ///
    /// # Errors
    /// No such community; nobody answers.
    pub async fn delete(&self, community: &str) -> Result<(), CallError> {
        let request = v1::DeleteCommunityRequest { community: community.to_owned() };
        let told = self
            .once(request, |channel, request| async move { stub(channel).delete_community(request).await })
            .await?;
        let v1::DeleteCommunityResponse {} = told;
        Ok(())
    }

    /// Uploads a component in pieces. The same component may be uploaded any number of times.
    ///
    /// # Errors
    /// The component is not one this host runs; nobody answers.
    pub async fn upload_component(&self, component: Bytes) -> Result<v1::ComponentInfo, CallError> {
        use v1::upload_component_request::Part;
        let header = v1::UploadHeader {
            hash: Bytes::copy_from_slice(&Hash::of_component(&component).0),
            bytes: component.len() as u64,
        };
        let starts = (0..component.len()).step_by(PIECE_BYTES);
        let pieces = starts.map(|start| component.slice(start..component.len().min(start + PIECE_BYTES)));
        let parts: Vec<_> = std::iter::once(Part::Header(header))
            .chain(pieces.map(Part::Piece))
            .map(|part| v1::UploadComponentRequest { part: Some(part) })
            .collect();
        let told = self
            .client
            .repeat_within(UPLOAD, parts, |channel, parts| async move {
                stub(channel).upload_component(iter(parts)).await
            })
            .await?;
        Ok(present("component", told.component)?)
    }

    /// Makes a program a community's law. What `init` or `migrate` said is in the receipt's outcome.
    ///
    /// # Errors
    /// No such community or component; not enough voters hold it in time; nobody answers.
    pub async fn activate(&self, community: &str, program: Installation) -> Result<Receipt, CallError> {
        let timeout = program.timeout.unwrap_or(ACTIVATION);
        let validators = program.validators.into_iter();
        let request = v1::ActivateProgramRequest {
            community: community.to_owned(),
            actor: Some(program.actor.into()),
            reducer: Bytes::copy_from_slice(&program.reducer.0),
            validators: validators
                .map(|(component, config)| v1::ValidatorSpec {
                    component: Bytes::copy_from_slice(&component.0),
                    config,
                })
                .collect(),
            config: program.config,
            timeout_millis: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let limit = timeout + self.client.options().attempt;
        let call = |channel, request| async move { stub(channel).activate_program(request).await };
        let told = self.client.once(limit, request, call).await?;
        Ok(receipt(told.receipt)?)
    }

    /// Tells about a community's program and its earlier ones.
    ///
    /// # Errors
    /// No such community; no program yet; nobody answers.
    pub async fn program(&self, community: &str) -> Result<v1::InspectProgramResponse, CallError> {
        let request = v1::InspectProgramRequest { community: community.to_owned() };
        self.client
            .repeat(request, |channel, request| async move { stub(channel).inspect_program(request).await })
            .await
    }

    /// Sets a community's policy, whole, as JSON.
    ///
    /// # Errors
    /// No such community; a value out of bounds; nobody answers.
    pub async fn set_policy(&self, community: &str, policy: &str) -> Result<Receipt, CallError> {
        let request = v1::SetPolicyRequest { community: community.to_owned(), policy: policy.to_owned() };
        let told = self
            .once(request, |channel, request| async move { stub(channel).set_policy(request).await })
            .await?;
        Ok(receipt(told.receipt)?)
    }

    /// Adds a read-only replica on a node.
    ///
    /// # Errors
    /// No such community or node; it has a replica there; members are changing; nobody answers.
    pub async fn add_replica(&self, community: &str, node: NodeId) -> Result<v1::ReplicaInfo, CallError> {
        let request = v1::AddReplicaRequest { community: community.to_owned(), node: node.0 };
        let told = self
            .change(request, |channel, request| async move { stub(channel).add_replica(request).await })
            .await?;
        Ok(present("replica", told.replica)?)
    }

    /// Gives a replica a vote.
    ///
    /// # Errors
    /// No such community or replica; members are changing; nobody answers.
    pub async fn promote_replica(&self, community: &str, node: NodeId) -> Result<(), CallError> {
        let request = v1::PromoteReplicaRequest { community: community.to_owned(), node: node.0 };
        let told = self
            .change(request, |channel, request| async move { stub(channel).promote_replica(request).await })
            .await?;
        let v1::PromoteReplicaResponse {} = told;
        Ok(())
    }

    /// Removes the replica of a node.
    ///
    /// # Errors
    /// No such community or replica; it is the last voter; members are changing; nobody answers.
    pub async fn remove_replica(&self, community: &str, node: NodeId) -> Result<(), CallError> {
        let request = v1::RemoveReplicaRequest { community: community.to_owned(), node: node.0 };
        let told = self
            .change(request, |channel, request| async move { stub(channel).remove_replica(request).await })
            .await?;
        let v1::RemoveReplicaResponse {} = told;
        Ok(())
    }

    /// Replaces the replica of a node by a fresh one there, and waits until it has caught up and has the
    /// vote that the old one had. With `only`, nothing is done unless the replica there is still this
    /// one. May be asked again.
    ///
    /// # Errors
    /// No such community or replica; the others have no quorum without it; members are changing; it
    /// takes longer, and goes on; nobody answers.
    pub async fn rebuild_replica(
        &self,
        community: &str,
        node: NodeId,
        only: Option<ReplicaId>,
    ) -> Result<v1::ReplicaInfo, CallError> {
        let replica = only.map_or(0, |replica| replica.0);
        let request = v1::RebuildReplicaRequest { community: community.to_owned(), node: node.0, replica };
        let told = self
            .change(request, |channel, request| async move { stub(channel).rebuild_replica(request).await })
            .await?;
        Ok(present("replica", told.replica)?)
    }

    /// Moves a replica to another node, and waits until the old one is out. May be asked again.
    ///
    /// # Errors
    /// No such community, replica or node; no quorum would be up; members are changing; it takes longer,
    /// and goes on; nobody answers.
    pub async fn move_replica(
        &self,
        community: &str,
        from: NodeId,
        to: NodeId,
    ) -> Result<v1::ReplicaInfo, CallError> {
        let request = v1::MoveReplicaRequest { community: community.to_owned(), from: from.0, to: to.0 };
        let told = self
            .change(request, |channel, request| async move { stub(channel).move_replica(request).await })
            .await?;
        Ok(present("replica", told.replica)?)
    }

    /// Sets how many replicas of a community vote, and waits until so many do. May be asked again.
    ///
    /// # Errors
    /// No such community; too few nodes; no quorum would be up; members are changing; it takes longer, and
    /// goes on; nobody answers.
    pub async fn set_replicas(&self, community: &str, voters: u32) -> Result<v1::CommunityInfo, CallError> {
        let request = v1::SetReplicasRequest { community: community.to_owned(), voters };
        let told = self
            .change(request, |channel, request| async move { stub(channel).set_replicas(request).await })
            .await?;
        Ok(present("community", told.community)?)
    }

    /// Says that a node is to leave for good, and how far that is; asked again, how far it has come.
    ///
    /// # Errors
    /// No such node; it answers and should not, or does not and should; it is the last one; nobody answers.
    pub async fn retire_node(
        &self,
        request: v1::RetireNodeRequest,
    ) -> Result<v1::RetireNodeResponse, CallError> {
        self.client
            .repeat(request, |channel, request| async move { stub(channel).retire_node(request).await })
            .await
    }

    /// Lets a node stay that was to leave.
    ///
    /// # Errors
    /// No such node; nobody answers.
    pub async fn keep_node(&self, node: NodeId) -> Result<(), CallError> {
        let request = v1::KeepNodeRequest { node: node.0 };
        let call = |channel, request| async move { stub(channel).keep_node(request).await };
        let v1::KeepNodeResponse {} = self.client.repeat(request, call).await?;
        Ok(())
    }

    /// Moves leadership to a node; to whoever is best informed if none is named.
    ///
    /// # Errors
    /// No such community or replica; nobody leads; nobody answers.
    pub async fn transfer_leadership(&self, community: &str, node: Option<NodeId>) -> Result<(), CallError> {
        let node = node.map_or(0, |node| node.0);
        let request = v1::TransferLeadershipRequest { community: community.to_owned(), node };
        let told = self
            .once(request, |channel, request| async move { stub(channel).transfer_leadership(request).await })
            .await?;
        let v1::TransferLeadershipResponse {} = told;
        Ok(())
    }

    /// Cuts a snapshot of the replica on the answering node; the sequence it is cut at.
    ///
    /// # Errors
    /// No such community or no replica there; nobody answers.
    pub async fn create_snapshot(&self, community: &str) -> Result<Sequence, CallError> {
        let request = v1::CreateSnapshotRequest { community: community.to_owned() };
        let told = self
            .once(request, |channel, request| async move { stub(channel).create_snapshot(request).await })
            .await?;
        Ok(Sequence(told.sequence))
    }

    /// Lists the snapshots of a community that the answering node has, newest first.
    ///
    /// # Errors
    /// No such community or no replica there; nobody answers.
    pub async fn list_snapshots(&self, community: &str) -> Result<v1::ListSnapshotsResponse, CallError> {
        let request = v1::ListSnapshotsRequest { community: community.to_owned() };
        self.client
            .repeat(request, |channel, request| async move { stub(channel).list_snapshots(request).await })
            .await
    }

    /// Keeps a snapshot on the answering node until it is unpinned, and notes why. May be asked again.
    ///
    /// # Errors
    /// No such community or snapshot there; the note is too long; nobody answers.
    pub async fn pin_snapshot(
        &self,
        community: &str,
        sequence: Sequence,
        note: &str,
    ) -> Result<(), CallError> {
        let (community, note) = (community.to_owned(), note.to_owned());
        let request = v1::PinSnapshotRequest { community, sequence: sequence.0, note };
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).pin_snapshot(request).await })
            .await?;
        let v1::PinSnapshotResponse {} = told;
        Ok(())
    }

    /// Lets the policy decide again whether the answering node keeps a snapshot. May be asked again.
    ///
    /// # Errors
    /// No such community or snapshot there; nobody answers.
    pub async fn unpin_snapshot(&self, community: &str, sequence: Sequence) -> Result<(), CallError> {
        let request = v1::UnpinSnapshotRequest { community: community.to_owned(), sequence: sequence.0 };
        let told = self
            .client
            .repeat(request, |channel, request| async move { stub(channel).unpin_snapshot(request).await })
            .await?;
        let v1::UnpinSnapshotResponse {} = told;
        Ok(())
    }

    /// Drops a snapshot of the answering node.
    ///
    /// # Errors
    /// No such community or snapshot there; it is pinned, or a restart needs it; nobody answers.
    pub async fn delete_snapshot(&self, community: &str, sequence: Sequence) -> Result<(), CallError> {
        let request = v1::DeleteSnapshotRequest { community: community.to_owned(), sequence: sequence.0 };
        let told = self
            .once(request, |channel, request| async move { stub(channel).delete_snapshot(request).await })
            .await?;
        let v1::DeleteSnapshotResponse {} = told;
        Ok(())
    }

    /// Has the answering node read a snapshot again, or all of the community's, and hash every chunk.
    ///
    /// # Errors
    /// No such community or snapshot there; nobody answers.
    pub async fn verify_snapshots(
        &self,
        community: &str,
        only: Option<Sequence>,
    ) -> Result<v1::VerifySnapshotsResponse, CallError> {
        let sequence = only.map(|sequence| sequence.0);
        let request = v1::VerifySnapshotsRequest { community: community.to_owned(), sequence };
        self.client
            .repeat_within(VERIFICATION, request, |channel, request| async move {
                stub(channel).verify_snapshots(request).await
            })
            .await
    }

    /// Begins an export of the replica on the answering node, up to where it is now.
    ///
    /// # Errors
    /// No such community or no replica there; nobody answers.
    pub async fn export(&self, community: &str) -> Result<Export, CallError> {
        let request = v1::ExportCommunityRequest { community: community.to_owned() };
        let messages = self
            .client
            .repeat_within(export::PATIENCE, request, |channel, request| async move {
                stub(channel).export_community(request).await
            })
            .await?;
        Ok(Export::new(messages))
    }

    /// Tells about the answering node, and what it knows of the cluster.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn status(&self) -> Result<v1::StatusResponse, CallError> {
        let request = v1::StatusRequest {};
        self.client
            .repeat(request, |channel, request| async move { stub(channel).status(request).await })
            .await
    }

    async fn once<Q: Clone, T, F: Called<T>>(
        &self,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        self.client.once(self.client.options().attempt, request, call).await
    }

    /// A change of members: a new replica may have to be sent a snapshot first.
    async fn change<Q: Clone, T, F: Called<T>>(
        &self,
        request: Q,
        call: impl Fn(Channel, Q) -> F,
    ) -> Result<T, CallError> {
        self.client.once(ACTIVATION, request, call).await
    }
}

pub(crate) fn stub(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn receipt(told: Option<v1::Receipt>) -> Result<Receipt, Malformed> {
    present("receipt", told)?.try_into()
}
