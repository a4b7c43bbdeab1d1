//! The list of topics, and the description of one.

use http::StatusCode;
use serde::Serialize;

use super::super::problem::{Problem, ProblemKind};
use super::super::response::Response;
use crate::backend;
use crate::cluster::Cluster;
use crate::grant::{Grant, NOT_READABLE};

/// The response to GET of the list of topics.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn list(grant: &Grant, content_type: &'static str) -> Result<Response, Problem> {
    if !grant.reads() {
        return Err(Problem::new(ProblemKind::Forbidden, NOT_READABLE));
    }
    let names = grant.cluster.topics().await.map_err(Problem::failed)?;
    let names: Vec<&String> = names.iter().filter(|name| grant.has_topic(name)).collect();
    Ok(Response::json(StatusCode::OK, content_type, &names))
}

/// The response to GET of a topic.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn describe(
    cluster: &Cluster,
    topic: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let partitions = match cluster.partitions(topic).await {
        Ok(partitions) => partitions,
        Err(error) => return Err(Problem::failed(error).with_missing_log(cluster, topic, None).await),
    };
    let partitions = partitions.iter().map(partition).collect();
    let document = Topic { name: topic, configs: Configs {}, partitions };
    Ok(Response::json(StatusCode::OK, content_type, &document))
}

fn partition(partition: &backend::Partition) -> Partition {
    let replica = |replica: &backend::Replica| Replica {
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
