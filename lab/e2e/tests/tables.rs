//! Tables through a gateway: real Envoy, real bridge, real Kafka and NATS.

mod cli;
mod http;
mod snapshots;

use sluicegate_stack::kafka::{Kafka, Record, Write};

/// A record, or without a value a removal.
fn record(key: &str, value: Option<&str>) -> Record {
    Record { key: Some(key.into()), value: value.map(Into::into), ..Record::default() }
}

async fn write(kafka: &Kafka, topic: &str, records: &[Record]) {
    kafka.produce(topic, 0, records, Write::default()).await.unwrap();
}
