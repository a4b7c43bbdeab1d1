//! The list of topics or streams, and the description of one.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use sluicegate_backend::{Description, Log};
use sluicegate_delivery::grant::Grant;

use super::super::problem::Problem;
use super::super::response::Response;
use super::offsets::Members;

/// The response to GET of the list of topics or streams.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn list(grant: &Grant, content_type: &'static str) -> Result<Response, Problem> {
    let names = grant.topics().await.map_err(|error| Problem::failed(error, grant.system()))?;
    Ok(Response::json(StatusCode::OK, content_type, &names))
}

/// The response to GET of a topic.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn describe(
    grant: &Grant,
    topic: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let description = match grant.describe(topic).await {
        Ok(description) => description,
        Err(error) => {
            return Err(Problem::failed(error, grant.system()).with_missing_log(grant, topic, None).await);
        }
    };
    let body = description.document.get_or_init(|| document(topic, &description)).clone();
    Ok(Response::with_body(StatusCode::OK, content_type, body))
}

/// The response to GET of a stream.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn describe_log(
    grant: &Grant,
    log: Log<'_>,
    content_type: &'static str,
) -> Result<Response, Problem> {
    match grant.ends(log, false).await {
        Ok((start, end)) => {
            let ends = Members::of_ends(grant.system(), start, end);
            let document = DescribedLog { name: log.topic, ends };
            Ok(Response::json(StatusCode::OK, content_type, &document))
        }
        Err(error) => Err(Problem::of_read(grant, log, None, error).await),
    }
}

fn document(topic: &str, description: &Description) -> Bytes {
    let partitions = description.partitions.iter().map(described).collect();
    // Cannot fail: there are no maps with keys that are not strings.
    let body =
        serde_json::to_vec(&Topic { name: topic, configs: Configs {}, partitions }).unwrap_or_default();
    // Without the spare room of a `Vec`.
    body.into_boxed_slice().into()
}

fn described(partition: &sluicegate_backend::Partition) -> Partition {
    let replica = |replica: &sluicegate_backend::Replica| Replica {
        broker: replica.broker,
        leader: partition.leader == Some(replica.broker),
        in_sync: replica.in_sync,
    };
    Partition {
        partition: partition.partition,
        leader: partition.leader.unwrap_or(NO_LEADER),
        replicas: partition.replicas.iter().map(replica).collect(),
    }
}

#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    configs: Configs,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct DescribedLog<'a> {
    name: &'a str,
    #[serde(flatten)]
    ends: Members,
}

/// Always empty. Clients expect the member, but its content would need a request to each broker.
#[derive(Serialize)]
struct Configs {}

#[derive(Serialize)]
struct Partition {
    partition: i32,
    leader: i32,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Replica {
    broker: i32,
    leader: bool,
    in_sync: bool,
}

/// Kafka's leader ID of a partition without a leader.
const NO_LEADER: i32 = -1;
