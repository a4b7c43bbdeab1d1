//! The partitions of a topic, over a protocol that does not list them.

use std::future::ready;

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use sluicegate_client::Error;
use sluicegate_protocol::error_code::UNKNOWN_TOPIC_OR_PARTITION;

/// Calls `ask` for the partitions 0, 1, 2, …, a few at a time, and returns the answers in order. Ends before the first
/// partition that does not exist; if that is partition 0, the topic does not exist, and the stream has its error.
pub(crate) fn each<T, F>(ask: impl Fn(i32) -> F) -> impl Stream<Item = Result<(i32, T), Error>>
where
    F: Future<Output = Result<T, Error>>,
{
    stream::iter(0..=MAX_PARTITIONS)
        .map(move |partition| ask(partition).map(move |answer| (partition, answer)))
        .buffered(IN_FLIGHT)
        .take_while(|(partition, answer)| {
            let missing = matches!(answer, Err(Error::Command { code: UNKNOWN_TOPIC_OR_PARTITION, .. }));
            ready(*partition == 0 || !missing)
        })
        .map(|(partition, answer)| match answer {
            Ok(_) if partition == MAX_PARTITIONS => {
                Err(Error::Protocol { detail: format!("it has more than {MAX_PARTITIONS} partitions") })
            }
            answer => answer.map(|answer| (partition, answer)),
        })
}

/// Far more than topics have: stops at a server that claims to have every partition.
const MAX_PARTITIONS: i32 = 100_000;
/// Concurrent calls; up to one less than this fail after the last partition.
const IN_FLIGHT: usize = 8;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::TryStreamExt as _;
    use sluicegate_client::Reason;

    use super::*;

    fn missing() -> Error {
        rejected(UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn rejected(code: i32) -> Error {
        Error::Command {
            code,
            message: String::new(),
            retriable: false,
            retry_after: None,
            reason: Reason::Unspecified,
            earliest_offset: None,
            latest_offset: None,
        }
    }

    /// The partitions found in a topic of `count`, and the highest one requested.
    async fn found(count: i32) -> (Result<Vec<(i32, i32)>, Error>, i32) {
        let highest = Cell::new(0);
        let ask = |partition| {
            highest.set(highest.get().max(partition));
            ready(if partition < count { Ok(partition) } else { Err(missing()) })
        };
        (each(ask).try_collect().await, highest.get())
    }

    #[tokio::test]
    async fn partitions_end_before_the_first_missing_one() {
        for count in [1, 7, 8, 20] {
            let (found, highest) = found(count).await;
            assert_eq!(found.unwrap(), (0..count).map(|p| (p, p)).collect::<Vec<_>>());
            assert!(highest < count + 8, "{highest}");
        }
    }

    #[tokio::test]
    async fn missing_topic_and_endless_topic_are_errors() {
        assert_eq!(found(0).await.0, Err(missing()));
        assert!(matches!(found(i32::MAX).await.0, Err(Error::Protocol { .. })));
    }

    #[tokio::test]
    async fn other_errors_are_passed_on() {
        let other = rejected(29);
        let ask = |partition| ready(if partition < 2 { Ok(()) } else { Err(other.clone()) });
        assert_eq!(each(ask).try_collect::<Vec<_>>().await, Err(other.clone()));
    }
}
