//! Writes while Kafka hangs.

use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;

use crate::writing::stacks::{becomes, error, offset, record, with};
use crate::writing::told::numbers;

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
