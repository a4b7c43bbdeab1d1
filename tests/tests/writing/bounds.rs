//! A Kafka that accepts no records: memory stays bounded, and clients learn whether their records are written.

use std::time::Duration;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::socket::{Socket, produce, results};
use tokio::time::Instant;

use crate::log::numbers;
use crate::stacks::{becomes, count, error, offset, record, with};

#[tokio::test]
async fn full_queue_refuses_and_never_reorders() {
    let mut kafka = Kafka::start().await.unwrap();
    // One client can hold 50 of them.
    let properties = "queue.buffering.max.messages = 66\nmessage.timeout.ms = 60000\n";
    let stack = with(Profile::Tunnel, &kafka, "", properties).await;
    let topic = &kafka.topic("full", 1, &[]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    offset(&socket.produce(vec![record(topic, "0")]).await.unwrap()[0]);
    kafka.freeze();
    let command =
        |numbers: std::ops::Range<u64>| produce(numbers.map(|n| record(topic, n.to_string())).collect());
    let waits = socket.send(command(1..41)).await;
    becomes(&stack, "write_queue_records", 40.0).await;
    let full = socket.send(command(41..71)).await;
    becomes(&stack, "write_queue_records", 50.0).await;
    // Nothing of this one fits: it is answered at once.
    let asked = Instant::now();
    let refused = socket.send(command(71..74)).await;
    let (sequence, resp) = socket.receive().await;
    assert_eq!(sequence, refused);
    assert!(asked.elapsed() < Duration::from_secs(2));
    for produced in results(resp).unwrap() {
        let error = error(&produced);
        assert!(error.retriable && error.retry_after_ms > 0 && !error.unknown_outcome, "{error:?}");
    }
    socket.ping().await;
    kafka.thaw();
    let (sequence, resp) = socket.receive().await;
    assert_eq!(sequence, waits);
    assert_eq!(results(resp).unwrap().iter().map(offset).collect::<Vec<_>>(), (1..41).collect::<Vec<_>>());
    let (sequence, resp) = socket.receive().await;
    assert_eq!(sequence, full);
    let produced = results(resp).unwrap();
    assert_eq!(produced[..10].iter().map(offset).collect::<Vec<_>>(), (41..51).collect::<Vec<_>>());
    assert!(produced[10..].iter().all(|produced| error(produced).retriable));
    // What was refused is written when it is sent again.
    let again = socket.produce((51..74).map(|n| record(topic, n.to_string())).collect()).await.unwrap();
    assert_eq!(again.iter().map(offset).collect::<Vec<_>>(), (51..74).collect::<Vec<_>>());
    assert_eq!(numbers(&kafka, topic, 0), (0..74).collect::<Vec<_>>());
    assert_eq!(count(&stack, "written_records_total").await, 74.0);
    assert_eq!(count(&stack, "write_failures_total").await, 23.0);
}

#[tokio::test]
async fn hanging_kafka_leaves_outcomes_unknown() {
    let mut kafka = Kafka::start().await.unwrap();
    let stack = with(Profile::Tunnel, &kafka, "", "message.timeout.ms = 8000\n").await;
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
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("an acknowledgement within 60 s");
    let written = numbers(&kafka, topic, 0);
    assert!(written == [0, 3] || written == [0, 1, 3], "{written:?}");
}
