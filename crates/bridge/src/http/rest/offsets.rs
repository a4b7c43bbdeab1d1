//! The first and last offsets of a partition or stream, or the offset of a timestamp.

use http::StatusCode;
use serde::{Serialize, Serializer};
use sluicegate_backend::{Log, MAX_TIMESTAMP, System};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;

use super::super::problem::Problem;
use super::super::response::Response;
use super::path::Query;

/// The response to GET of a partition's offsets.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    grant: &Grant,
    log: Log<'_>,
    query: &Query,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let timestamp = query.timestamp(MAX_TIMESTAMP)?;
    let committed = query.committed()?;
    let found = match timestamp {
        Some(timestamp) => {
            let listed = grant.list_offset(log, timestamp, committed).await;
            listed.map(|offset| Members(vec![(dialect::of(grant.system()).words().offset, offset)]))
        }
        None => {
            let ends = grant.ends(log, committed).await;
            ends.map(|(start, end)| Members::of_ends(grant.system(), start, end))
        }
    };
    match found {
        Ok(members) => Ok(Response::json(StatusCode::OK, content_type, &members)),
        Err(error) => Err(Problem::of_read(grant, log, None, error).await),
    }
}

/// Offsets in the words of a system. −1 as the offset of a timestamp: every record is older.
pub(super) struct Members(Vec<(&'static str, i64)>);

impl Members {
    /// The ends of a log. The second one is the offset after the last record.
    pub(super) fn of_ends(system: System, start: i64, end: i64) -> Self {
        let names = dialect::of(system).words().ends;
        Self(names.into_iter().zip([start, end]).collect())
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_delivery::testing::script::Script;

    use super::*;

    #[tokio::test]
    async fn isolation_is_that_of_the_offsets() {
        let (cluster, _) = Script::cluster(1);
        for (query, want) in [
            ("", r#"{"beginning_offset":-2,"end_offset":-1}"#),
            ("isolation=read_uncommitted&timestamp=5", r#"{"offset":5}"#),
            ("isolation=read_committed", r#"{"beginning_offset":-3,"end_offset":-2}"#),
            ("isolation=read_committed&timestamp=5", r#"{"offset":4}"#),
            ("timestamp=1970-01-01T00:00:00.005Z", r#"{"offset":5}"#),
            ("timestamp=s@5", r#"{"offset":5}"#),
        ] {
            let asked = Query::at("/topics/0/partitions/0/offsets", query, System::Kafka).unwrap();
            let found =
                get(&Grant::all(&cluster), Log { topic: "0", partition: 0 }, &asked, "").await.unwrap();
            assert_eq!(found.body, want, "{query}");
        }
    }
}
