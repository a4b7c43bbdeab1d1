//! Accepted records are delivered even if the client disconnects or the bridge stops.

use std::time::Duration;

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce};
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::breakable;
use crate::pool::Config;
use crate::writing::told::numbers;
use crate::writing::{becomes, error, offset, record};

const DRAINED_WITHIN: Duration = Duration::from_secs(10);

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
    assert_eq!(numbers(kafka, topic, 0), (0..100).collect::<Vec<_>>());

    // Nor does the bridge's end lose what a client that is gone has sent.
    let mut socket = Socket::open(&stack).await;
    socket.send(produce((100..200).map(|n| record(topic, n.to_string())).collect())).await;
    becomes(&stack, "write_queue_records", 100.0).await;
    drop(socket);
    stack.bridge.process.terminate();
    assert!(stack.bridge.process.wait(DRAINED_WITHIN).await.unwrap().success());
    assert_eq!(numbers(kafka, topic, 0), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn undelivered_records_are_unknown_at_shutdown() {
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("stuck", 1, &[]).await.unwrap();
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).settings("[session]\ndrain_timeout_ms = 5000");
    let mut stack = config.writing(&["default"]).own().await;
    let mut socket = Socket::open(&stack).await;
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
    assert!(stack.bridge.process.wait(DRAINED_WITHIN).await.unwrap().success());
    assert!(terminated.elapsed() < Duration::from_secs(7), "{:?}", terminated.elapsed());
}
