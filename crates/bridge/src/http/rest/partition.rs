//! The problem of a failed read.

use super::super::problem::Problem;
use crate::backend::{CommandError, Fault, Log};
use crate::cluster::out_of_range;
use crate::grant::Grant;

/// The problem of a failed read of this log, from this offset if the client gave one.
pub(super) async fn read_problem(
    grant: &Grant,
    log: Log<'_>,
    offset: Option<i64>,
    error: CommandError,
) -> Problem {
    let (Log { topic, partition }, cluster) = (log, &*grant.cluster);
    if let (Fault::OffsetOutOfRange, Some(offset)) = (error.fault, offset)
        && let Ok(ends) = cluster.ends(grant.client, log, false).await
    {
        return Problem::failed(out_of_range(cluster.system, log, offset, ends), cluster.system);
    }
    Problem::failed(error, cluster.system).with_missing_log(grant, topic, Some(partition)).await
}
