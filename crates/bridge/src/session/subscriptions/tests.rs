//! Items that subscriptions have ready for a client that takes nothing.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use futures_util::poll;
use sluicegate_backend::System;
use sluicegate_delivery::grant::{Holding, Person};
use sluicegate_delivery::testing::logs::Logs;
use sluicegate_dialect::session::Request;
use sluicegate_protocol::codec::Codec;
use sluicegate_rights::{Rights, Topics};

use super::*;
use crate::session::outbox::shrink;

fn open(subscriptions: &mut Subscriptions, grant: &Grant, text: &str) -> Result<(), CommandError> {
    open_within(MessageBound::NONE, subscriptions, grant, text)
}

fn open_within(
    bound: MessageBound,
    subscriptions: &mut Subscriptions,
    grant: &Grant,
    text: &str,
) -> Result<(), CommandError> {
    let text = Bytes::copy_from_slice(text.as_bytes());
    match Request::parse(text, Codec::Json, System::Kafka).within(bound) {
        Request::Subscribe { sequence, subscribed, encoding } => {
            subscriptions.open(sequence, grant, subscribed, (encoding, bound))
        }
        other => panic!("{other:?}"),
    }
}

/// Small records, whose text grows most.
#[tokio::test]
async fn text_of_deliveries_is_within_the_room() {
    let logs = Logs::default();
    for partition in 0..4 {
        logs.append(partition, 5_000);
    }
    let mut subscriptions = Subscriptions::new(System::Kafka);
    let text = r#"{"id":1,"subscribe":{"topic":"t","from":"earliest"}}"#;
    open(&mut subscriptions, &Grant::all(&logs.cluster()), text).unwrap();

    let (mut held, mut next, mut bytes) = (Vec::new(), [0_i64; 4], 0);
    while next != [5_000; 4] {
        let Poll::Ready((answer, reserved)) = poll!(poll_fn(|cx| subscriptions.poll_next(cx))) else {
            // The client takes what there is.
            held.clear();
            bytes = 0;
            tokio::task::yield_now().await;
            continue;
        };
        let mut small = BytesMut::new();
        let large = answer.encode(Codec::Json, &mut small).unwrap_or_default();
        let (mut reserved, text) = (reserved.unwrap(), [&small[..], &large[..]].concat());
        let answer: serde_json::Value = serde_json::from_slice(&text[5..]).unwrap();
        if let Some(messages) = answer["messages"].as_array() {
            assert!(text.len() <= reserved.num_permits(), "{} of {}", text.len(), reserved.num_permits());
            shrink(&mut reserved, text.len());
            bytes += text.len();
            held.push(reserved);
            assert!(bytes <= ROOM_BYTES, "{bytes}");
            for message in messages {
                let next = &mut next[message["partition"].as_u64().unwrap() as usize];
                assert_eq!(message["offset"], *next);
                *next += 1;
            }
        }
    }
}

#[tokio::test]
async fn errors_are_within_the_room() {
    let (grant, mut subscriptions) =
        (Grant::all(&Logs::default().cluster()), Subscriptions::new(System::Kafka));
    let (mut held, mut bytes) = (Vec::new(), 0);
    for id in 1.. {
        let text = format!(r#"{{"id":{id},"subscribe":{{"topic":"t","partitions":[99]}}}}"#);
        if open(&mut subscriptions, &grant, &text).is_err() {
            break;
        }
        while let Poll::Ready((_, reserved)) = poll!(poll_fn(|cx| subscriptions.poll_next(cx))) {
            let reserved = reserved.expect("a reservation");
            bytes += reserved.num_permits();
            held.push(reserved);
        }
    }
    assert!((1..=ROOM_BYTES).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn subscription_beyond_a_renewed_grant_ends() {
    let grant = Grant::all(&Logs::default().cluster());
    let mut subscriptions = Subscriptions::new(System::Kafka);
    open(&mut subscriptions, &grant, r#"{"id":1,"subscribe":{"topic":"t"}}"#).unwrap();
    let person = Person::new(None, None, None, None);
    let holding = Holding { person: Arc::new(person), expires: None };
    grant.renew(Rights::all(), holding.clone());
    subscriptions.recheck(&grant);
    let mut next = async || format!("{:?}", poll_fn(|cx| subscriptions.poll_next(cx)).await.0);
    let subscribed = next().await;
    assert!(subscribed.contains("subscribed"), "{subscribed}");
    grant.renew(Rights { read: Topics::parse(b"other"), write: None, ..Rights::default() }, holding);
    subscriptions.recheck(&grant);
    let denied = format!("{:?}", poll_fn(|cx| subscriptions.poll_next(cx)).await.0);
    assert!(
        denied.contains("DENIED") || denied.contains("reason: Denied") || denied.contains("reason: 3"),
        "{denied}"
    );
    assert!(subscriptions.open.is_empty());
}

/// A client that gives back the credit of what it got never stands still, whatever it did not get.
#[tokio::test]
async fn record_above_the_bound_costs_the_credit_of_its_error() {
    static LARGE: LazyLock<String> = LazyLock::new(|| "k".repeat(10_000));
    let logs = Logs::default();
    logs.set_keys(|offset| if offset % 3 == 1 { &LARGE } else { "k" });
    logs.append(0, 300);
    let text = r#"{"id":7,"session":{"max_message_bytes":8192}}"#;
    let Request::Limits { bound: Some(bound), .. } =
        Request::parse(Bytes::from_static(text.as_bytes()), Codec::Json, System::Kafka)
    else {
        panic!("{text}")
    };
    let mut subscriptions = Subscriptions::new(System::Kafka);
    let text = r#"{"id":1,"subscribe":{"topic":"t","partitions":[0],"from":"earliest","credit":500}}"#;
    open_within(bound, &mut subscriptions, &Grant::all(&logs.cluster()), text).unwrap();
    let mut next = 0;
    while next < 300 {
        let (answer, _) = poll_fn(|cx| subscriptions.poll_next(cx)).await;
        let mut small = BytesMut::new();
        let large = answer.encode(Codec::Json, &mut small).unwrap_or_default();
        let text = [&small[5..], &large[..]].concat();
        assert!(text.len() <= 8_192, "{}", text.len());
        let answer: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(answer["error"].is_null(), "{answer}");
        for message in answer["messages"].as_array().into_iter().flatten() {
            assert_eq!(message["offset"], next);
            let error = (next % 3 == 1).then_some("TOO_LARGE");
            assert_eq!(message["error"]["reason"].as_str(), error, "{message}");
            next += 1;
        }
        subscriptions.add_credit(1, answer["bytes"].as_u64().unwrap_or_default());
    }
}
