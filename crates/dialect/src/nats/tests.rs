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
    assert_eq!(
        text(list_sequences::answer(7, vec![found, Err(denied())], JSON)),
        format!(r#"{{"id":7,"results":[{{"sequence":5,"timestamp":6}},{{{failed}}}]}}"#)
    );
    let plain = Written { offset: 5, timestamp: 6, ..Written::default() };
    let window = Duration::from_secs(120);
    let dedup = Some(Dedup { is_duplicate: true, window, in_order: false, last: None });
    let first = Dedup { is_duplicate: false, window: Dedup::UNLIMITED, in_order: true, last: Some(8) };
    let [own, again] = [first, Dedup { is_duplicate: true, ..first }].map(Some);
    assert_eq!(
        text(publish::answer(
            7,
            vec![
                Ok(plain),
                Ok(Written { dedup, ..plain }),
                Ok(Written { dedup: own, ..plain }),
                Ok(Written { dedup: again, ..plain }),
                Err(denied())
            ],
            JSON
        )),
        format!(
            r#"{{"id":7,"results":[{{"sequence":5}},{{"sequence":5,"duplicate":true,"duplicate_window_ms":120000}},{{"sequence":5,"duplicate":false,"duplicate_window_ms":9007199254740991,"in_order":true}},{{"sequence":5,"duplicate":true,"duplicate_window_ms":9007199254740991,"last_sequence":8,"in_order":true}},{{{failed}}}]}}"#
        )
    );
    let check = |told: Item, want: &str| assert_eq!(item::json(7, &told).unwrap(), want);
    let stream = SubscribedTopic { topic: "s".into(), topic_id: Some(u128::MAX), partitions: vec![(0, 5)] };
    check(
        Item::Subscribed(vec![stream]),
        r#"{"id":7,"subscribed":[{"stream":"s","stream_id":"_____________________w","next":5}]}"#,
    );
    let place = |offset| Place { topic: "s".into(), partition: 0, offset };
    check(
        Item::CaughtUp { place: place(6), blocked_until: None },
        r#"{"id":7,"stream":"s","next":6,"caught_up":{}}"#,
    );
    check(
        Item::Skipped { from: 6, to: place(9), cause: SkipCause::Lag },
        r#"{"id":7,"stream":"s","next":9,"skipped":{"from":6,"to":9,"cause":"lag"}}"#,
    );
    let since = UNIX_EPOCH + Duration::from_millis(8);
    check(
        Item::Retrying { place: place(9), error: denied(), since },
        &format!(r#"{{"id":7,"stream":"s","retrying":{{"since":8,{failed}}}}}"#),
    );
}
