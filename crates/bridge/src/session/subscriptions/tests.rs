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
use sluicegate_protocol::grpc;
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

/// The text of an answer in JSON.
fn told(answer: Answer) -> String {
    let mut small = BytesMut::new();
    let large = answer.encode(Codec::Json, &mut small).unwrap_or_default();
    String::from_utf8([&small[grpc::HEAD_LEN..], &large[..]].concat()).unwrap()
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
        let (mut reserved, text) = (reserved.unwrap(), told(answer));
        let len = grpc::HEAD_LEN + text.len();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(messages) = answer["messages"].as_array() {
            assert!(len <= reserved.num_permits(), "{len} of {}", reserved.num_permits());
            shrink(&mut reserved, len);
            bytes += len;
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
    let (read, consume) = (Topics::parse(b"other"), Some(Topics::default()));
    for (command, rights) in [
        (r#"{"id":1,"subscribe":{"topic":"t"}}"#, Rights { read, ..Rights::default() }),
        (r#"{"id":1,"subscribe":{"topic":"t","group":"g"}}"#, Rights { consume: None, ..Rights::all() }),
        (r#"{"id":1,"subscribe":{"topic":"t","group":"g"}}"#, Rights { consume, ..Rights::default() }),
    ] {
        let grant = Grant::all(&Logs::default().cluster());
        let mut subscriptions = Subscriptions::new(System::Kafka);
        open(&mut subscriptions, &grant, command).unwrap();
        let holding = Holding { person: Arc::new(Person::new(None, None, None, None)), expires: None };
        for (rights, want) in [(Rights::all(), "subscribed"), (rights, "DENIED")] {
            grant.renew(rights, holding.clone());
            subscriptions.recheck(&grant);
            let answer = told(poll_fn(|cx| subscriptions.poll_next(cx)).await.0);
            assert!(answer.contains(want), "{command}: {answer}");
        }
        assert!(subscriptions.open.is_empty());
    }
}

/// Without credit, and without room, a member hears of its group, which goes on without it in the end.
#[tokio::test(start_paused = true)]
async fn member_that_takes_nothing_hears_of_its_group_until_it_leaves() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let grant = Grant::all(&logs.cluster());
    let mut subscriptions = Subscriptions::new(System::Kafka);
    let text = r#"{"id":1,"subscribe":{"topic":"t","group":"g","from":"earliest","credit":1}}"#;
    open(&mut subscriptions, &grant, text).unwrap();
    let (mut held, mut is_held) = (Vec::new(), false);
    // The next message within a minute, but those of the ends of logs.
    let mut next = async |subscriptions: &mut Subscriptions, holds: bool| {
        is_held |= holds;
        loop {
            let waited = timeout(Duration::from_secs(60), poll_fn(|cx| subscriptions.poll_next(cx))).await;
            let Ok((answer, reserved)) = waited else { return "nothing".to_owned() };
            held.extend(reserved.filter(|_| is_held));
            let text = told(answer);
            if !text.contains("caught_up") {
                return text;
            }
        }
    };
    let assigned = |assignment: u32| {
        let topic = r#"{"topic":"t","partitions":{"0":0,"1":0,"2":0,"3":0}}"#;
        format!(r#"{{"id":1,"assigned":[{topic}],"assignment":{assignment}}}"#)
    };
    let (revoked, ended) = (r#"{"id":1,"revoked":{}}"#, "(consumers.idle_timeout_ms): subscribe again");
    let subscribed = r#"{"id":1,"subscribed":[{"topic":"t","partitions":{}}]}"#;
    assert_eq!(next(&mut subscriptions, false).await, subscribed);
    assert_eq!(next(&mut subscriptions, false).await, assigned(1));
    logs.append(0, 100);
    assert!(next(&mut subscriptions, false).await.contains(r#""offset":0"#));
    assert_eq!(next(&mut subscriptions, false).await, "nothing", "one record has cost all of the credit");
    for number in 2..4 {
        groups.hold(true);
        assert_eq!(next(&mut subscriptions, false).await, revoked);
        groups.hold(false);
        assert_eq!(next(&mut subscriptions, false).await, assigned(number));
    }
    subscriptions.add_credit(1, 100);
    assert!(next(&mut subscriptions, false).await.contains(r#""offset":0"#), "from the last commit");
    let mut heard = String::new();
    while heard != "nothing" {
        heard = next(&mut subscriptions, false).await;
        assert!(heard == "nothing" || heard.contains("messages"), "{heard}");
    }
    for _ in 0..6 {
        if heard == "nothing" {
            heard = next(&mut subscriptions, false).await;
        }
    }
    assert_eq!(heard, revoked);
    // It leaves on a task of its own.
    tokio::task::yield_now().await;
    assert_eq!((groups.instances("g"), subscriptions.open.len()), (vec![], 1));
    let error = next(&mut subscriptions, false).await;
    assert!(error.contains(ended), "{error}");
    // The same of a client that does not read.
    open(&mut subscriptions, &grant, &text.replace(r#""credit":1"#, r#""linger_ms":0"#)).unwrap();
    logs.append(0, 20_000);
    while next(&mut subscriptions, true).await != "nothing" {}
    assert_eq!(groups.instances("g").len(), 1);
    let mut heard = "nothing".to_owned();
    for _ in 0..6 {
        if heard == "nothing" {
            heard = next(&mut subscriptions, true).await;
        }
    }
    assert_eq!(heard, revoked, "it has room where records have none");
    tokio::task::yield_now().await;
    assert_eq!(groups.instances("g"), []);
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
        let text = told(answer);
        assert!(text.len() <= 8_192, "{}", text.len());
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
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
