//! The first and last offsets of a partition, or the offset of a timestamp.

use http::StatusCode;
use serde::Serialize;

use super::super::problem::Problem;
use super::super::response::Response;
use super::partition;
use super::path::Query;
use crate::backend::{Log, MAX_TIMESTAMP};
use crate::cluster::Cluster;

/// The response to GET of a partition's offsets.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    cluster: &Cluster,
    log: Log<'_>,
    query: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let timestamp = Query::parse(query, &["timestamp"])?.number("timestamp", MAX_TIMESTAMP..=i64::MAX)?;
    let found = match timestamp {
        Some(timestamp) => cluster.list_offset(log, timestamp).await.map(|offset| Document::At { offset }),
        None => cluster
            .ends(log)
            .await
            .map(|(beginning_offset, end_offset)| Document::Ends { beginning_offset, end_offset }),
    };
    match found {
        Ok(document) => Ok(Response::json(StatusCode::OK, content_type, &document)),
        Err(error) => Err(partition::read_problem(cluster, log, None, error).await),
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    Ends {
        beginning_offset: i64,
        /// The offset after the last record.
        end_offset: i64,
    },
    /// -1: every record is older.
    At { offset: i64 },
}
