//! Clients that want, or are granted, only some records: what they have is what their newest records say.

use sluicegate_protocol::{CmdKafkaSubscribe, KafkaMessage, RecordFilter};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::way::Way;

use crate::tables::holder::{Holder, Told, replay, table, with_header};
use crate::tables::stacks::shared;

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

async fn write(kafka: &Kafka, topic: &str, records: &[Record]) {
    kafka.produce(topic, 0, records, Write::default()).await.unwrap();
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
    let (kafka, stack) = shared(Way::Tunnel).await;
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
    assert!(matches!(back.told().await, Told::Subscribed(true)));
}

/// The log alone has no records that were hidden before.
#[tokio::test]
async fn client_with_other_rights_begins_anew() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("rights", 1, &[]).await.unwrap();
    write(kafka, topic, &random("state", &["open"], 100)).await;
    let mut holder = Holder::open(&stack, "/keys", table(topic)).await;
    holder.complete().await;
    let is_granted =
        |message: &KafkaMessage| message.key.as_ref().is_some_and(|key| key.starts_with(b"key 1"));
    assert_eq!(holder.held, replay(kafka, topic, 1, is_granted));
    let with_more = "/pubsub";
    for (path, is_anew) in [("/keys", false), (with_more, true)] {
        let mut back = Holder::ask(&stack, path, holder.going_on(topic, 1)).await;
        let Told::Subscribed(snapshot) = back.told().await else { panic!("no subscription") };
        assert_eq!(snapshot, is_anew, "{path}");
        if is_anew {
            back.becomes(&replay(kafka, topic, 1, |_| true)).await;
        }
    }
    let mut holder = Holder::open(&stack, with_more, table(topic)).await;
    holder.complete().await;
    let mut with_less = Holder::ask(&stack, "/keys", holder.going_on(topic, 1)).await;
    assert!(matches!(with_less.told().await, Told::Subscribed(true)));
    with_less.becomes(&replay(kafka, topic, 1, is_granted)).await;
}

#[tokio::test]
async fn record_that_leaves_the_rows_is_removed_without_content() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("tenants", 1, &[]).await.unwrap();
    write(kafka, topic, &random("tenant", &["red", "blue"], 300)).await;
    let mut holder = Holder::open(&stack, "/red", table(topic)).await;
    holder.complete().await;
    assert_eq!(holder.held, replay(kafka, topic, 1, has("tenant", "red")));
    write(kafka, topic, &[record("mine", "tenant", "red"), record("theirs", "tenant", "blue")]).await;
    holder.becomes(&replay(kafka, topic, 1, has("tenant", "red"))).await;
    write(kafka, topic, &[record("mine", "tenant", "blue"), record("theirs", "tenant", "blue")]).await;
    loop {
        match holder.told().await {
            Told::Delivery(messages) if !messages.is_empty() => {
                let [removal] = &messages[..] else { panic!("{messages:?}") };
                assert_eq!((removal.key.as_deref(), &removal.value), (Some(&b"mine"[..]), &None));
                assert!(removal.headers.is_empty(), "{removal:?}");
                break;
            }
            Told::Ended(error) => panic!("{error:?}"),
            _ => {}
        }
    }
    assert_eq!(holder.held, replay(kafka, topic, 1, has("tenant", "red")));
}

#[tokio::test]
async fn filter_by_key_selects_keys() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("keys", 1, &[]).await.unwrap();
    write(kafka, topic, &random("a", &["b"], 300)).await;
    let filter = RecordFilter { prefixes: vec!["key 1".into()], ..Default::default() };
    let command = CmdKafkaSubscribe { filters: vec![filter], ..table(topic) };
    let mut holder = Holder::open(&stack, "/pubsub", command).await;
    holder.complete().await;
    let wanted = |message: &KafkaMessage| message.key.as_ref().unwrap().starts_with(b"key 1");
    assert_eq!(holder.held, replay(kafka, topic, 1, wanted));
    write(kafka, topic, &random("a", &["b"], 100)).await;
    holder.becomes(&replay(kafka, topic, 1, wanted)).await;
}
