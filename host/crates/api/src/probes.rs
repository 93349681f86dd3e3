//! `/healthz`, `/readyz` and `/metrics`, for whoever speaks HTTP and no gRPC.

use crate::{door::Door, scrape};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// The format of `/metrics`.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The three pages.
pub(crate) fn routes(door: Arc<Door>, recorded: PrometheusHandle) -> Router {
    let metrics = move |State(door): State<Arc<Door>>| async move {
        ([(CONTENT_TYPE, PROMETHEUS)], scrape::text(&door.node, &recorded).await)
    };
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(door)
}

async fn ready(State(door): State<Arc<Door>>) -> impl IntoResponse {
    let node = &door.node;
    let (code, mut text) = match (node.is_ready(), node.is_stopping()) {
        (true, _) => (StatusCode::OK, "ready\n".to_owned()),
        (false, true) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the node is shutting down\n".to_owned())
        }
        (false, false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the cluster's directory does not have this node at its addresses yet\n".to_owned(),
        ),
    };
    // The other communities are served all the same, so it is told and the code stays.
    for quarantined in node.quarantined() {
        text += &format!("{} (replica {}) is {}\n", quarantined.name, quarantined.replica, quarantined.why);
    }
    for archived in node.archive().into_iter().flat_map(|archive| archive.communities) {
        let Some(trouble) = archived.trouble else { continue };
        text += &format!("{} is not archived: {trouble}\n", archived.name);
    }
    (code, text)
}
