//! The first and last offsets of a partition or stream, or the offset of a timestamp.

use http::StatusCode;
use serde::Serialize;
use sluicegate_backend::{Log, MAX_TIMESTAMP, System};
use sluicegate_delivery::grant::Grant;

use super::super::problem::Problem;
use super::super::response::Response;
use super::partition;
use super::path::Query;

/// The response to GET of a partition's offsets.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    grant: &Grant,
    log: Log<'_>,
    query: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let parameters: &[_] = match grant.system() {
        System::Kafka => &["timestamp", "isolation"],
        System::Nats => &["timestamp"],
    };
    let query = Query::parse(query, parameters)?;
    let timestamp = query.number("timestamp", MAX_TIMESTAMP..=i64::MAX)?;
    let committed = query.committed()?;
    let found = match timestamp {
        Some(timestamp) => {
            let listed = grant.list_offset(log, timestamp, committed).await;
            listed.map(|offset| match grant.system() {
                System::Kafka => Document::Offset { offset },
                System::Nats => Document::Sequence { sequence: offset },
            })
        }
        None => {
            let ends = grant.ends(log, committed).await;
            ends.map(|(start, end)| match grant.system() {
                System::Kafka => Document::Offsets { beginning_offset: start, end_offset: end },
                System::Nats => Document::Sequences { first_sequence: start, end },
            })
        }
    };
    match found {
        Ok(document) => Ok(Response::json(StatusCode::OK, content_type, &document)),
        Err(error) => Err(partition::read_problem(grant, log, None, error).await),
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    Offsets {
        beginning_offset: i64,
        /// The offset after the last record.
        end_offset: i64,
    },
    Sequences {
        first_sequence: i64,
        /// One after the last sequence.
        end: i64,
    },
    /// -1: every record is older.
    Offset { offset: i64 },
    /// -1: every message is older.
    Sequence { sequence: i64 },
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
        ] {
            let found =
                get(&Grant::all(&cluster), Log { topic: "0", partition: 0 }, query, "").await.unwrap();
            assert_eq!(found.body, want, "{query}");
        }
    }

    #[tokio::test]
    async fn streams_have_sequences_and_no_isolation() {
        let (cluster, _) = Script::cluster_of(System::Nats, 1);
        let get = async |query| get(&Grant::all(&cluster), Log::of_stream("0"), query, "").await;
        assert_eq!(get("").await.unwrap().body, r#"{"first_sequence":-2,"end":-1}"#);
        assert_eq!(get("timestamp=5").await.unwrap().body, r#"{"sequence":5}"#);
        let problem = get("isolation=read_committed").await.unwrap_err().plain();
        let text = std::str::from_utf8(&problem.body).unwrap();
        assert!(text.contains("unknown query parameter isolation: expected timestamp"), "{text}");
    }
}
