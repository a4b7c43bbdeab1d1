//! Secured Kafka: a real Kafka with a listener for each security protocol, behind a real Envoy and the real bridge.
//!
//! 1. [`section`], [`gateway`]: clusters in the bridge's configuration, and gateways with a path for each
//! 2. [`readable`]: what can be read and, by [`writable`], written
//! 3. [`faults`]: invalid settings, their errors and log lines
//! 4. [`carried`]: routes with their own cluster

mod gateway;
mod section;

mod carried;
mod faults;
mod readable;
mod writable;

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;
use tokio::sync::OnceCell;

/// A topic to read, and what is in its only partition: many small records, and one of 1 MiB.
struct Log {
    topic: String,
    messages: Vec<KafkaMessage>,
}

/// The topic of all tests.
async fn log(kafka: &Kafka) -> &'static Log {
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
    async fn check(&self, socket: &mut Socket, what: &str) {
        let end = i64::try_from(self.messages.len()).unwrap();
        assert_eq!(socket.list_offset(&self.topic, 0, -2).await, Ok(0), "{what}");
        assert_eq!(socket.list_offset(&self.topic, 0, -1).await, Ok(end), "{what}");
        self.check_walk(socket, what).await;
    }

    /// A walk gives every record; it ends with the last one, and does not wait for more.
    async fn check_walk(&self, socket: &mut Socket, what: &str) {
        let mut rest = &self.messages[..];
        while let Some(next) = rest.first() {
            let read = socket.fetch(&self.topic, 0, next.offset).await.unwrap();
            assert!(!read.is_empty() && rest.starts_with(&read), "{what}: from {} on", next.offset);
            rest = &rest[read.len()..];
        }
    }
}
