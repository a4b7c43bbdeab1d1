//! A topic that is deleted and recreated under the same name.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::ErrorResp;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::Socket;
use tokio::time::{Instant, sleep, timeout};

use crate::brokers::cluster::{ANSWERED_WITHIN, cluster, gateway};

const OFFSET_OUT_OF_RANGE: i32 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
const PARTITIONS: i32 = 3;
const OLD: usize = 50;
const NEW: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreated_topic_is_read_from_its_start() {
    let kafka = cluster().await;
    let topic = &kafka.topic("again", PARTITIONS, &[]).await.unwrap();
    write(&kafka, topic, &values("old", OLD), 201).await;
    let stack = gateway(&kafka.bootstrap(), "", &[]).await;
    let sockets = join_all((0..12).map(|_| Socket::open(&stack))).await;
    let (read_old, mut all) = tokio::sync::mpsc::unbounded_channel();
    let readers: Vec<_> = (0..PARTITIONS)
        .cycle()
        .zip(sockets)
        .map(|(partition, socket)| tokio::spawn(follow(socket, topic.clone(), partition, read_old.clone())))
        .collect();
    for _ in &readers {
        timeout(WITHIN, all.recv()).await.expect("every old record within 20 s").unwrap();
    }

    kafka.delete_topic(topic).await.unwrap();
    kafka.make_topic(topic, PARTITIONS, &[]).await.unwrap();
    write(&kafka, topic, &values("new", NEW), 202).await;
    let want = [values("old", OLD), values("new", NEW)].concat();
    for (partition, reader) in (0..PARTITIONS).cycle().zip(readers) {
        let read = timeout(WITHIN, reader).await;
        let (read, errors) =
            read.unwrap_or_else(|_| panic!("partition {partition} is not read to its end")).unwrap();
        assert_eq!(read, want, "partition {partition}");
        assert!(!errors.is_empty(), "partition {partition}: nobody said that the old topic is gone");
        let about = format!("failed to fetch message, topic: {topic}, partition: {partition}, err: ");
        for error in errors {
            assert!(error.message.starts_with(&about), "{error:?}");
            assert!(error.retriable || is_gone(&error), "{error:?}");
        }
    }
    for partition in 0..PARTITIONS {
        let mut socket = Socket::open(&stack).await;
        assert_eq!(socket.list_offset(topic, partition, -1).await, Ok(i64::try_from(NEW).unwrap()));
    }
}

/// Reads as a client does that begins again where its offset is gone, until it has the last of the new records; every
/// value, and every error.
async fn follow(
    mut socket: Socket,
    topic: String,
    partition: i32,
    read_old: tokio::sync::mpsc::UnboundedSender<()>,
) -> (Vec<String>, Vec<ErrorResp>) {
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    let mut next = 0;
    let last = values("new", NEW).pop();
    while read.last() != last.as_ref() {
        let asked = Instant::now();
        let answer = socket.fetch(&topic, partition, next).await;
        let took = asked.elapsed();
        assert!(took < ANSWERED_WITHIN, "{topic} {partition} at {next}: {answer:?} took {took:?}");
        match answer {
            Ok(messages) => {
                for message in messages {
                    next = message.offset + 1;
                    read.push(String::from_utf8(message.value.unwrap().into()).unwrap());
                    if read.len() == OLD {
                        read_old.send(()).unwrap();
                    }
                }
            }
            Err(error) => {
                if is_gone(&error) {
                    next = 0;
                }
                errors.push(error);
                sleep(PAUSE).await;
            }
        }
    }
    (read, errors)
}

fn is_gone(error: &ErrorResp) -> bool {
    [OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION].contains(&error.code)
}

fn values(age: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{age} {number}")).collect()
}

/// To every partition, by a producer that has seen nothing of the topic before: `batch` is one of the test's own.
async fn write(kafka: &Kafka, topic: &str, values: &[String], batch: usize) {
    let records: Vec<Record> = values.iter().map(|value| Record::of(value.clone())).collect();
    let how = Write { batch: Some(batch), ..Write::default() };
    for partition in 0..PARTITIONS {
        kafka.produce(topic, partition, &records, how).await.unwrap();
    }
}

/// A client's wait before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(20);
