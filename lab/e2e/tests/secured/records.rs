//! The records to read: many small ones, and one of 1 MiB.

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::{Kafka, Record, Write};
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
    let topic = kafka.topic("log", 1, &[]).await.unwrap();
    let mut records: Vec<Record> = (0..4_000).map(|number| Record::of(format!("value {number}"))).collect();
    records.push(Record::of(Random::new(17).bytes(1 << 20)));
    let how = Write { batch: Some(100), ..Write::default() };
    kafka.produce(&topic, 0, &records, how).await.unwrap();
    Log { messages: kafka.read(&topic, 0), topic }
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
            assert!(!read.is_empty() && rest.starts_with(&read), "{what}: from {} on", next.offset);
            rest = &rest[read.len()..];
        }
    }
}
