//! Where a partition begins and ends, and what a client is told of one that cannot be read.

use sluicegate_protocol::{CmdKafkaListOffset, ErrorResp};
use sluicegate_reader::{LOG_END, LOG_START};

use super::super::problem::Problem;
use crate::cluster::{Cluster, Failure};
use crate::kafka_code::OFFSET_OUT_OF_RANGE;

/// What `failure` means for a client that asked for this partition, and for this offset where it asked for one.
pub(super) async fn read_problem(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    offset: Option<i64>,
    failure: Failure,
) -> Problem {
    if let (OFFSET_OUT_OF_RANGE, Some(offset)) = (failure.error.code, offset)
        && let Ok((beginning, end)) = ends(cluster, topic, partition).await
    {
        let message = format!(
            "offset {offset} is not within partition {partition} of topic {topic}: expected {beginning} to {end}"
        );
        let error = ErrorResp { message, ..failure.error };
        return Problem::failed(Failure { error, ..failure });
    }
    Problem::failed(failure).naming_what_is_missing(cluster, topic, Some(partition)).await
}

/// The first offset of a partition, and the one behind its last.
///
/// # Errors
/// One of them cannot be had.
pub(super) async fn ends(cluster: &Cluster, topic: &str, partition: i32) -> Result<(i64, i64), Failure> {
    let [start, end] = [LOG_START, LOG_END].map(|timestamp| CmdKafkaListOffset {
        topic: topic.to_owned(),
        partition,
        timestamp,
    });
    tokio::try_join!(cluster.offset(&start), cluster.offset(&end))
}
