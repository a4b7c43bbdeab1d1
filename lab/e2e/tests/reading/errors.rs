//! Fetch and offset errors: their form, their Kafka code, and no topic is created.

use sluicegate_protocol::ErrorResp;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Kafka, Write};
use sluicegate_stack::socket::Socket;

use crate::reading::gateway::shared;
use crate::reading::reference::{FOREVER, varied};

const OFFSET_OUT_OF_RANGE: i32 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;

/// The parts of an error: what failed, where, Kafka's code and its name.
struct Want<'a> {
    what: &'a str,
    topic: &'a str,
    partition: i32,
    code: i32,
    name: &'a str,
}

#[track_caller]
fn check<T: std::fmt::Debug>(answer: Result<T, ErrorResp>, want: &Want<'_>) {
    let error = answer.expect_err("an error");
    let Want { what, topic, partition, code, name } = want;
    let start = format!("failed to {what}, topic: {topic}, partition: {partition}, err: {name}");
    assert!(error.message.starts_with(&start), "{:?} instead of {start:?}", error.message);
    assert_eq!((error.code, error.retriable), (*code, false), "{error:?}");
}

/// Both commands of this partition fail alike.
async fn check_both(socket: &mut Socket, topic: &str, partition: i32, code: i32, name: &str) {
    for timestamp in [-2, -1, 0] {
        let want = Want { what: "list offset", topic, partition, code, name };
        check(socket.list_offset(topic, partition, timestamp).await, &want);
    }
    let want = Want { what: "fetch message", topic, partition, code, name };
    check(socket.fetch(topic, partition, 0).await, &want);
}

fn exists(kafka: &Kafka, topic: &str) -> bool {
    kafka.topics().unwrap().iter().any(|name| name == topic)
}

#[tokio::test]
async fn missing_topic_is_an_error_and_is_not_created() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let mut socket = Socket::open(stack).await;
    let topic = "missing-topic";
    for partition in [0, 7] {
        let (code, name) = (UNKNOWN_TOPIC_OR_PARTITION, "UNKNOWN_TOPIC_OR_PARTITION");
        check_both(&mut socket, topic, partition, code, name).await;
    }
    assert!(!exists(kafka, topic));
    socket.ping().await;
}

#[tokio::test]
async fn offset_beyond_the_log_end_is_out_of_range() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("beyond", 1, &[FOREVER]).await.unwrap();
    let mut socket = Socket::open(stack).await;
    check(socket.fetch(&topic, 0, 1).await, &fetch_out_of_range(&topic));
    kafka.produce(&topic, 0, &varied(3), Write::default()).await.unwrap();
    for offset in [4, 1_000, i64::MAX] {
        check(socket.fetch(&topic, 0, offset).await, &fetch_out_of_range(&topic));
    }
    assert_eq!(socket.fetch(&topic, 0, 3).await, Ok(Vec::new()));
    // The offset that was beyond the end is a message's by and by.
    kafka.produce(&topic, 0, &varied(2), Write::default()).await.unwrap();
    let read = socket.fetch(&topic, 0, 4).await.unwrap();
    assert_eq!(read.iter().map(|message| message.offset).collect::<Vec<_>>(), [4]);
}

fn fetch_out_of_range(topic: &str) -> Want<'_> {
    let (code, name) = (OFFSET_OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE");
    Want { what: "fetch message", topic, partition: 0, code, name }
}
