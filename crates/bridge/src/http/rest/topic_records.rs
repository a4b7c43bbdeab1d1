//! Records of many partitions of a topic, as JSON.

use http::StatusCode;

use super::super::media_type::Format;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::path::Query;
use super::position::Position;
use super::positions::{Part, with_lists};
use super::{partition, records};
use crate::backend::{Fetch, LOG_START, Log};
use crate::cluster::{Cluster, MAX_PARTITIONS, MultiFetch, Place};
use crate::grant::Grant;
use crate::number::whole_number;

/// The response to GET of a topic's records.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn get(
    grant: &Grant,
    topic: &str,
    query: &str,
    format: Format,
    mut running: &RequestPermits,
) -> Result<Response, Problem> {
    let cluster = &*grant.cluster;
    let query = Query::parse(query, &PARAMETERS)?;
    let bounds = records::bounded(&query, cluster.reads())?;
    let Fetch { max_bytes, wait, min_bytes, fill, committed, .. } = bounds;
    let fetch = MultiFetch { max_bytes, wait, min_bytes, fill, committed };
    let places = match (query.text("offsets"), Position::of(&query, "offset")?) {
        (Some(offsets), None) => places(topic, offsets)?,
        (None, position) => all_places(cluster, topic, position, committed).await?,
        (Some(_), Some(_)) => {
            let detail = "query parameter offset: expected it without offsets";
            return Err(Problem::new(ProblemKind::Malformed, detail));
        }
    };
    let results = cluster.multi_fetch(&places, fetch, &mut running).await;
    let has_records = results.iter().flatten().any(|fetched| fetched.count > 0);
    let mut parts: Vec<Part> = Vec::with_capacity(results.len());
    for (result, &(log, offset)) in results.into_iter().zip(&places) {
        match result {
            Ok(fetched) => parts.push(Part { partition: log.partition, fetched }),
            // The same request can succeed later. Until then, its records are not in the answer.
            Err(error) if has_records && error.fault.is_retriable() => {
                parts.push(Part::unread(log.partition, offset));
            }
            Err(error) => return Err(partition::read_problem(cluster, log, Some(offset), error).await),
        }
    }
    // Records as JSON can be too long for the answer. The partition that is first is not always the same.
    let first = fastrand::usize(..parts.len().max(1));
    parts.rotate_left(first);
    let body = records::document(cluster.system, topic, &mut parts, format, bounds, &grant.metrics);
    parts.rotate_right(first);
    let response = Response::with_body(StatusCode::OK, format.content_type(cluster.system), body.into());
    Ok(with_lists(response, &parts))
}

/// This position in each partition of the topic; without one, the start.
async fn all_places<'a>(
    cluster: &Cluster,
    topic: &'a str,
    position: Option<Position>,
    committed: bool,
) -> Result<Vec<Place<'a>>, Problem> {
    let partitions = match cluster.partitions(topic).await {
        Ok(partitions) => partitions,
        Err(error) => {
            return Err(partition::read_problem(cluster, Log { topic, partition: 0 }, None, error).await);
        }
    };
    if partitions.len() > MAX_PARTITIONS {
        let detail = format!(
            "topic {topic} has {} partitions: expected at most {MAX_PARTITIONS}, name some in the query parameter offsets",
            partitions.len()
        );
        return Err(Problem::new(ProblemKind::Malformed, detail));
    }
    let logs: Vec<Log<'a>> =
        partitions.iter().map(|described| Log { topic, partition: described.partition }).collect();
    let begins = position.unwrap_or(Position::Time(LOG_START)).resolve(cluster, &logs, committed).await;
    match begins {
        Ok(begins) => Ok(logs.into_iter().zip(begins).collect()),
        Err((log, error)) => Err(partition::read_problem(cluster, log, None, error).await),
    }
}

/// The places of `0:5,1:9`.
fn places<'a>(topic: &'a str, offsets: &str) -> Result<Vec<Place<'a>>, Problem> {
    let place = |text: &str| {
        let (partition, offset) = text.split_once(':')?;
        let partition = i32::try_from(whole_number(partition)?).ok().filter(|partition| *partition >= 0)?;
        let offset = whole_number(offset).filter(|offset| *offset >= 0)?;
        Some((Log { topic, partition }, offset))
    };
    let places: Option<Vec<_>> =
        offsets.split(',').take(MAX_PARTITIONS.saturating_add(1)).map(place).collect();
    places.filter(|places| places.len() <= MAX_PARTITIONS).ok_or_else(|| {
        let detail = format!(
            "query parameter offsets: expected PARTITION:OFFSET of 1 to {MAX_PARTITIONS} partitions, separated by commas"
        );
        Problem::new(ProblemKind::Malformed, detail)
    })
}

const PARAMETERS: [&str; 7] =
    ["offsets", "offset", "max_bytes", "max_records", "min_bytes", "timeout", "isolation"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_parsed() {
        let log = |partition| Log { topic: "t", partition };
        assert_eq!(places("t", "0:5").unwrap(), [(log(0), 5)]);
        let want = [(log(2_147_483_647), i64::MAX), (log(0), 0)];
        assert_eq!(places("t", "2147483647:9223372036854775807,0:0").unwrap(), want);
        assert_eq!(places("t", &vec!["0:0"; 256].join(",")).unwrap().len(), 256);
        let many = vec!["0:0"; 257].join(",");
        for invalid in ["", "0", "0:", ":0", "0:0,", "0:-1", "-1:0", "0:0 ", "2147483648:0", "0:0;1:0", &many]
        {
            let problem = places("t", invalid).unwrap_err().plain();
            assert_eq!(problem.status.as_u16(), 400, "{invalid}");
        }
    }
}
