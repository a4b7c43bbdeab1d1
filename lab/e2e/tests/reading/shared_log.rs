//! Records that the bridge keeps for many readers: what a client is told while the log grows, shrinks or is replaced.

use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::socket::Socket;

use crate::reading::{FOREVER, with};

/// Age drops no record during a test: only what Kafka answers does.
const KEEPS: &str = "[read]\nwait_ms = 0\ncache_ms = 900000";

#[tokio::test]
async fn acknowledged_record_is_read_while_others_read_the_log_end() {
    let (kafka, stack) = with(KEEPS).await;
    let topic = kafka.topic("acknowledged", 1, &[FOREVER]).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let (mut socket, topic) = (Socket::open(&stack).await, topic.clone());
        crowd.push(tokio::spawn(async move {
            let mut next = 0;
            loop {
                for message in socket.fetch(&topic, 0, next).await.unwrap() {
                    assert_eq!(message.offset, next);
                    next += 1;
                }
            }
        }));
    }
    let mut socket = Socket::open(&stack).await;
    for round in 0..200 {
        let record = Record::of(format!("record {round}"));
        let offsets = kafka.produce(&topic, 0, &[record], Write::default()).await.unwrap();
        // Without a wait: an answer from before the acknowledgement would be empty.
        let read = socket.fetch(&topic, 0, offsets[0]).await.unwrap();
        assert_eq!(read.first().map(|message| message.offset), Some(offsets[0]));
        assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(offsets[0] + 1));
    }
    for reader in crowd {
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled(), "a reader of the crowd failed");
    }
}
