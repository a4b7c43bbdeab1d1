//! Clients that want, or are granted, only some records: what they have is what their newest records say.

use sluicegate_protocol::{CmdKafkaSubscribe, KafkaMessage};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::way::Way;

use crate::pool::{KEYS_SESSION, standard};
use crate::tables::holder::{Holder, replay, table, with_header};
use crate::tables::write;

/// A record with a header.
fn record(key: &str, name: &str, value: &str) -> Record {
    let headers = vec![(name.to_owned(), Some(value.into()))];
    Record { key: Some(key.into()), headers, ..Record::of("content") }
}

fn has(name: &'static str, value: &'static str) -> impl Fn(&KafkaMessage) -> bool {
    move |message| {
        message
            .headers
            .iter()
            .any(|header| header.key == name && header.value.as_deref() == Some(value.as_bytes()))
    }
}

fn random(name: &str, values: &[&str], count: usize) -> Vec<Record> {
    let record = |_| {
        let value = values[fastrand::usize(..values.len())];
        let record = record(&format!("key {}", fastrand::u8(..30)), name, value);
        if fastrand::u8(..10) == 0 { Record { value: None, ..record } } else { record }
    };
    (0..count).map(record).collect()
}

#[tokio::test]
async fn key_that_matches_no_more_is_removed() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("states", 1, &[]).await.unwrap();
    write(kafka, topic, &random("state", &["open", "closed"], 300)).await;
    let mut holder = Holder::open(&stack, "/pubsub", with_header(topic, "state", "open")).await;
    holder.complete().await;
    assert_eq!(holder.held, replay(kafka, topic, 1, has("state", "open")));
    for _ in 0..5 {
        write(kafka, topic, &random("state", &["open", "closed"], 50)).await;
        holder.becomes(&replay(kafka, topic, 1, has("state", "open"))).await;
    }
    // Its next bridge may not know which keys it has.
    let CmdKafkaSubscribe { sources, away_ms, .. } = holder.going_on(topic, 1);
    let command = CmdKafkaSubscribe { sources, away_ms, ..with_header(topic, "state", "open") };
    let mut back = Holder::ask(&stack, "/pubsub", command).await;
    assert!(back.begins().await);
}

/// The log alone has no records that were hidden before.
#[tokio::test]
async fn client_with_other_rights_begins_anew() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("rights", 1, &[]).await.unwrap();
    write(kafka, topic, &random("state", &["open"], 100)).await;
    let mut holder = Holder::open(&stack, KEYS_SESSION, table(topic)).await;
    holder.complete().await;
    let is_granted =
        |message: &KafkaMessage| message.key.as_ref().is_some_and(|key| key.starts_with(b"key 1"));
    assert_eq!(holder.held, replay(kafka, topic, 1, is_granted));
    let with_more = "/pubsub";
    for (path, is_anew) in [(KEYS_SESSION, false), (with_more, true)] {
        let mut back = Holder::ask(&stack, path, holder.going_on(topic, 1)).await;
        assert_eq!(back.begins().await, is_anew, "{path}");
        if is_anew {
            back.becomes(&replay(kafka, topic, 1, |_| true)).await;
        }
    }
    let mut holder = Holder::open(&stack, with_more, table(topic)).await;
    holder.complete().await;
    let mut with_less = Holder::ask(&stack, KEYS_SESSION, holder.going_on(topic, 1)).await;
    assert!(with_less.begins().await);
    with_less.becomes(&replay(kafka, topic, 1, is_granted)).await;
}
