//! Topics without tables, and tables without room.

use serde_json::json;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, OnLag, Reason, kafka_source};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::way::Way;

use crate::tables::holder::{Holder, Told, table};
use crate::tables::stacks::{shared, with};

#[tokio::test]
async fn only_listed_topics_have_tables() {
    let kafka = Kafka::shared().await.unwrap();
    let stack = with(Way::Tunnel, kafka, "", "", &json!(["other"])).await;
    let topic = &kafka.topic("unlisted", 1, &[]).await.unwrap();
    let mut holder = Holder::ask(&stack, "/pubsub", table(topic)).await;
    let Told::Ended(error) = holder.told().await else { panic!("a table") };
    assert_eq!(error.reason(), Reason::Denied, "{error:?}");
    assert!(error.message.contains("this route has no table of topic"), "{}", error.message);
}

#[tokio::test]
async fn table_without_room_is_an_error_that_says_what_to_do() {
    let kafka = Kafka::shared().await.unwrap();
    let stack = with(Way::Tunnel, kafka, "read.table_bytes = 100000", "", &json!(["*"])).await;
    let topic = &kafka.topic("large", 1, &[]).await.unwrap();
    let records: Vec<Record> = (0..2000_u32)
        .map(|key| Record { key: Some(key.to_string().into_bytes()), ..Record::of(vec![b'x'; 100]) })
        .collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    for _ in 0..2 {
        let mut holder = Holder::ask(&stack, "/pubsub", table(topic)).await;
        let error = loop {
            match holder.told().await {
                Told::Ended(error) => break error,
                Told::Subscribed(true) | Told::Event(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error.reason(), Reason::Rejected, "{error:?}");
        assert!(error.message.contains("read.table_bytes"), "{}", error.message);
    }
}

#[tokio::test]
async fn table_begins_nowhere_and_skips_nothing() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("contradiction", 1, &[]).await.unwrap();
    let from = Some(kafka_source::From::Offset(0));
    let source = KafkaSource { topic: topic.clone(), from, ..Default::default() };
    for (command, want) in [
        (CmdKafkaSubscribe { sources: vec![source], ..table(topic) }, "from with snapshot"),
        (CmdKafkaSubscribe { on_lag: OnLag::Skip.into(), ..table(topic) }, "on_lag with snapshot"),
    ] {
        let mut holder = Holder::ask(&stack, "/pubsub", command).await;
        let Told::Ended(error) = holder.told().await else { panic!("a table") };
        assert!(error.reason() == Reason::InvalidCommand && error.message.contains(want), "{error:?}");
    }
}
