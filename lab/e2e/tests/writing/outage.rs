//! Brokers die or hang under clients that keep writing: acknowledged records are in the log once and in order, as the
//! bridge's producer retries.

use std::time::Duration;

use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use tokio::time::timeout;

use crate::breakable::{self, cluster, lose, two_replicas};
use crate::pool::Config;
use crate::writing::told::{Writing, numbers};
use crate::writing::{becomes, error, grows, offset, record};

#[tokio::test]
async fn kills_of_the_broker_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("killed", 1, &[]).await.unwrap();
    let properties = "message.timeout.ms = 3000\nreconnect.backoff.max.ms = 500";
    let stack =
        Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]).properties(properties).own().await;
    let writing = Writing::start(stack.url(), topic);
    grows(&stack, "written_records_total", 2_000.0).await;
    kafka.freeze();
    writing.comes_about("an unknown outcome", |told| !told.unknown.is_empty()).await;
    kafka.kill();
    writing.comes_about("a refused record", |told| !told.refused.is_empty()).await;
    kafka.up().await.unwrap();
    for _ in 0..KILLS {
        grows(&stack, "written_records_total", 2_000.0).await;
        kafka.kill();
        kafka.up().await.unwrap();
    }
    grows(&stack, "written_records_total", 2_000.0).await;
    writing.end(Duration::from_secs(120), &kafka).await;
}

#[tokio::test]
async fn hanging_kafka_leaves_outcomes_unknown() {
    let mut kafka = breakable::kafka().await;
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 8000").own().await;
    let topic = &kafka.topic("stuck", 1, &[]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    offset(&socket.produce(vec![record(topic, "0")]).await.unwrap()[0]);
    kafka.freeze();
    let hung = socket.produce(vec![record(topic, "1")]).await.unwrap();
    let hung = error(&hung[0]);
    assert_eq!((hung.code, hung.retriable, hung.unknown_outcome), (7, true, true), "{hung:?}");
    kafka.thaw();
    kafka.kill();
    becomes(&stack, "write_queue_records", 0.0).await;
    let away = socket.produce(vec![record(topic, "2")]).await.unwrap();
    let away = error(&away[0]);
    assert_eq!((away.retriable, away.unknown_outcome), (true, false), "{away:?}");
    kafka.up().await.unwrap();
    let again = async {
        loop {
            let produced = socket.produce(vec![record(topic, "3")]).await.unwrap();
            match &produced[0].error {
                None => return,
                Some(error) => assert!(error.retriable && !error.unknown_outcome, "{error:?}"),
            }
        }
    };
    timeout(Duration::from_secs(60), again).await.expect("an acknowledgement within 60 s");
    let written = numbers(&kafka, topic, 0);
    assert!(written == [0, 3] || written == [0, 1, 3], "{written:?}");
}

/// librdkafka repeats the write, which the leader refuses (code 19), until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_without_enough_replicas_is_not_written() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("alone", 1, &[]).await.unwrap();
    let replicas = two_replicas(&kafka, topic).await;
    lose(&mut kafka, topic, replicas).await;
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 3000").own().await;
    let produced = Socket::open(&stack).await.produce(vec![record(topic, "0")]).await.unwrap();
    let refused = error(&produced[0]);
    assert_eq!((refused.code, refused.retriable, refused.unknown_outcome), (7, true, false), "{refused:?}");
    assert_eq!(kafka.read(topic, 0), []);
}
