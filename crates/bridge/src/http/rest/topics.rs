//! The list of topics or streams, and the description of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use sluicegate_backend::{Description, Log};
use sluicegate_delivery::grant::Grant;

use super::super::problem::{Problem, ProblemKind};
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
    let description = described_topic(grant, topic).await?;
    let body = match grant.properties(topic).await {
        Ok(None) => description.document.get_or_init(|| document(topic, &description, &[])).clone(),
        Ok(Some(properties)) => document(topic, &description, &properties),
        Err(error) => return Err(Problem::failed(error, grant.system())),
    };
    Ok(Response::with_body(StatusCode::OK, content_type, body))
}

/// The response to GET of a topic's partitions.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn partitions(
    grant: &Grant,
    topic: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let description = described_topic(grant, topic).await?;
    let partitions: Vec<Partition> = description.partitions.iter().map(described).collect();
    Ok(Response::json(StatusCode::OK, content_type, &partitions))
}

/// The response to GET of a partition.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn partition(
    grant: &Grant,
    log: Log<'_>,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let description = described_topic(grant, log.topic).await?;
    match description.partitions.iter().find(|partition| partition.partition == log.partition) {
        Some(partition) => Ok(Response::json(StatusCode::OK, content_type, &described(partition))),
        None => {
            let detail = format!("topic {} has no partition {}", log.topic, log.partition);
            Err(Problem::new(ProblemKind::NoPartition, detail))
        }
    }
}

async fn described_topic(grant: &Grant, topic: &str) -> Result<Arc<Description>, Problem> {
    match grant.describe(topic).await {
        Ok(description) => Ok(description),
        Err(error) => Err(Problem::failed(error, grant.system()).with_missing_log(grant, topic, None).await),
    }
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

fn document(topic: &str, description: &Description, properties: &[(String, String)]) -> Bytes {
    let partitions = description.partitions.iter().map(described).collect();
    let configs = properties.iter().map(|(name, value)| (&**name, &**value)).collect();
    // Cannot fail: there are no maps with keys that are not strings.
    let body = serde_json::to_vec(&Topic { name: topic, configs, partitions }).unwrap_or_default();
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
    /// Empty if the route does not tell them: clients expect the member.
    configs: BTreeMap<&'a str, &'a str>,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct DescribedLog<'a> {
    name: &'a str,
    #[serde(flatten)]
    ends: Members,
}

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
