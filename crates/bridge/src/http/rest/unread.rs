//! Says more of a partition that could not be read than its error does: what is there instead.

use sluicegate_protocol::{CmdKafkaListOffset, ErrorResp};

use super::super::problem::Problem;
use crate::cluster::{Cluster, Failure};
use crate::kafka_code::OFFSET_OUT_OF_RANGE;

/// What `failure` means for a client that asked for this partition, and for this offset where it asked for one.
pub(super) async fn problem(
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
    Problem::failed(failure).at(cluster, topic, Some(partition)).await
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

const LOG_END: i64 = -1;
const LOG_START: i64 = -2;
