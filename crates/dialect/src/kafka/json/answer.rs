//! Results and items of subscriptions in JSON.

use bytes::Bytes;
use serde::{Serialize, Serializer};
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, Written};
use sluicegate_delivery::{Item, Place, SubscribedTopic};

use crate::error::{MAX_ERROR_BYTES, error_resp};
use crate::json_sessions::answer::{LATEST_PER_KEY, SnapshotEnd, results, text};
use crate::json_sessions::error::Error;
use crate::json_sessions::subscribe::id_text;
use crate::kafka::SYSTEM;
use crate::{cause_name, millis};

/// The offsets of many logs.
pub(in crate::kafka) fn listed(sequence: i64, listed: Vec<Result<ListedOffset, CommandError>>) -> Bytes {
    let offset = |ListedOffset { offset, timestamp }| Offset { offset, timestamp };
    results(sequence, SYSTEM, listed.into_iter().map(|result| result.map(offset)))
}

/// The reports of records.
pub(in crate::kafka) fn produced(sequence: i64, reports: Vec<DeliveryReport>) -> Bytes {
    let place = |Written { partition, offset, timestamp, .. }| Produced { partition, offset, timestamp };
    results(sequence, SYSTEM, reports.into_iter().map(|report| report.map(place)))
}

/// An item without records; none for the other items.
pub(in crate::kafka) fn item(sequence: i64, item: &Item) -> Option<Bytes> {
    Some(match item {
        Item::Subscribed(topics) => {
            text(sequence, &Subscribed { subscribed: topics.iter().map(topic).collect(), snapshot: None })
        }
        Item::Snapshot(topics) => {
            let subscribed = topics.iter().map(topic).collect();
            text(sequence, &Subscribed { subscribed, snapshot: Some(LATEST_PER_KEY) })
        }
        Item::Building { place, end } => {
            let building = Part { partition: place.partition, next: place.offset, end: *end };
            text(sequence, &Building { topic: &place.topic, building })
        }
        Item::SnapshotEnd { skipped } => text(sequence, &SnapshotEnd::new(*skipped)),
        Item::LogStart(place) => {
            let log_start = PartitionStart { partition: place.partition, offset: place.offset };
            text(sequence, &LogStart { topic: &place.topic, log_start })
        }
        Item::CaughtUp { place, blocked_until } => {
            let open_transaction = blocked_until.map(|end| OpenTransaction { end });
            let caught_up = CaughtUpAt { partition: place.partition, open_transaction };
            text(sequence, &CaughtUp { topic: &place.topic, next: Next::of(place), caught_up })
        }
        Item::Skipped { from, to, cause } => {
            let skipped =
                Range { partition: to.partition, from: *from, to: to.offset, cause: cause_name(*cause) };
            text(sequence, &Skipped { topic: &to.topic, next: Next::of(to), skipped })
        }
        Item::Retrying { place, error, since } => {
            let error = error_resp(error.clone(), SYSTEM, MAX_ERROR_BYTES);
            let error = Error::of_command(&error);
            let retrying = Outage { partition: place.partition, since: millis(*since), error };
            text(sequence, &Retrying { topic: &place.topic, retrying })
        }
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    })
}

#[derive(Serialize)]
struct Offset {
    offset: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Produced {
    partition: i32,
    offset: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Subscribed<'a> {
    subscribed: Vec<Topic<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'static str>,
}

#[derive(Serialize)]
struct Building<'a> {
    topic: &'a str,
    building: Part,
}

#[derive(Serialize)]
struct Part {
    partition: i32,
    next: i64,
    end: i64,
}

#[derive(Serialize)]
struct LogStart<'a> {
    topic: &'a str,
    log_start: PartitionStart,
}

#[derive(Serialize)]
struct PartitionStart {
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    topic_id: String,
    /// Where each begins.
    partitions: Next,
}

#[derive(Serialize)]
struct CaughtUp<'a> {
    topic: &'a str,
    next: Next,
    caught_up: CaughtUpAt,
}

#[derive(Serialize)]
struct CaughtUpAt {
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_transaction: Option<OpenTransaction>,
}

#[derive(Serialize)]
struct OpenTransaction {
    end: i64,
}

#[derive(Serialize)]
struct Skipped<'a> {
    topic: &'a str,
    next: Next,
    skipped: Range,
}

#[derive(Serialize)]
struct Range {
    partition: i32,
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
struct Retrying<'a> {
    topic: &'a str,
    retrying: Outage<'a>,
}

#[derive(Serialize)]
struct Outage<'a> {
    partition: i32,
    since: i64,
    error: Error<'a>,
}

/// The offset to continue from, by partition.
struct Next(Vec<(i32, i64)>);

impl Next {
    fn of(place: &Place) -> Self {
        Self(vec![(place.partition, place.offset)])
    }
}

impl Serialize for Next {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn topic(SubscribedTopic { topic, topic_id, partitions }: &SubscribedTopic) -> Topic<'_> {
    Topic { topic, topic_id: id_text(*topic_id), partitions: Next(partitions.clone()) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use sluicegate_backend::Fault;
    use sluicegate_delivery::SkipCause;

    use super::*;

    fn denied() -> CommandError {
        CommandError::new(Fault::Forbidden, 0, "m")
    }

    const DENIED: &str = r#"{"reason":"DENIED","message":"m","retriable":false}"#;

    #[test]
    fn results_have_their_members() {
        let text = |text: Bytes| String::from_utf8(text.into()).unwrap();
        let found = Ok(ListedOffset { offset: i64::MAX, timestamp: -1 });
        let want = format!(
            r#"{{"id":7,"results":[{{"offset":9223372036854775807,"timestamp":-1}},{{"error":{DENIED}}}]}}"#
        );
        assert_eq!(text(listed(7, vec![found, Err(denied())])), want);
        let written = Ok(Written { partition: 1, offset: 2, timestamp: 3, dedup: None });
        let want = format!(
            r#"{{"id":7,"results":[{{"partition":1,"offset":2,"timestamp":3}},{{"error":{DENIED}}}]}}"#
        );
        assert_eq!(text(produced(7, vec![written, Err(denied())])), want);
    }

    #[track_caller]
    fn check(told: &Item, want: &str) {
        assert_eq!(String::from_utf8(item(7, told).unwrap().into()).unwrap(), want);
    }

    #[test]
    fn items_tell_where_to_continue() {
        let known = SubscribedTopic {
            topic: "t".into(),
            topic_id: Some(u128::MAX),
            partitions: vec![(0, 5), (1, 0)],
        };
        let unknown = SubscribedTopic { topic: "u".into(), topic_id: None, partitions: Vec::new() };
        check(
            &Item::Subscribed(vec![known, unknown]),
            r#"{"id":7,"subscribed":[{"topic":"t","topic_id":"_____________________w","partitions":{"0":5,"1":0}},{"topic":"u","partitions":{}}]}"#,
        );
        let place = |offset| Place { topic: "t".into(), partition: 1, offset };
        check(
            &Item::CaughtUp { place: place(6), blocked_until: None },
            r#"{"id":7,"topic":"t","next":{"1":6},"caught_up":{"partition":1}}"#,
        );
        check(
            &Item::CaughtUp { place: place(6), blocked_until: Some(9) },
            r#"{"id":7,"topic":"t","next":{"1":6},"caught_up":{"partition":1,"open_transaction":{"end":9}}}"#,
        );
        check(
            &Item::Skipped { from: 6, to: place(9), cause: SkipCause::Lag },
            r#"{"id":7,"topic":"t","next":{"1":9},"skipped":{"partition":1,"from":6,"to":9,"cause":"lag"}}"#,
        );
        let since = UNIX_EPOCH + Duration::from_millis(8);
        check(
            &Item::Retrying { place: place(9), error: denied(), since },
            &format!(r#"{{"id":7,"topic":"t","retrying":{{"partition":1,"since":8,"error":{DENIED}}}}}"#),
        );
        let topic = SubscribedTopic { topic: "t".into(), topic_id: None, partitions: vec![(1, 5)] };
        check(
            &Item::Snapshot(vec![topic]),
            r#"{"id":7,"subscribed":[{"topic":"t","partitions":{"1":5}}],"snapshot":"latest_per_key"}"#,
        );
        check(
            &Item::Building { place: place(3), end: 5 },
            r#"{"id":7,"topic":"t","building":{"partition":1,"next":3,"end":5}}"#,
        );
        check(&Item::SnapshotEnd { skipped: 2 }, r#"{"id":7,"snapshot_end":{"skipped":2}}"#);
        check(&Item::LogStart(place(4)), r#"{"id":7,"topic":"t","log_start":{"partition":1,"offset":4}}"#);
        assert_eq!(item(7, &Item::Ended { place: place(9), error: denied() }), None);
    }
}
