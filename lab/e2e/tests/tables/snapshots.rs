//! The newest record of each key, then every change.

use std::collections::BTreeMap;

use serde_json::json;
use sluicegate_protocol::{CmdKafkaSubscribe, Reason};
use sluicegate_stack::kafka::{Kafka, Outcome, Record, Write};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::live::subscriber::Told;
use crate::pool::{Config, standard};
use crate::tables::holder::{Holder, replay, table};
use crate::tables::write;

in_every_profile! {
    table_is_the_replay_of_its_log
}

const PARTITIONS: i32 = 3;

async fn table_is_the_replay_of_its_log(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("replay", PARTITIONS, &[]).await.unwrap();
    let mut keyless = 0;
    for partition in 0..PARTITIONS {
        let records = records(1000);
        keyless += records.iter().filter(|record| record.key.is_none()).count() as u64;
        kafka.produce(topic, partition, &records, Write::default()).await.unwrap();
    }
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    assert_eq!(holder.complete().await, keyless);
    assert_eq!(holder.held, replay(kafka, topic, PARTITIONS, |_| true));
    assert!(holder.held.len() > 60, "{}", holder.held.len());
    for partition in 0..PARTITIONS {
        kafka.produce(topic, partition, &records(200), Write::default()).await.unwrap();
    }
    let want = replay(kafka, topic, PARTITIONS, |_| true);
    holder.becomes(&want).await;
    // Another client reads the same table, in small pages.
    let paged = CmdKafkaSubscribe { max_batch_records: 7, max_batch_bytes: 200, ..table(topic) };
    let mut other = Holder::open(&stack, "/pubsub", paged).await;
    other.complete().await;
    other.becomes(&want).await;
}

/// Some keys are removed, some records have none.
fn records(count: usize) -> Vec<Record> {
    let record = |_| {
        let value = (fastrand::u8(..) > 40).then(|| fastrand::u64(..).to_string().into_bytes());
        let key = (fastrand::u8(..) > 10).then(|| format!("key {}", fastrand::u8(..40)).into_bytes());
        Record { key, value, ..Record::default() }
    };
    (0..count).map(record).collect()
}

fn record(key: &str, value: &str) -> Record {
    crate::tables::record(key, Some(value))
}

#[tokio::test]
async fn client_that_comes_back_goes_on_or_begins_anew() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("back", 1, &[]).await.unwrap();
    write(kafka, topic, &[record("a", "1"), record("b", "1")]).await;
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    holder.complete().await;
    write(kafka, topic, &[record("a", "2")]).await;
    let back = async |away_ms: u64| {
        let mut back = Holder::ask(&stack, "/pubsub", holder.going_on(topic, away_ms)).await;
        (back.begins().await, back)
    };
    let (snapshot, mut near) = back(1000).await;
    assert!(!snapshot, "it was away for a second");
    near.becomes(&BTreeMap::from([((0, b"a".to_vec()), kafka.read(topic, 0)[2].clone())])).await;
    let (snapshot, mut far) = back(3_600_001).await;
    assert!(snapshot, "it was away for more than an hour");
    far.becomes(&replay(kafka, topic, 1, |_| true)).await;
}

#[tokio::test]
async fn open_and_aborted_transactions_are_no_part_of_a_table() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("transactions", 1, &[]).await.unwrap();
    write(kafka, topic, &[record("a", "first")]).await;
    let how = |outcome| Write { transaction: Some(outcome), ..Write::default() };
    kafka.produce(topic, 0, &[record("a", "aborted")], how(Outcome::Abort)).await.unwrap();
    kafka.produce(topic, 0, &[record("b", "committed")], how(Outcome::Commit)).await.unwrap();
    let open = kafka.begin(how(Outcome::Commit)).await.unwrap();
    open.write(topic, 0, &[record("c", "open")]).await.unwrap();
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    holder.complete().await;
    let want = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(holder.values(), want(&[("a", "first"), ("b", "committed")]));
    open.end(Outcome::Commit).await.unwrap();
    holder.becomes(&replay(kafka, topic, 1, |_| true)).await;
    assert_eq!(holder.values(), want(&[("a", "first"), ("b", "committed"), ("c", "open")]));
}

#[tokio::test]
async fn only_listed_topics_have_tables() {
    let kafka = Kafka::shared().await.unwrap();
    let route = json!({"path": "/pubsub", "cluster": "default", "tables": ["other"]});
    let stack = Config::new(Way::Tunnel).await.routes([route]).shared().await;
    let topic = &kafka.topic("unlisted", 1, &[]).await.unwrap();
    let mut holder = Holder::ask(&stack, "/pubsub", table(topic)).await;
    let Told::Ended(error) = holder.told().await else { panic!("a table") };
    assert_eq!(error.reason(), Reason::Denied, "{error:?}");
    assert!(error.message.contains("this route has no table of topic"), "{}", error.message);
}

#[tokio::test]
async fn table_without_room_is_an_error_that_says_what_to_do() {
    let kafka = Kafka::shared().await.unwrap();
    let stack = Config::new(Way::Tunnel)
        .await
        .settings("read.table_bytes = 100000")
        .writing(&["default"])
        .shared()
        .await;
    let topic = &kafka.topic("large", 1, &[]).await.unwrap();
    let records: Vec<Record> = (0..2000).map(|key| record(&key.to_string(), &"x".repeat(100))).collect();
    write(kafka, topic, &records).await;
    for _ in 0..2 {
        let mut holder = Holder::ask(&stack, "/pubsub", table(topic)).await;
        let error = loop {
            match holder.told().await {
                Told::Ended(error) => break error,
                Told::Subscribed(_) | Told::Event(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error.reason(), Reason::Rejected, "{error:?}");
        assert!(error.message.contains("read.table_bytes"), "{}", error.message);
    }
}
