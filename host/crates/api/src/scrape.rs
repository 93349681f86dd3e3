//! What `/metrics` says: what the process has recorded, and how the node is at the moment.
//!
//! The node's own numbers are taken when they are asked for, by a recorder of their own, so that a
//! community that is gone is gone from here too.

use crate::answers;
use althing_node::{Archived, Node, NodeStatus, ReplicaStatus};
use metrics::{Label, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{convert::Infallible, sync::OnceLock, time::Duration};

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 4.0, 16.0];
/// Upper bounds of the buckets of everything else that is counted.
const COUNTS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
/// How often what was recorded is put together, so that it does not pile up between two scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The process's recorder, installed when first asked for; none when somebody else's is installed.
pub(crate) fn recorder() -> Option<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

fn install() -> Option<PrometheusHandle> {
    let buckets = "there are bounds for the buckets";
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .expect(buckets)
        .set_buckets(&COUNTS)
        .expect(buckets)
        .install_recorder();
    let recorder = recorder.ok()?;
    describe_counter!("althing_api_requests_total", "Requests that have ended, by method and status code");
    describe_gauge!("althing_api_requests_open", "Requests and streams that are open");
    describe_counter!(
        "althing_api_operations_total",
        "Operations answered with a receipt, by what became of them"
    );
    describe_counter!("althing_scrub_bytes_total", "Bytes of what is stored that were read again and hashed");
    describe_counter!("althing_scrub_damage_total", "What the scrub found damaged, by its kind");
    describe_counter!("althing_chunks_mended_total", "Damaged or missing chunks that came from peers");
    describe_counter!("althing_snapshots_damaged_total", "Snapshots that could not be restored at a start");
    metrics::describe_histogram!("althing_api_request_seconds", "How long requests took, streams included");
    describe_counter!("althing_archive_segments_total", "Segments of history that were archived");
    describe_counter!("althing_archive_bytes_total", "Bytes of them");
    describe_counter!("althing_archive_failures_total", "Attempts to archive that failed");
    describe_gauge!("althing_transfers_open", "Snapshots that are coming");
    describe_counter!("althing_transfers_total", "Snapshots offered, by what became of their coming");
    describe_counter!("althing_transfer_chunks_total", "Chunks that have come and are stored");
    describe_counter!("althing_transfer_bytes_total", "Bytes of chunks that have come and are stored");
    describe_counter!("althing_transfer_refused_total", "Chunks that a node did not give, by why");
    Some(recorder)
}

/// Keeps what is recorded small. Runs until it is dropped.
pub(crate) async fn upkeep(node: &Node, recorder: &PrometheusHandle) -> Infallible {
    loop {
        node.runtime().sleep(UPKEEP_EVERY).await;
        recorder.run_upkeep();
    }
}

/// The whole page.
pub(crate) async fn text(node: &Node, recorded: &PrometheusHandle) -> String {
    let status = node.status().await;
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || record(node, &status));
    recorded.render() + &recorder.handle().render()
}

fn record(node: &Node, status: &NodeStatus) {
    describe_gauge!("althing_node_ready", "1 when the node serves");
    gauge!("althing_node_ready").set(if node.is_ready() { 1.0 } else { 0.0 });
    describe_gauge!("althing_node_uptime_seconds", "How long the node has been running");
    gauge!("althing_node_uptime_seconds").set(status.uptime.as_secs_f64());
    let wal = node.wal_counters();
    describe_counter!("althing_wal_fsyncs_total", "Commits of the log, each with one fsync");
    counter!("althing_wal_fsyncs_total").absolute(wal.commits);
    describe_counter!("althing_wal_entries_total", "Entries appended to the log");
    counter!("althing_wal_entries_total").absolute(wal.entries);
    describe_counter!("althing_wal_bytes_total", "Bytes of entries appended to the log");
    counter!("althing_wal_bytes_total").absolute(wal.bytes);
    describe_gauge!("althing_chunks_damaged", "Chunks that are damaged and that nobody has");
    #[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
    gauge!("althing_chunks_damaged").set(status.scrub.damaged as f64);
    status.replicas.iter().for_each(record_replica);
    status.archive.iter().flat_map(|archive| &archive.communities).for_each(record_archived);
    describe_gauge!(
        "althing_replica_quarantined",
        "1 when the replica was found to differ from the majority"
    );
    for quarantined in node.quarantined() {
        gauge!("althing_replica_quarantined", "community" => quarantined.name).set(1.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn record_archived(archived: &Archived) {
    let numbers = [
        ("althing_archive_sequence", "The last transition in a durable segment", archived.archived.0),
        ("althing_archive_lag", "Transitions that are in no segment yet", archived.lag),
        ("althing_archive_bytes", "Bytes of segments in the folder", archived.bytes),
        ("althing_archive_missing", "Transitions that nobody held to archive them", archived.missing),
        (
            "althing_archive_failing",
            "1 while history cannot be archived",
            u64::from(archived.trouble.is_some()),
        ),
    ];
    for (name, meaning, number) in numbers {
        describe_gauge!(name, meaning);
        gauge!(name, "community" => archived.name.clone()).set(number as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn record_replica(replica: &ReplicaStatus) {
    let of = |more: Option<Label>| {
        let community = Label::new("community", replica.name.clone());
        std::iter::once(community).chain(more).collect::<Vec<_>>()
    };
    let role = Label::new("role", answers::role(replica.role));
    describe_gauge!("althing_replica_role", "1, with the replica's role as a label");
    gauge!("althing_replica_role", of(Some(role))).set(1.0);
    let numbers = [
        ("althing_replica_stopped", "1 when the replica has stopped", u64::from(replica.fault.is_some())),
        ("althing_replica_sequence", "The last transition executed", replica.sequence.0),
        ("althing_replica_oldest_sequence", "The oldest transition held", replica.oldest_sequence.0),
        ("althing_replica_term", "The term of consensus", replica.term),
        ("althing_replica_last_index", "The last index in the log", replica.last_index),
        ("althing_replica_committed_index", "The last index known to be committed", replica.committed_index),
        ("althing_replica_applied_index", "The last index executed", replica.applied_index),
        ("althing_replica_snapshot_index", "The last index in the newest snapshot", replica.snapshot_index),
        ("althing_replica_state_bytes", "Bytes of the state, keys and values", replica.state_bytes),
        ("althing_replica_state_keys", "Keys of the state", replica.state_keys),
        ("althing_replica_waiting", "Operations that wait to be proposed", replica.waiting),
        ("althing_replica_subscribers", "Subscribers", replica.subscribers),
    ];
    for (name, meaning, number) in numbers {
        describe_gauge!(name, meaning);
        gauge!(name, of(None)).set(number as f64);
    }
    if let Some(transfer) = &replica.transfer {
        describe_gauge!("althing_replica_transfer_bytes", "Bytes of the snapshot that is coming");
        gauge!("althing_replica_transfer_bytes", of(None)).set(transfer.bytes as f64);
        describe_gauge!("althing_replica_transfer_here_bytes", "Those of them that are stored");
        gauge!("althing_replica_transfer_here_bytes", of(None)).set(transfer.bytes_here as f64);
    }
}
