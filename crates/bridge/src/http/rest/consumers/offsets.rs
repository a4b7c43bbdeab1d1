//! Commits, what is committed, and positions: of a consumer, or of its group without one.

use std::sync::Arc;

use http::StatusCode;
use sluicegate_backend::groups::{Commit, GroupLog, log};
use sluicegate_backend::{CommandError, LOG_END};
use sluicegate_delivery::consumers::{Consumer, ConsumerError, LogEnd};
use sluicegate_dialect::http::consumers::{
    Call, Commits, Committed, Positions, assignments, commits, positions,
};

use super::super::super::Request;
use super::super::super::problem::{Problem, ProblemKind};
use super::super::super::response::Response;
use super::super::path::Query;
use super::{Failure, body, told};

/// Commits the positions of the body, or all that the consumer has read.
pub(super) async fn commit(
    request: &Request<'_>,
    group: &str,
    consumer: Option<&Arc<Consumer>>,
) -> Result<Response, Failure> {
    let Commits { commits, is_partitions } = commits(body(request)?)?;
    let results = match (consumer, commits) {
        (_, Some(commits)) if commits.is_empty() => Vec::new(),
        (Some(consumer), commits) => consumer.commit(request.grant, commits).await?,
        (None, Some(commits)) => request.grant.commit(group, &commits).await?,
        (None, None) => {
            return Err(Problem::new(ProblemKind::Unprocessable, "body: expected offsets").into());
        }
    };
    results.into_iter().collect::<Result<Vec<()>, CommandError>>().map_err(ConsumerError::from)?;
    Ok(match is_partitions {
        // As Redpanda answers.
        true => Response::empty(StatusCode::NO_CONTENT),
        false => told(request, &[(); 0]),
    })
}

/// The commits of the body's partitions, of a topic in the query, or of all that the consumer has. Partitions without a
/// commit are left out.
pub(super) async fn committed(
    request: &Request<'_>,
    group: &str,
    consumer: Option<&Arc<Consumer>>,
    query: &Query,
) -> Result<Response, Failure> {
    let grant = request.grant;
    let logs: Vec<GroupLog> = match (query.text("topic"), body(request)?, consumer) {
        (Some(topic), "", _) => {
            let described = grant.describe(topic).await;
            let described = match described {
                Ok(described) => described,
                Err(error) => {
                    let problem = Problem::failed(error, grant.system());
                    return Err(problem.with_missing_log(grant, topic, None).await.into());
                }
            };
            let topic: Arc<str> = topic.into();
            described.partitions.iter().map(|one| (Arc::clone(&topic), one.partition)).collect()
        }
        (None, "", Some(consumer)) => consumer.assignment(),
        (None, "", None) => {
            let detail = "expected the query parameter topic, or partitions in the body";
            return Err(Problem::new(ProblemKind::Malformed, detail).into());
        }
        (Some(_), ..) => {
            let detail = "query parameter topic: expected it without a body";
            return Err(Problem::new(ProblemKind::Malformed, detail).into());
        }
        (None, body, _) => assignments(body)?,
    };
    let found = match consumer {
        Some(consumer) => consumer.committed(grant, &logs).await?,
        None => grant.committed(group, &logs).await?,
    };
    let found: Result<Vec<Option<Commit>>, CommandError> = found.into_iter().collect();
    let found = found.map_err(ConsumerError::from)?;
    Ok(told(request, &Committed::of(found.into_iter().flatten())))
}

/// Moves the consumer to the body's positions, or to an end of its partitions; of an empty list, to that of all that it
/// has.
pub(super) async fn seek(request: &Request<'_>, consumer: &Arc<Consumer>, call: Call) -> Result<(), Failure> {
    let grant = request.grant;
    let end = match call {
        Call::SeekToBeginning => LogEnd::Beginning,
        Call::SeekToEnd => LogEnd::End,
        _ => {
            let Positions { offsets, times } = positions(body(request)?)?;
            let mut to = offsets;
            to.extend(at_times(request, consumer, times).await?);
            return Ok(consumer.seek(grant, to).await?);
        }
    };
    let logs = assignments(body(request)?)?;
    let logs = if logs.is_empty() { consumer.assignment() } else { logs };
    Ok(consumer.seek_to(grant, end, logs).await?)
}

/// The first records at or after these times, or the ends.
async fn at_times(
    request: &Request<'_>,
    consumer: &Consumer,
    times: Vec<(GroupLog, i64)>,
) -> Result<Vec<(GroupLog, i64)>, Failure> {
    if times.is_empty() {
        return Ok(Vec::new());
    }
    let (grant, committed) = (request.grant, consumer.settings().committed);
    let at =
        |time: Option<i64>| times.iter().map(|(of, own)| (log(of), time.unwrap_or(*own))).collect::<Vec<_>>();
    let mut offsets = Vec::with_capacity(times.len());
    let found = grant.list_offsets(&at(None), committed).await.map_err(ConsumerError::from)?;
    let ends = grant.list_offsets(&at(Some(LOG_END)), committed).await.map_err(ConsumerError::from)?;
    for (((of, _), found), end) in times.iter().zip(found).zip(ends) {
        let found = found.map_err(ConsumerError::from)?.offset;
        let offset = if found < 0 { end.map_err(ConsumerError::from)?.offset } else { found };
        offsets.push((of.clone(), offset));
    }
    Ok(offsets)
}
