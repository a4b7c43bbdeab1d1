//! The problem of a failed read.

use super::super::problem::Problem;
use crate::backend::{CommandError, Fault, Log};
use crate::cluster::{Cluster, out_of_range};

/// The problem of a failed read of this log, from this offset if the client gave one.
pub(super) async fn read_problem(
    cluster: &Cluster,
    log: Log<'_>,
    offset: Option<i64>,
    error: CommandError,
) -> Problem {
    let Log { topic, partition } = log;
    if let (Fault::OffsetOutOfRange, Some(offset)) = (error.fault, offset)
        && let Ok(ends) = cluster.ends(log, false).await
    {
        return Problem::failed(out_of_range(cluster.system, log, offset, ends), cluster.system);
    }
    Problem::failed(error, cluster.system).with_missing_log(cluster, topic, Some(partition)).await
}
