//! Installing programs: a component is uploaded to any node, travels by content beside the log, and
//! becomes a community's law by an entry in its log, once a quorum of its voters holds and has
//! compiled it. So "uploaded" is never "active", and an activation waits for nobody but a minority.

use crate::{
    components::ComponentDescription,
    directory::{
        record::{ComponentEntry, DirectoryOperation},
        view::DirectoryView,
    },
    node::Node,
    peer::{Hold, method},
    submit::Submitted,
};
use althing_consensus::peers::Lane;
use althing_core::{
    actor::Actor,
    batch::{Activation, Command, ProgramManifest, ValidatorManifest},
    ids::{CommunityId, Hash, NodeId, Sequence},
    limits,
    refusal::{Code, Refusal},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::time::Duration;

/// How long the voters may take to hold a program when nobody says otherwise.
pub const HOLD_PATIENCE: Duration = Duration::from_secs(60);

/// A component that the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentInfo {
    /// Its name by content.
    pub hash: Hash,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it says about itself.
    pub description: ComponentDescription,
}

/// A program to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// The reducer component.
    pub reducer: Hash,
    /// The validators with their configurations, in the order in which they are asked.
    pub validators: Vec<ValidatorManifest>,
    /// Given to the reducer.
    pub config: Bytes,
}

/// A community's program, and those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// The program in force.
    pub manifest: Option<ProgramManifest>,
    /// The sequence and hash of every activation, oldest first.
    pub versions: Vec<(Sequence, Hash)>,
}

impl Node {
    /// Takes in a component: checks and compiles it, stores it, and tells the directory of it.
    ///
    /// # Errors
    /// [`Code::BadComponent`] with what is wrong with it; [`Code::BadRequest`] when the bytes are not
    /// what was announced.
    pub async fn upload_component(&self, hash: Hash, bytes: Bytes) -> Result<ComponentInfo, Refusal> {
        self.shared().space.check()?;
        let size = bytes.len() as u64;
        let description = self.components().take(hash, bytes).await?;
        let entry = ComponentEntry {
            hash,
            bytes: size,
            uploaded_to: self.id(),
            description: serde_json::to_string(&description).expect("a description is plain text"),
        };
        self.change_directory(DirectoryOperation::RecordComponent(entry)).await?;
        Ok(ComponentInfo { hash, bytes: size, description })
    }

    /// A component that was uploaded.
    ///
    /// # Errors
    /// There is none of that hash.
    pub fn component(&self, hash: Hash) -> Result<ComponentInfo, Refusal> {
        let entry = DirectoryView(&self.directory()).component(hash).ok_or_else(|| {
            Refusal::new(Code::NoComponent, format!("there is no component {hash}: upload it first"))
        })?;
        let description = serde_json::from_str(&entry.description).map_err(|error| {
            Refusal::new(Code::Internal, format!("a description cannot be read: {error}"))
        })?;
        Ok(ComponentInfo { hash: entry.hash, bytes: entry.bytes, description })
    }

    /// Makes a program a community's law, once a quorum of its voters holds it. The receipt says
    /// whether the program agreed to begin.
    ///
    /// # Errors
    /// [`Code::NotHeld`] when no quorum held it in time; [`Code::BadConfig`] when it needs a
    /// configuration and got none; a refusal.
    pub async fn activate(
        &self,
        community: &str,
        actor: Actor,
        spec: ProgramSpec,
        patience: Duration,
    ) -> Result<Submitted, Refusal> {
        let id = self.resolve(community).await?;
        if id == CommunityId::SYSTEM {
            return Err(Refusal::new(Code::BadRequest, "the system community keeps its own program"));
        }
        let reducer = self.check_program(&spec)?;
        let manifest = ProgramManifest {
            reducer: spec.reducer,
            validators: spec.validators,
            config: spec.config,
            name: reducer.name,
            version: reducer.version,
        };
        self.spread(id, &manifest, patience).await?;
        self.command(id, Command::Activate(Activation { actor, program: manifest })).await
    }

    /// A community's program, and those before it.
    ///
    /// # Errors
    /// A refusal; [`Code::NoReplica`] when this node has no replica to look at.
    pub fn program(&self, community: &str) -> Result<ProgramInfo, Refusal> {
        let id = self.find(community)?;
        let here = self.hosted(id).ok_or_else(|| self.no_replica(id))?;
        here.must_run()?;
        let view = here.view();
        let versions = view
            .programs()
            .map_err(|error| Refusal::new(Code::Internal, format!("the programs cannot be read: {error}")))?;
        Ok(ProgramInfo { manifest: view.program_manifest().cloned(), versions })
    }

    fn check_program(&self, spec: &ProgramSpec) -> Result<ComponentDescription, Refusal> {
        if spec.validators.len() > limits::VALIDATORS_MAX {
            let message = format!(
                "{} validators were given, a program has {} at most",
                spec.validators.len(),
                limits::VALIDATORS_MAX
            );
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let reducer = self.component(spec.reducer)?.description;
        must_be(&reducer, "reducer", spec.reducer)?;
        check_config(&reducer, &spec.config)?;
        for validator in &spec.validators {
            let description = self.component(validator.component)?.description;
            must_be(&description, "validator", validator.component)?;
            check_config(&description, &validator.config)?;
        }
        Ok(reducer)
    }

    /// Has the voters fetch and compile a program, until a quorum of them holds it.
    async fn spread(
        &self,
        community: CommunityId,
        manifest: &ProgramManifest,
        patience: Duration,
    ) -> Result<(), Refusal> {
        let record = DirectoryView(&self.directory()).community(community);
        let record = record.ok_or_else(|| self.no_replica(community))?;
        let voters: Vec<NodeId> =
            record.replicas.values().filter(|replica| replica.voter).map(|replica| replica.node).collect();
        let quorum = voters.len() / 2 + 1;
        let components: Vec<Hash> = manifest.components().collect();
        let sources = self.holders(&components);
        let hold = Hold { components, sources };
        let mut asked: FuturesUnordered<_> =
            voters.iter().map(|&voter| self.ask_to_hold(voter, &hold, patience)).collect();
        let mut held = 0;
        let mut last = None;
        while held < quorum {
            match asked.next().await {
                Some(Ok(())) => held += 1,
                Some(Err(refusal)) if refusal.code == Code::BadComponent => return Err(refusal),
                Some(Err(refusal)) => last = Some(refusal),
                None => {
                    let reason = last.map_or_else(String::new, |refusal| format!(" ({})", refusal.message));
                    let message = format!(
                        "{held} of {} voters hold the program, {quorum} must{reason}: nothing was activated, retry later",
                        voters.len()
                    );
                    return Err(Refusal::new(Code::NotHeld, message));
                }
            }
        }
        Ok(())
    }

    async fn ask_to_hold(&self, voter: NodeId, hold: &Hold, patience: Duration) -> Result<(), Refusal> {
        if voter == self.id() {
            let held = self.runtime().timeout(patience, self.hold(hold)).await;
            return held.unwrap_or_else(|| {
                Err(Refusal::new(
                    Code::TimedOut,
                    "compiling the program here takes longer than that: retry later",
                ))
            });
        }
        self.peers().ask(voter, Lane::Bulk, CommunityId::SYSTEM, method::HOLD, hold, patience).await
    }

    /// Fetches and compiles components.
    pub(crate) async fn hold(&self, hold: &Hold) -> Result<(), Refusal> {
        for &component in &hold.components {
            self.components().hold(component, &hold.sources).await?;
        }
        Ok(())
    }

    /// Where components can be had: this node first (it may have them), then where they were
    /// uploaded to, then anywhere.
    fn holders(&self, components: &[Hash]) -> Vec<NodeId> {
        let directory = self.directory();
        let view = DirectoryView(&directory);
        let uploaded =
            components.iter().filter_map(|&hash| view.component(hash)).map(|entry| entry.uploaded_to);
        let mut holders: Vec<NodeId> = std::iter::once(self.id()).chain(uploaded).collect();
        let others: Vec<NodeId> =
            view.nodes().iter().map(|record| record.node).filter(|node| !holders.contains(node)).collect();
        holders.extend(others);
        holders.dedup();
        holders
    }

    pub(crate) fn no_replica(&self, community: CommunityId) -> Refusal {
        let hosts: Vec<String> = self.sources(community).iter().map(ToString::to_string).collect();
        Refusal::new(
            Code::NoReplica,
            format!(
                "this node has no replica of community {community}: ask one of the nodes {}",
                hosts.join(", ")
            ),
        )
    }
}

fn must_be(description: &ComponentDescription, kind: &str, hash: Hash) -> Result<(), Refusal> {
    if description.kind == kind {
        return Ok(());
    }
    Err(Refusal::new(
        Code::BadComponent,
        format!("component {hash} is a {}, a {kind} was wanted", description.kind),
    ))
}

/// A program that describes a configuration must get one; what is in it, the program judges.
fn check_config(description: &ComponentDescription, config: &Bytes) -> Result<(), Refusal> {
    if config.len() > limits::CONFIG_BYTES_MAX {
        let message =
            format!("the configuration has {} bytes, {} are allowed", config.len(), limits::CONFIG_BYTES_MAX);
        return Err(Refusal::new(Code::TooLarge, message));
    }
    if config.is_empty() && needs_config(&description.config) {
        return Err(Refusal::new(
            Code::BadConfig,
            format!(
                "{} needs a configuration: give one that fits the schema {}",
                description.name, description.config
            ),
        ));
    }
    Ok(())
}

/// Whether a schema wants something: neither anything (`true`, empty) nor nothing (`null`).
fn needs_config(schema: &str) -> bool {
    match serde_json::from_str::<serde_json::Value>(schema) {
        Ok(serde_json::Value::Object(schema)) => {
            let says_something = ["type", "properties", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"]
                .iter()
                .any(|word| schema.contains_key(*word));
            says_something && !accepts_null(&schema)
        }
        _ => false,
    }
}

/// Whether a schema says that `null` is enough: by its type, or by one of its alternatives.
fn accepts_null(schema: &serde_json::Map<String, serde_json::Value>) -> bool {
    use serde_json::Value;
    let by_type = match schema.get("type") {
        Some(Value::String(kind)) => kind == "null",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        _ => false,
    };
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(*word)?.as_array()).flatten();
    by_type || alternatives.filter_map(Value::as_object).any(accepts_null)
}

#[cfg(test)]
mod tests {
    use super::needs_config;

    #[test]
    fn only_a_schema_that_wants_something_asks_for_a_configuration() {
        for schema in [
            "",
            "true",
            "null",
            "{}",
            r#"{"type":"null"}"#,
            r#"{"type":["object","null"]}"#,
            r#"{"title":"x"}"#,
            r##"{"anyOf":[{"$ref":"#/x"},{"type":"null"}]}"##,
        ] {
            assert!(!needs_config(schema), "{schema}");
        }
        for schema in [r#"{"type":"object"}"#, r##"{"$ref":"#/x"}"##, r#"{"oneOf":[{"type":"string"}]}"#] {
            assert!(needs_config(schema), "{schema}");
        }
    }
}
