//! Brokers die or hang under clients that keep writing: acknowledged records are in the log once and in order, as the
//! bridge's producer retries. Clients of the bridge itself, since gateways have no part in it.

use std::time::Duration;

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, sleep};

use crate::breakable::{self, cluster, lose, two_replicas};
use crate::pool::{Config, WRITES, direct};
use crate::writing::told::{Writing, numbers};
use crate::writing::{becomes, error, grows, offset, record};

#[tokio::test]
async fn kills_of_the_broker_lose_and_repeat_no_record() {
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("killed", 1, &[]).await.unwrap();
    let properties = "message.timeout.ms = 3000\nreconnect.backoff.max.ms = 500";
    let config = Config::on(Way::Direct, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties(properties).own().await;
    let mut writing = Writing::start(direct(&stack, WRITES).await, topic);
    grows(&stack, "written_records_total", 2_000.0).await;
    kafka.freeze();
    writing.comes_about("an unknown outcome", |told| !told.unknown.is_empty()).await;
    kafka.kill();
    writing.comes_about("a refused record", |told| !told.refused.is_empty()).await;
    kafka.up().await.unwrap();
    grows(&stack, "written_records_total", 2_000.0).await;
    kafka.kill();
    kafka.up().await.unwrap();
    grows(&stack, "written_records_total", 2_000.0).await;
    writing.end(Duration::from_secs(120), &kafka, topic).await;
}

/// The broker has both, and acknowledged none. By itself, librdkafka would send the second one again, in a new epoch.
#[tokio::test]
async fn record_behind_a_late_one_is_written_once() {
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("late", 1, &[]).await.unwrap();
    let config = Config::on(Way::Direct, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 3000").own().await;
    let mut socket = direct(&stack, WRITES).await;
    offset(&socket.produce(vec![record(topic, "0")]).await.unwrap()[0]);
    kafka.freeze();
    let first = socket.send(produce(vec![record(topic, "1")])).await;
    sleep(Duration::from_secs(2)).await;
    let second = socket.send(produce(vec![record(topic, "2")])).await;
    for sent in [first, second] {
        let (sequence, resp) = socket.receive().await;
        let Resp::KafkaProduceResp(produced) = resp else { panic!("{resp:?}") };
        assert!(sequence == sent && error(&produced.results[0]).unknown_outcome, "{produced:?}");
        kafka.thaw();
    }
    until("another record is written", Duration::from_secs(60), async || {
        let produced = socket.produce(vec![record(topic, "3")]).await.unwrap().remove(0);
        produced.error.map_or(Ok(()), |error| {
            if error.unknown_outcome { panic!("{error:?}") } else { Err(error.message) }
        })
    })
    .await;
    // Nobody knows whether the broker got the second one, nor when it reads on from a connection that has ended.
    let mut written = numbers(&kafka, topic);
    written.sort_unstable();
    assert!(written.is_sorted_by(|one, next| one < next) && written.contains(&3), "{written:?}");
}

/// librdkafka repeats the write, which the leader refuses (code 19), until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_without_enough_replicas_is_not_written() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("alone", 1, &[]).await.unwrap();
    let replicas = two_replicas(&kafka, topic).await;
    lose(&mut kafka, topic, replicas).await;
    let config = Config::on(Way::Direct, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 3000").own().await;
    let produced = direct(&stack, WRITES).await.produce(vec![record(topic, "0")]).await.unwrap();
    let refused = error(&produced[0]);
    assert_eq!((refused.code, refused.retriable, refused.unknown_outcome), (7, true, false), "{refused:?}");
    assert_eq!(kafka.read(topic, 0), []);
}

#[tokio::test]
async fn records_of_clients_that_left_are_delivered() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("gone", 1, &[]).await.unwrap();
    let mut stack =
        Config::new(Way::Tunnel).await.writing(&["default"]).properties("linger.ms = 5000").own().await;
    let mut socket = Socket::open(&stack).await;
    socket.send(produce((0..100).map(|n| record(topic, n.to_string())).collect())).await;
    becomes(&stack, "write_queue_records", 100.0).await;
    drop(socket);
    becomes(&stack, "sessions", 0.0).await;
    becomes(&stack, "written_records_total", 100.0).await;
    assert_eq!(numbers(kafka, topic), (0..100).collect::<Vec<_>>());

    // Nor does the bridge's end lose what a client that is gone has sent.
    let mut socket = Socket::open(&stack).await;
    socket.send(produce((100..200).map(|n| record(topic, n.to_string())).collect())).await;
    becomes(&stack, "write_queue_records", 100.0).await;
    drop(socket);
    stack.bridge.process.terminate();
    assert!(stack.bridge.process.wait(Duration::from_secs(10)).await.unwrap().success());
    assert_eq!(numbers(kafka, topic), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn undelivered_records_are_unknown_at_shutdown() {
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("stuck", 1, &[]).await.unwrap();
    let config = Config::on(Way::Direct, &kafka.bootstrap()).settings("[session]\ndrain_timeout_ms = 5000");
    let mut stack = config.writing(&["default"]).own().await;
    let mut socket = direct(&stack, WRITES).await;
    offset(&socket.produce(vec![record(topic, "0")]).await.unwrap()[0]);
    kafka.freeze();
    let sent = socket.send(produce(vec![record(topic, "1"), record("no name", "2")])).await;
    becomes(&stack, "write_queue_records", 1.0).await;
    let terminated = Instant::now();
    stack.bridge.process.terminate();
    let (sequence, resp) = socket.receive().await;
    assert_eq!(sequence, sent);
    let Resp::KafkaProduceResp(produced) = resp else { panic!("{resp:?}") };
    let [late, refused] = &produced.results[..] else { panic!("{produced:?}") };
    assert!(error(late).unknown_outcome && error(late).message.contains("shutting down"), "{late:?}");
    assert_eq!(error(refused).code, 17);
    assert!(stack.bridge.process.wait(Duration::from_secs(10)).await.unwrap().success());
    assert!(terminated.elapsed() < Duration::from_secs(7), "{:?}", terminated.elapsed());
}
