//! Answers in JSON.

use std::time::{Duration, UNIX_EPOCH};

use sluicegate_backend::{Dedup, Fault, Written};
use sluicegate_delivery::{SkipCause, SubscribedTopic};

use super::*;
use crate::session::records::tests::text;

#[test]
fn answers_have_the_words_of_nats() {
    const JSON: Encoding = Encoding::Json(Format::Json);
    let denied = || CommandError::new(Fault::Forbidden, 0, "m");
    let failed = r#""error":{"reason":"DENIED","message":"m","retriable":false}"#;
    let found = Ok(ListedOffset { offset: 5, timestamp: 6 });
    let listed = text(list_sequences::answer(7, vec![found, Err(denied())], JSON));
    assert_eq!(listed, format!(r#"{{"id":7,"results":[{{"sequence":5,"timestamp":6}},{{{failed}}}]}}"#));
    let plain = Written { offset: 5, timestamp: 6, ..Written::default() };
    let window = Duration::from_secs(120);
    let dedup = Some(Dedup { is_duplicate: true, window, in_order: false, last: None });
    let first = Dedup { is_duplicate: false, window: Dedup::UNLIMITED, in_order: true, last: Some(8) };
    let [own, again] = [first, Dedup { is_duplicate: true, ..first }].map(Some);
    let duplicates = [None, dedup, own, again].map(|dedup| Ok(Written { dedup, ..plain }));
    let results = duplicates.into_iter().chain([Err(denied())]).collect();
    assert_eq!(
        text(publish::answer(7, results, JSON)),
        format!(
            r#"{{"id":7,"results":[{{"sequence":5}},{{"sequence":5,"duplicate":true,"duplicate_window_ms":120000}},{{"sequence":5,"duplicate":false,"duplicate_window_ms":9007199254740991,"in_order":true}},{{"sequence":5,"duplicate":true,"duplicate_window_ms":9007199254740991,"last_sequence":8,"in_order":true}},{{{failed}}}]}}"#
        )
    );
    let stream = SubscribedTopic { topic: "s".into(), topic_id: Some(u128::MAX), partitions: vec![(0, 5)] };
    let place = |offset| Place { topic: "s".into(), partition: 0, offset };
    let (to, since) = (place(9), UNIX_EPOCH + Duration::from_millis(8));
    let subscribed = r#""subscribed":[{"stream":"s","stream_id":"_____________________w","next":5}]"#;
    let skipped = r#""stream":"s","next":9,"skipped":{"from":6,"to":9,"cause":"lag"}"#;
    let retrying = format!(r#""stream":"s","retrying":{{"since":8,{failed}}}"#);
    for (told, want) in [
        (Item::Subscribed(vec![stream]), subscribed),
        (Item::CaughtUp { place: place(6), blocked_until: None }, r#""stream":"s","next":6,"caught_up":{}"#),
        (Item::Skipped { from: 6, to, cause: SkipCause::Lag }, skipped),
        (Item::Retrying { place: place(9), error: denied(), since }, &retrying),
    ] {
        assert_eq!(item::json(7, &told).unwrap(), format!(r#"{{"id":7,{want}}}"#));
    }
}
