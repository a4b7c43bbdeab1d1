//! Answers in JSON.

use std::time::{Duration, UNIX_EPOCH};

use sluicegate_backend::{Dedup, Fault, ProducerState, Written};
use sluicegate_delivery::{SkipCause, SubscribedTopic};
use sluicegate_protocol::KafkaCommitResp;

use super::*;
use crate::session::records::tests::text;

const JSON: Encoding = Encoding::Json(Format::Json);
const DENIED: &str = r#""error":{"reason":"DENIED","message":"m","retriable":false}"#;

fn denied() -> CommandError {
    CommandError::new(Fault::Forbidden, 0, "m")
}

#[test]
fn results_have_their_members() {
    let check = |answer, results: &str| {
        assert_eq!(text(answer), format!(r#"{{"id":7,"results":[{results}]}}"#));
    };
    let found = Ok(ListedOffset { offset: i64::MAX, timestamp: -1 });
    let want = format!(r#"{{"offset":9223372036854775807,"timestamp":-1}},{{{DENIED}}}"#);
    check(list_offsets::answer(7, vec![found, Err(denied())], JSON), &want);
    let written = Ok(Written { partition: 1, offset: 2, timestamp: 3, ..Written::default() });
    let want = format!(r#"{{"partition":1,"offset":2,"timestamp":3}},{{{DENIED}}}"#);
    check(produce::answer(7, vec![written, Err(denied())], JSON), &want);
    let window = Duration::from_secs(9);
    let dedup = Some(Dedup { is_duplicate: true, window, in_order: true, last: Some(5) });
    let again = Ok(Written { dedup, offset: -1, ..Written::default() });
    let state = Some(ProducerState { epoch: 3, sequence: 4 });
    let gap = Err(CommandError::new(Fault::OutOfOrder, 45, "m").of_producer(state));
    let want = concat!(
        r#"{"partition":0,"offset":-1,"timestamp":0,"duplicate":true,"duplicate_window_ms":9000,"last_sequence":5},"#,
        r#"{"error":{"reason":"OUT_OF_ORDER","message":"m","retriable":false,"code":45,"producer":{"epoch":3,"sequence":4}}}"#,
    );
    check(produce::answer(7, vec![again, gap], JSON), want);
    let results = || vec![Ok(()), Err(CommandError::new(Fault::Rejected, 27, "m"))];
    let logs = || [0, 1].map(|partition| ("t".into(), partition)).into_iter();
    let committed = |encoding| Answer::committed(7, logs(), results(), encoding);
    let want = concat!(
        r#"{"topic":"t","partition":0},{"topic":"t","partition":1,"#,
        r#""error":{"reason":"REJECTED","message":"m","retriable":false,"code":27}}"#,
    );
    check(committed(JSON), want);
    let Answer::Message(message) = committed(Encoding::Protobuf) else { panic!("no message") };
    let Some(Resp::KafkaCommitResp(KafkaCommitResp { results })) = message.resp else { panic!("no commits") };
    let codes = results.iter().map(|result| result.error.as_ref().map(|error| error.code));
    assert_eq!(codes.collect::<Vec<_>>(), [None, Some(27)]);
}

#[test]
fn items_tell_where_to_continue() {
    let topics = |topic: &str, topic_id, partitions: &[(i32, i64)]| SubscribedTopic {
        topic: topic.into(),
        topic_id,
        partitions: partitions.to_vec(),
    };
    let topic = || vec![topics("t", None, &[(1, 5)])];
    let known = topics("t", Some(u128::MAX), &[(0, 5), (1, 0)]);
    let place = |offset| Place { topic: "t".into(), partition: 1, offset };
    let caught_up = |blocked_until| Item::CaughtUp { place: place(6), blocked_until };
    let since = UNIX_EPOCH + Duration::from_millis(8);
    let building = r#""topic":"t","building":{"partition":1,"next":3,"end":5}"#;
    let blocked = r#""topic":"t","next":{"1":6},"caught_up":{"partition":1,"open_transaction":{"end":9}}"#;
    let skipped = r#""topic":"t","next":{"1":9},"skipped":{"partition":1,"from":6,"to":9,"cause":"lag"}"#;
    let retrying = format!(r#""topic":"t","retrying":{{"partition":1,"since":8,{DENIED}}}"#);
    let snapshot = r#""subscribed":[{"topic":"t","partitions":{"1":5}}],"snapshot":"latest_per_key""#;
    let assigned = r#""assigned":[{"topic":"t","partitions":{"1":5}}],"assignment":3"#;
    let subscribed = concat!(
        r#""subscribed":[{"topic":"t","topic_id":"_____________________w","partitions":{"0":5,"1":0}},"#,
        r#"{"topic":"u","partitions":{}}]"#,
    );
    for (told, want) in [
        (Item::Subscribed(vec![known, topics("u", None, &[])]), subscribed),
        (caught_up(None), r#""topic":"t","next":{"1":6},"caught_up":{"partition":1}"#),
        (caught_up(Some(9)), blocked),
        (Item::Skipped { from: 6, to: place(9), cause: SkipCause::Lag }, skipped),
        (Item::Retrying { place: place(9), error: denied(), since }, &retrying),
        (Item::Snapshot(topic()), snapshot),
        (Item::Assigned { assignment: 3, topics: topic() }, assigned),
        (Item::Revoked, r#""revoked":{}"#),
        (Item::Building { place: place(3), end: 5 }, building),
        (Item::SnapshotEnd { skipped: 2 }, r#""snapshot_end":{"skipped":2}"#),
        (Item::LogStart(place(4)), r#""topic":"t","log_start":{"partition":1,"offset":4}"#),
    ] {
        assert_eq!(item::json(7, &told).unwrap(), format!(r#"{{"id":7,{want}}}"#));
    }
    assert_eq!(item::json(7, &Item::Ended { place: place(9), error: denied() }), None);
}
