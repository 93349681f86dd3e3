//! `grpc.health.v1.Health`: whether this node serves, as load balancers ask.

use crate::door::Door;
use althing_proto::v1::{admin_server, communities_server};
use std::{convert::Infallible, time::Duration};
use tonic_health::{ServingStatus, server::HealthReporter};

/// What is reported: the server as a whole, and each service of ours.
const SERVICES: [&str; 3] = ["", communities_server::SERVICE_NAME, admin_server::SERVICE_NAME];
/// How often the node is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Keeps the report true; when the door closes it says so, and ends whoever watches. Runs until it is
/// dropped.
pub(crate) async fn follow(door: &Door, mut reporter: HealthReporter) -> Infallible {
    let closing = door.closing();
    tokio::pin!(closing);
    loop {
        report(&reporter, door.node.is_ready()).await;
        tokio::select! {
            () = &mut closing => break,
            () = door.node.runtime().sleep(EVERY) => {}
        }
    }
    report(&reporter, false).await;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
    std::future::pending().await
}

/// Says whether the node serves.
pub(crate) async fn report(reporter: &HealthReporter, serves: bool) {
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
