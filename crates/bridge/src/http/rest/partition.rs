//! The problem of a failed read.

use super::super::problem::Problem;
use crate::backend::{CommandError, Fault, Log, System};
use crate::cluster::Cluster;

/// The problem of a failed read of this log, from this offset if the client gave one.
pub(super) async fn read_problem(
    cluster: &Cluster,
    log: Log<'_>,
    offset: Option<i64>,
    error: CommandError,
) -> Problem {
    let Log { topic, partition } = log;
    if let (Fault::OffsetOutOfRange, Some(offset)) = (error.fault, offset)
        && let Ok((beginning, end)) = cluster.ends(log, false).await
    {
        let what = match cluster.system {
            System::Kafka => format!("offset {offset} is not within partition {partition} of topic {topic}"),
            System::Nats => format!("sequence {offset} is not within stream {topic}"),
        };
        let message = format!("{what}: expected {beginning} to {end}");
        return Problem::failed(CommandError { message, ..error }, cluster.system);
    }
    Problem::failed(error, cluster.system).with_missing_log(cluster, topic, Some(partition)).await
}
