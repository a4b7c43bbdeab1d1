//! Texts of clusters of NATS, and what they become.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use sluicegate_backend::command::{Header, Record, RecordFilter};
use sluicegate_backend::{CommandError, Dedup, Fault, ListedOffset, System, Written};
use sluicegate_delivery::{Item, Place, SkipCause, SubscribedTopic};
use sluicegate_protocol::MESSAGE_ID_HEADER;

use super::*;
use crate::session::{Encoding, Request, parse};

#[track_caller]
fn runs(text: &str, format: Format, command: Command) {
    let want = Request::Command { sequence: 7, command, encoding: Encoding::Json(format) };
    assert_eq!(parse(text.as_bytes(), System::Nats), want, "{text}");
}

#[test]
fn commands_have_the_words_of_nats() {
    let stream = || LogName::of_stream("s".into());
    let bounds = ReadBounds {
        wait: Some(Duration::from_millis(1)),
        min_bytes: 2,
        max_bytes: Some(3),
        max_records: 4,
        ..ReadBounds::default()
    };
    let text = r#"{"id":7,"fetch":{"stream":"s","sequence":"5","format":"text","max_wait_ms":1,"min_bytes":2,"max_bytes":3,"max_messages":4}}"#;
    runs(text, Format::Text, Command::Fetch { log: stream(), offset: 5, bounds });
    let text = r#"{"id":7,"list_sequences":{"times":[{"stream":"s","timestamp":-2}]}}"#;
    runs(text, Format::Json, Command::ListOffsets { asked: vec![(stream(), -2)], committed: false });
    let header = |key: &str, value: &'static str| Header { key: key.into(), value: Some(value.into()) };
    let record = Record {
        topic: "s".into(),
        key: Some("a.b".into()),
        value: Some("{\"n\":1}".into()),
        headers: vec![header("h", "v"), header(MESSAGE_ID_HEADER, "id")],
        ..Default::default()
    };
    let empty = Record { value: Some(Bytes::new()), headers: Vec::new(), ..record.clone() };
    let text = r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a.b","data":{"n": 1},"headers":[{"key":"h","value":"v"}],"message_id":"id"},{"stream":"s","subject":"a.b","data":null}]}}"#;
    runs(text, Format::Json, Command::Produce(vec![record, empty]));
}

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
        };
        assert_eq!(subscribed, Subscribed { command, credit: Some(8) }, "{text}");
    }
}

#[test]
fn words_of_kafka_are_refused() {
    for (text, want) in [
        (
            r#"{"id":7,"fetch":{"topic":"t","partition":0,"offset":0}}"#,
            "fetch: unknown field `topic`, expected one of `stream`, `sequence`",
        ),
        (
            r#"{"id":7,"produce":{"records":[]}}"#,
            "unknown command \"produce\": expected one of ping, fetch, list_sequences, publish, subscribe, unsubscribe, credit",
        ),
        (r#"{"id":7,"subscribe":{"from":"earliest"}}"#, "missing field `stream`, or `sources`"),
        (
            r#"{"id":7,"subscribe":{"stream":"s","filters":[{"key":"a"}]}}"#,
            "unknown field `key`, expected one of `subject`, `header`, `value`",
        ),
        (
            r#"{"id":7,"subscribe":{"stream":"s","filters":[{}]}}"#,
            "filters[0]: expected `subject`, or `header` and perhaps `value`",
        ),
        (
            r#"{"id":7,"subscribe":{"stream":"s","from":{"sequence":5},"stream_id":""}}"#,
            "stream_id: expected the one of an answer to `subscribe`",
        ),
        (
            r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a"}]}}"#,
            "publish: messages[0].data: missing, expected a value or null",
        ),
        (
            r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a","data":1,"headers":[{"key":"h","value":1}]}]}}"#,
            "publish: messages[0].headers[0].value: expected a string",
        ),
    ] {
        match parse(text.as_bytes(), System::Nats) {
            Request::Invalid { sequence: 7, message, .. } => {
                assert!(message.contains(want), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
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
