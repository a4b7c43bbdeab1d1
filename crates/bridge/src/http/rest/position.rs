//! Where a read of one or more partitions begins, in the words of the command line: an offset, `earliest`, `latest`,
//! `-N` or `s@TIME`.

use sluicegate_backend::number::whole_number;
use sluicegate_backend::{CommandError, LOG_END, LOG_START, Log};
use sluicegate_delivery::cluster::{MAX_PARTITIONS, Place, escape_for_message};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::position::{millis, now};

use super::super::problem::{Problem, ProblemKind};
use super::path::Query;

/// A place in a log, or in many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Offset(i64),
    /// The first record at or after a time in milliseconds since 1970, or else the end; [`LOG_START`] or [`LOG_END`].
    Time(i64),
    /// So many offsets before the end, or the start if the log has fewer.
    BeforeEnd(i64),
}

impl Position {
    /// Parses a query parameter. None: it is absent.
    ///
    /// # Errors
    /// It is not a position.
    pub(super) fn of(query: &Query, name: &str) -> Result<Option<Self>, Problem> {
        let Some(text) = query.text(name) else { return Ok(None) };
        Self::parse(text, now()).map(Some).ok_or_else(|| {
            let detail = format!("query parameter {name}: expected {EXPECTED}");
            Problem::new(ProblemKind::Malformed, detail)
        })
    }

    fn parse(text: &str, now: i64) -> Option<Self> {
        if let Some(time) = text.strip_prefix("s@") {
            return millis(time, now).map(Self::Time);
        }
        match (text, whole_number(text)) {
            ("earliest" | "beginning", _) => Some(Self::Time(LOG_START)),
            ("latest" | "end", _) => Some(Self::Time(LOG_END)),
            (_, Some(offset @ 0..)) => Some(Self::Offset(offset)),
            (_, Some(before)) => Some(Self::BeforeEnd(before.saturating_neg())),
            (_, None) => None,
        }
    }

    /// The place in each partition of a topic, or in `only` one; none if the topic does not have it. `instead` says
    /// what to do about too many partitions.
    ///
    /// # Errors
    /// They are more than [`MAX_PARTITIONS`], or cannot be found now.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(super) async fn places<'a>(
        self,
        grant: &Grant,
        topic: &'a str,
        only: Option<i32>,
        committed: bool,
        instead: &str,
    ) -> Result<Vec<Place<'a>>, Problem> {
        let description = match grant.describe(topic).await {
            Ok(description) => description,
            Err(error) => {
                let log = Log { topic, partition: only.unwrap_or_default() };
                return Err(Problem::of_read(grant, log, None, error).await);
            }
        };
        let partitions = description.partitions.iter().map(|described| described.partition);
        let chosen = partitions.filter(|partition| only.is_none_or(|only| only == *partition));
        let logs: Vec<Log<'a>> = chosen.map(|partition| Log { topic, partition }).collect();
        if logs.len() > MAX_PARTITIONS {
            return Err(too_many_partitions(topic, logs.len(), instead));
        }
        match self.resolve(grant, &logs, committed).await {
            Ok(offsets) => Ok(logs.into_iter().zip(offsets).collect()),
            Err((log, error)) => Err(Problem::of_read(grant, log, None, error).await),
        }
    }

    /// The offset in each log.
    ///
    /// # Errors
    /// The offset of this log cannot be found now.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(super) async fn resolve<'a>(
        self,
        grant: &Grant,
        logs: &[Log<'a>],
        committed: bool,
    ) -> Result<Vec<i64>, (Log<'a>, CommandError)> {
        let Some(first) = logs.first() else { return Ok(Vec::new()) };
        let list = async |timestamp| {
            let asked: Vec<_> = logs.iter().map(|log| (*log, timestamp)).collect();
            let listed = grant.list_offsets(&asked, committed).await.map_err(|error| (*first, error))?;
            let listed = logs.iter().zip(listed);
            let offset = |(log, listed): (&Log<'a>, Result<_, _>)| match listed {
                Ok(sluicegate_backend::ListedOffset { offset, .. }) => Ok(offset),
                Err(error) => Err((*log, error)),
            };
            listed.map(offset).collect::<Result<Vec<i64>, _>>()
        };
        let each = |one: Vec<i64>, other: Vec<i64>, choose: fn(i64, i64) -> i64| {
            one.into_iter().zip(other).map(|(one, other)| choose(one, other)).collect()
        };
        match self {
            Self::Offset(offset) => Ok(logs.iter().map(|_| offset).collect()),
            Self::Time(end @ ..0) => list(end).await,
            // The ends first: what is written meanwhile comes after them.
            Self::Time(time) => {
                Ok(each(
                    list(LOG_END).await?,
                    list(time).await?,
                    |end, found| {
                        if found < 0 { end } else { found }
                    },
                ))
            }
            Self::BeforeEnd(count) => {
                let ends = list(LOG_END).await?;
                let begins = ends.into_iter().map(|end| end.saturating_sub(count)).collect();
                Ok(each(begins, list(LOG_START).await?, i64::max))
            }
        }
    }
}

/// The problem of a topic with more than [`MAX_PARTITIONS`], and what to do `instead`.
pub(super) fn too_many_partitions(topic: &str, count: usize, instead: &str) -> Problem {
    let topic = escape_for_message(topic);
    let detail =
        format!("topic {topic} has {count} partitions: expected at most {MAX_PARTITIONS}, {instead}");
    Problem::new(ProblemKind::Malformed, detail)
}

/// The kinds of positions.
pub(super) const EXPECTED: &str = "a number from 0, earliest, latest, -N (N before the end) \
                                   or s@TIME (milliseconds, 2026-01-31T12:00:00Z or -5m)";

#[cfg(test)]
mod tests {
    use sluicegate_delivery::testing::logs::Logs;
    use sluicegate_delivery::testing::script::PARTITIONS;
    use sluicegate_delivery::testing::script::Script;

    use super::super::super::tests::check_problem;
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn position_is_an_offset_a_name_a_distance_or_a_time() {
        for (text, want) in [
            ("0", Position::Offset(0)),
            ("9223372036854775807", Position::Offset(i64::MAX)),
            ("earliest", Position::Time(LOG_START)),
            ("beginning", Position::Time(LOG_START)),
            ("latest", Position::Time(LOG_END)),
            ("end", Position::Time(LOG_END)),
            ("-1", Position::BeforeEnd(1)),
            ("-9223372036854775808", Position::BeforeEnd(i64::MAX)),
            ("s@1700000000000", Position::Time(NOW)),
            ("s@2023-11-14T22:13:20Z", Position::Time(NOW)),
            ("s@2023-11-14T23:13:20+01:00", Position::Time(NOW)),
            ("s@-5m", Position::Time(NOW - 300_000)),
            ("s@-0s", Position::Time(NOW)),
            ("s@-2h", Position::Time(NOW - 7_200_000)),
            ("s@-7d", Position::Time(NOW - 604_800_000)),
        ] {
            assert_eq!(Position::parse(text, NOW), Some(want), "{text}");
        }
        let others = "- +1 1.0 9223372036854775808 Earliest s@ s@-5 s@5m s@-m s@--5m s@-+5m s@-5é \
                      s@-20000d s@-9223372036854775807d s@1969-12-31T23:59:59Z -5m";
        for text in others.split(' ').chain([""]) {
            assert_eq!(Position::parse(text, NOW), None, "{text}");
        }
    }

    /// The scripted offset of a timestamp is the timestamp.
    #[tokio::test]
    async fn offsets_are_found_in_each_log() {
        let (cluster, _) = Script::cluster(1);
        let logs = [0, 1].map(|partition| Log { topic: "0", partition });
        for (position, want) in [
            (Position::Offset(7), 7),
            (Position::Time(LOG_START), LOG_START),
            (Position::Time(5), 5),
            // A start at −2 is after what is before an end at −1.
            (Position::BeforeEnd(9), LOG_START),
            (Position::BeforeEnd(0), LOG_END),
        ] {
            let found = position.resolve(&Grant::all(&cluster), &logs, false).await;
            assert_eq!(found, Ok(vec![want; 2]), "{position:?}");
        }
        // Among committed records, each scripted offset is one less: no record is from then on, so it is the end.
        let found = Position::Time(0).resolve(&Grant::all(&cluster), &logs, true).await;
        assert_eq!(found, Ok(vec![LOG_END - 1; 2]));
    }

    #[tokio::test]
    async fn places_of_all_partitions_are_bounded() {
        let logs = Logs::default();
        let cluster = logs.cluster();
        let places = async |only| {
            Position::BeforeEnd(1).places(&Grant::all(&cluster), "t", only, false, "do less").await
        };
        logs.append(1, 3);
        let place = |partition, offset| (Log { topic: "t", partition }, offset);
        assert_eq!(places(Some(1)).await, Ok(vec![place(1, 2)]));
        assert_eq!(places(Some(-1)).await, Ok(Vec::new()));

        logs.add_partitions(i32::try_from(MAX_PARTITIONS).unwrap() - PARTITIONS);
        assert_eq!(places(None).await.map(|places| places.len()), Ok(MAX_PARTITIONS));
        logs.add_partitions(1);
        let problem = places(None).await.unwrap_err();
        check_problem(problem, 400, "topic t has 257 partitions: expected at most 256, do less");
        assert_eq!(places(Some(1)).await, Ok(vec![place(1, 2)]));
    }
}
