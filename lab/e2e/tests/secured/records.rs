//! The records to read: a topic with batches of every codec and a record of 1 MiB.

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::{Codec, Kafka, Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;
use tokio::sync::OnceCell;

/// A topic, and what is in its only partition.
pub(crate) struct Log {
    pub(crate) topic: String,
    pub(crate) messages: Vec<KafkaMessage>,
}

/// The topic of all tests.
pub(crate) async fn log(kafka: &Kafka) -> &'static Log {
    static LOG: OnceCell<Log> = OnceCell::const_new();
    LOG.get_or_init(|| write(kafka)).await
}

async fn write(kafka: &Kafka) -> Log {
    let topic = kafka.topic("every-codec", 1, &[]).await.unwrap();
    let mut random = Random::new(17);
    let mut messages = Vec::new();
    for (number, codec) in Codec::ALL.into_iter().enumerate() {
        let mut records: Vec<Record> = (0..RECORDS_PER_CODEC).map(|n| record(number, n)).collect();
        if codec == Codec::None {
            records.push(Record { value: Some(random.bytes(1 << 20)), ..record(number, RECORDS_PER_CODEC) });
        }
        let how = Write { codec, batch: Some(100), ..Write::default() };
        let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
        messages.extend(offsets.into_iter().zip(records).map(message));
    }
    Log { topic, messages }
}

fn record(codec: usize, number: usize) -> Record {
    let time = i64::try_from(codec * RECORDS_PER_CODEC + number).unwrap();
    Record {
        key: Some(format!("key {number}").into_bytes()),
        value: Some(format!("value {number} of codec {codec}, which repeats, repeats, repeats").into_bytes()),
        timestamp: Some(1_700_000_000_000 + time),
        ..Record::default()
    }
}

fn message((offset, record): (i64, Record)) -> KafkaMessage {
    KafkaMessage {
        offset,
        timestamp: record.timestamp.unwrap(),
        key: record.key.map(Bytes::from),
        value: record.value.map(Bytes::from),
        headers: Vec::new(),
        ..Default::default()
    }
}

impl Log {
    /// Both ends are where they should be, and a walk between them gives every record.
    pub(crate) async fn check(&self, socket: &mut Socket, what: &str) {
        let end = i64::try_from(self.messages.len()).unwrap();
        assert_eq!(socket.list_offset(&self.topic, 0, -2).await, Ok(0), "{what}");
        assert_eq!(socket.list_offset(&self.topic, 0, -1).await, Ok(end), "{what}");
        self.check_walk(socket, what).await;
    }

    /// A walk gives every record; it ends with the last one, and does not wait for more.
    pub(crate) async fn check_walk(&self, socket: &mut Socket, what: &str) {
        let mut rest = &self.messages[..];
        while let Some(next) = rest.first() {
            let read = socket.fetch(&self.topic, 0, next.offset).await.unwrap();
            assert!(!read.is_empty() && read.len() <= rest.len(), "{what}: {} of {}", read.len(), rest.len());
            let differs = read.iter().zip(rest).position(|(read, written)| read != written);
            assert_eq!(differs, None, "{what}: from {} on", next.offset);
            rest = &rest[read.len()..];
        }
    }
}

const RECORDS_PER_CODEC: usize = 800;
