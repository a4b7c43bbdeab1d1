//! The part of a log that a broker can serve.

use super::super::log::Log;
use super::super::{Partition, State, Topic};
use super::{NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION};

/// A log as one broker serves it.
pub(super) struct Served<'a> {
    pub(super) log: &'a Log,
    /// The log's end for consumers.
    pub(super) committed: i64,
    /// The same for those that read only committed transactions.
    pub(super) stable: i64,
    pub(super) start: i64,
    /// The log's end on this broker.
    pub(super) end: i64,
    /// Whether the broker is a follower.
    pub(super) is_follower: bool,
}

/// The readers that a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    OfLeaders,
    /// Followers answer it, too.
    OfReplicas,
}

impl<'a> Served<'a> {
    /// A partition, for a reader that knows the leader of this epoch; −1: it knows none.
    ///
    /// # Errors
    /// Kafka's error code.
    pub(super) fn of(
        state: &State,
        broker: usize,
        topic: Option<&'a Topic>,
        (partition, epoch): (i32, i32),
        by: Reader,
    ) -> Result<Self, i16> {
        let partitions = topic.map(|topic| &topic.partitions);
        let number = usize::try_from(partition).map_err(|_| UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition: &Partition =
            partitions.and_then(|partitions| partitions.get(number)).ok_or(UNKNOWN_TOPIC_OR_PARTITION)?;
        let lag = state.brokers.get(broker).map(|broker| broker.lag).unwrap_or_default();
        let leader = partition.leader_known_after(lag);
        if epoch >= 0 && epoch != leader.epoch {
            return Err(if epoch < leader.epoch { FENCED_LEADER_EPOCH } else { UNKNOWN_LEADER_EPOCH });
        }
        let log = &partition.log;
        let Log { start, committed, end, .. } = *log;
        let of_log = Self { log, start, committed, stable: log.stable(), end, is_follower: false };
        if leader.broker != broker {
            if by == Reader::OfLeaders || leader.epoch != log.epoch {
                return Err(NOT_LEADER_OR_FOLLOWER);
            }
            let (committed, end) =
                (log.end_before(state.follower_lag), log.end_before(state.follower_lag / 2));
            let (stable, is_follower) = (log.stable_until(committed), true);
            return Ok(Self { committed, stable, end, is_follower, ..of_log });
        }
        if leader.epoch == log.epoch {
            return Ok(of_log);
        }
        // It does not know yet that it is not the leader any more. Nothing is committed there since.
        let committed = leader.committed.ok_or(NOT_LEADER_OR_FOLLOWER)?;
        let (start, stable) = (log.start.min(committed), log.stable().min(committed));
        Ok(Self { start, committed, stable, end: committed, ..of_log })
    }
}

impl Served<'_> {
    /// Whether the leader does not know yet what its followers have of the records before it (KIP-207).
    pub(super) fn is_new(&self) -> bool {
        self.log.epochs.get(&self.log.epoch).is_some_and(|first| self.committed < *first)
    }
}

const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
