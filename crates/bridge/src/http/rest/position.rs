//! Where a read of one or more partitions begins, in the words of the command line: an offset, `earliest`, `latest`,
//! `-N` or `s@TIME`.

use sluicegate_backend::command::Start;
use sluicegate_backend::{CommandError, LOG_END, Log};
use sluicegate_delivery::cluster::{MAX_PARTITIONS, Place, escape_for_message};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::position::{EXPECTED, now, parse};

use super::super::problem::{Problem, ProblemKind};
use super::path::Query;

/// Parses a query parameter. None: it is absent.
///
/// # Errors
/// It is not a position.
pub(super) fn position(query: &Query, name: &str) -> Result<Option<Start>, Problem> {
    let Some(text) = query.time(name) else { return Ok(None) };
    parse(&text, now()).map(Some).ok_or_else(|| {
        let detail = format!("query parameter {name}: expected {EXPECTED}");
        Problem::new(ProblemKind::Malformed, detail)
    })
}

/// A partition, and where its read begins; or the position that was asked for, if nobody knows its offset now.
pub(super) type Begin<'a> = Result<Place<'a>, (Log<'a>, Start)>;

/// Where each partition of a topic begins. `instead` says what to do about too many partitions.
///
/// # Errors
/// They are more than [`MAX_PARTITIONS`], or none of them can be found now.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn places<'a>(
    start: Start,
    grant: &Grant,
    topic: &'a str,
    committed: bool,
    instead: &str,
) -> Result<Vec<Begin<'a>>, Problem> {
    let description = match grant.describe(topic).await {
        Ok(description) => description,
        Err(error) => return Err(Problem::of_read(grant, Log { topic, partition: 0 }, None, error).await),
    };
    let partitions = description.partitions.iter();
    let logs: Vec<Log<'a>> = partitions.map(|of| Log { topic, partition: of.partition }).collect();
    if logs.len() > MAX_PARTITIONS {
        return Err(too_many_partitions(topic, logs.len(), instead));
    }
    begins(logs.into_iter().map(|log| (log, start)), grant, committed).await
}

/// Where each partition begins.
///
/// # Errors
/// None of them can be found now, or one must not be read.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn begins<'a>(
    asked: impl Iterator<Item = (Log<'a>, Start)>,
    grant: &Grant,
    committed: bool,
) -> Result<Vec<Begin<'a>>, Problem> {
    let asked: Vec<(Log<'a>, Start)> = asked.collect();
    let found = resolve_each(&asked, grant, committed).await;
    let (mut begins, mut failed) = (Vec::with_capacity(asked.len()), None);
    for ((log, start), found) in asked.into_iter().zip(found) {
        match found {
            Ok(offset) => begins.push(Ok((log, offset))),
            Err(error) if error.fault.is_retriable() => {
                begins.push(Err((log, start)));
                failed.get_or_insert((log, error));
            }
            Err(error) => return Err(Problem::of_read(grant, log, None, error).await),
        }
    }
    match failed {
        Some((log, error)) if begins.iter().all(Result::is_err) => {
            Err(Problem::of_read(grant, log, None, error).await)
        }
        _ => Ok(begins),
    }
}

/// The offset in a log.
///
/// # Errors
/// It cannot be found now.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn resolve(
    start: Start,
    grant: &Grant,
    log: Log<'_>,
    committed: bool,
) -> Result<i64, CommandError> {
    // One result for one log.
    resolve_each(&[(log, start)], grant, committed).await.pop().unwrap_or(Ok(0))
}

/// The offset in each log, from two questions at most.
async fn resolve_each(
    asked: &[(Log<'_>, Start)],
    grant: &Grant,
    committed: bool,
) -> Vec<Result<i64, CommandError>> {
    let end = |start| match start {
        Start::Offset(_) => None,
        Start::Timestamp(end @ ..0) => Some(end),
        Start::Timestamp(_) | Start::BeforeEnd(_) => Some(LOG_END),
    };
    let other = |start: Start| start.timestamp().filter(|of| end(start) != Some(*of));
    let list = async |timestamps: Vec<Option<i64>>| {
        let of_log = |(&(log, _), timestamp): (&_, &Option<i64>)| timestamp.map(|timestamp| (log, timestamp));
        let listed: Vec<_> = asked.iter().zip(&timestamps).filter_map(of_log).collect();
        let listed = match listed.is_empty() {
            true => Vec::new(),
            false => match grant.list_offsets(&listed, committed).await {
                Ok(listed) => listed.into_iter().map(|listed| Ok(listed?.offset)).collect(),
                Err(error) => vec![Err(error); listed.len()],
            },
        };
        let mut listed = listed.into_iter();
        let each = timestamps.into_iter().map(|timestamp| timestamp.and_then(|_| listed.next()).transpose());
        each.collect::<Vec<Result<Option<i64>, CommandError>>>()
    };
    // The ends first: what is written meanwhile comes after them.
    let ends = list(asked.iter().map(|(_, start)| end(*start)).collect()).await;
    let found = list(asked.iter().map(|(_, start)| other(*start)).collect()).await;
    let each = asked.iter().zip(ends).zip(found);
    each.map(|(((_, start), end), found)| Ok(start.in_log(end?.unwrap_or_default(), found?))).collect()
}

/// The problem of a topic with more than [`MAX_PARTITIONS`], and what to do `instead`.
pub(super) fn too_many_partitions(topic: &str, count: usize, instead: &str) -> Problem {
    let topic = escape_for_message(topic);
    let detail =
        format!("topic {topic} has {count} partitions: expected at most {MAX_PARTITIONS}, {instead}");
    Problem::new(ProblemKind::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use sluicegate_backend::LOG_START;
    use sluicegate_delivery::testing::PARTITIONS;
    use sluicegate_delivery::testing::logs::Logs;
    use sluicegate_delivery::testing::script::Script;

    use super::super::super::tests::check_problem;
    use super::*;

    /// The scripted offset of a timestamp is the timestamp.
    #[tokio::test]
    async fn offsets_are_found_in_each_log() {
        let (cluster, _) = Script::cluster(1);
        let asked = |start| [0, 1].map(|partition| (Log { topic: "0", partition }, start));
        for (start, want) in
            [(Start::Offset(7), 7), (Start::Timestamp(LOG_START), LOG_START), (Start::Timestamp(5), 5)]
        {
            let found = resolve_each(&asked(start), &Grant::all(&cluster), false).await;
            assert_eq!(found, [Ok(want), Ok(want)], "{start:?}");
        }
        // Among committed records, each scripted offset is one less: no record is from then on, so it is the end.
        let found = resolve_each(&asked(Start::Timestamp(0)), &Grant::all(&cluster), true).await;
        assert_eq!(found, [Ok(LOG_END - 1), Ok(LOG_END - 1)]);
    }

    #[tokio::test]
    async fn places_of_all_partitions_are_bounded() {
        let logs = Logs::default();
        let cluster = logs.cluster();
        let places = async || places(Start::BeforeEnd(1), &Grant::all(&cluster), "t", false, "do less").await;
        logs.append(1, 3);
        let begins = places().await.unwrap();
        assert_eq!(begins.iter().flatten().map(|(_, offset)| *offset).take(2).collect::<Vec<_>>(), [0, 2]);

        logs.add_partitions(i32::try_from(MAX_PARTITIONS).unwrap() - PARTITIONS);
        assert_eq!(places().await.map(|places| places.len()), Ok(MAX_PARTITIONS));
        logs.add_partitions(1);
        let problem = places().await.unwrap_err();
        check_problem(problem, 400, "topic t has 257 partitions: expected at most 256, do less");
    }
}
