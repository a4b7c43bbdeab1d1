//! The problem of a failed read.

use sluicegate_backend::{CommandError, Log};
use sluicegate_delivery::cluster::out_of_range;
use sluicegate_delivery::grant::Grant;

use super::super::problem::Problem;

/// The problem of a failed read of this log, from this offset if the client gave one.
pub(super) async fn read_problem(
    grant: &Grant,
    log: Log<'_>,
    offset: Option<i64>,
    error: CommandError,
) -> Problem {
    let system = grant.system();
    if let (Some(offset), Some(ends)) = (offset, error.ends) {
        return Problem::failed(out_of_range(system, log, offset, ends), system);
    }
    Problem::failed(error, system).with_missing_log(grant, log.topic, Some(log.partition)).await
}
