//! Subscriptions to streams, and answers.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use sluicegate_backend::command::RecordFilter;
use sluicegate_backend::{CommandError, Dedup, Fault, ListedOffset, Written};
use sluicegate_delivery::{Item, Place, SkipCause, SubscribedTopic};

use super::*;

#[test]
fn subscription_names_streams_and_subjects() {
    let source =
        |from| command::Source { topic: "s".into(), from, topic_id: Some(u128::MAX), ..Default::default() };
    let filter = RecordFilter { header: None, equals: vec!["a.b".into()], prefixes: vec!["c.".into()] };
    let one = r#"{"stream":"s","from":{"sequence":5},"stream_id":"_____________________w"}"#;
    let options = r#""filters":[{"subject":["a.b",{"prefix":"c."}]}],"max_batch_messages":9,"linger_ms":3,"credit":8,"on_lag":"skip""#;
    for text in [
        format!(r#"{{{},{options}}}"#, &one[1..one.len() - 1]),
        format!(r#"{{"sources":[{one}],{options}}}"#),
    ] {
        let (subscribed, _) = Subscribe::parse(&text).unwrap();
        let command = SubscribeCommand {
            sources: vec![source(command::Start::Offset(5))],
            committed: false,
            filters: vec![filter.clone()],
            max_bytes: 24 * 1024,
            max_records: 9,
            linger: Duration::from_millis(3),
            skips: true,
            table: None,
        };
        assert_eq!(subscribed, Subscribed { command, credit: Some(8) }, "{text}");
    }
}

#[test]
fn answers_have_the_words_of_nats() {
    let text = |text: Bytes| String::from_utf8(text.into()).unwrap();
    let denied = || CommandError::new(Fault::Forbidden, 0, "m");
    let failed = r#""error":{"reason":"DENIED","message":"m","retriable":false}"#;
    let found = Ok(ListedOffset { offset: 5, timestamp: 6 });
    assert_eq!(
        text(listed(7, vec![found, Err(denied())])),
        format!(r#"{{"id":7,"results":[{{"sequence":5,"timestamp":6}},{{{failed}}}]}}"#)
    );
    let plain = Written { partition: 0, offset: 5, timestamp: 6, dedup: None };
    let dedup = Some(Dedup { is_duplicate: true, window: Duration::from_secs(120) });
    assert_eq!(
        text(published(7, vec![Ok(plain), Ok(Written { dedup, ..plain }), Err(denied())])),
        format!(
            r#"{{"id":7,"results":[{{"sequence":5}},{{"sequence":5,"duplicate":true,"duplicate_window_ms":120000}},{{{failed}}}]}}"#
        )
    );
    let check = |told: &Item, want: &str| assert_eq!(text(item(7, told).unwrap()), want);
    let stream = SubscribedTopic { topic: "s".into(), topic_id: Some(u128::MAX), partitions: vec![(0, 5)] };
    check(
        &Item::Subscribed(vec![stream]),
        r#"{"id":7,"subscribed":[{"stream":"s","stream_id":"_____________________w","next":5}]}"#,
    );
    let place = |offset| Place { topic: "s".into(), partition: 0, offset };
    check(
        &Item::CaughtUp { place: place(6), blocked_until: None },
        r#"{"id":7,"stream":"s","next":6,"caught_up":{}}"#,
    );
    check(
        &Item::Skipped { from: 6, to: place(9), cause: SkipCause::Lag },
        r#"{"id":7,"stream":"s","next":9,"skipped":{"from":6,"to":9,"cause":"lag"}}"#,
    );
    let since = UNIX_EPOCH + Duration::from_millis(8);
    check(
        &Item::Retrying { place: place(9), error: denied(), since },
        &format!(r#"{{"id":7,"stream":"s","retrying":{{"since":8,{failed}}}}}"#),
    );
}
