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
    let query = Query::parse(query, &["timestamp", "isolation"])?;
    let timestamp = query.number("timestamp", MAX_TIMESTAMP..=i64::MAX)?;
    let committed = query.committed()?;
    let found = match timestamp {
        Some(timestamp) => {
            cluster.list_offset(log, timestamp, committed).await.map(|offset| Document::At { offset })
        }
        None => cluster
            .ends(log, committed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::script::Script;

    #[tokio::test]
    async fn isolation_is_that_of_the_offsets() {
        let (cluster, _) = Script::cluster(1);
        for (query, want) in [
            ("", r#"{"beginning_offset":-2,"end_offset":-1}"#),
            ("isolation=read_uncommitted&timestamp=5", r#"{"offset":5}"#),
            ("isolation=read_committed", r#"{"beginning_offset":-3,"end_offset":-2}"#),
            ("isolation=read_committed&timestamp=5", r#"{"offset":4}"#),
        ] {
            let found = get(&cluster, Log { topic: "0", partition: 0 }, query, "").await.unwrap();
            assert_eq!(found.body, want, "{query}");
        }
    }
}
