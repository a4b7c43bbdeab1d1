//! The public API on written, recorded and corrupt batches.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod batch;
mod committed;
mod corrupt;
mod fixtures;
mod invariants;
mod limits;
mod old;
mod properties;
mod reading;

use prost::bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_records::Limits;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_record_bytes: 1 << 20, max_batch_bytes: 1 << 20 };

/// The expected messages of `batches` from offset `from`, derived from what was written.
fn expected(batches: &[batch::Batch], from: i64) -> Vec<KafkaMessage> {
    let mut messages = Vec::new();
    for batch in batches.iter().filter(|batch| batch.attributes & batch::CONTROL == 0) {
        for record in &batch.records {
            let offset = batch.base_offset + i64::from(record.offset_delta);
            let timestamp = if batch.attributes & batch::LOG_APPEND_TIME == 0 {
                batch.base_timestamp + record.timestamp_delta
            } else {
                batch.max_timestamp
            };
            let [key, value] = [&record.key, &record.value].map(|bytes| bytes.clone().map(Bytes::from));
            let header = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| Header {
                key: String::from_utf8_lossy(key).into(),
                value: value.clone().map(Bytes::from),
            };
            let headers = record.headers.iter().map(header).collect();
            if offset >= from {
                let timestamp_type = (batch.attributes & batch::LOG_APPEND_TIME != 0).into();
                let rest = KafkaMessage::default();
                messages.push(KafkaMessage {
                    offset,
                    timestamp,
                    key,
                    value,
                    headers,
                    timestamp_type,
                    ..rest
                });
            }
        }
    }
    messages
}

fn concat(batches: &[batch::Batch]) -> Vec<u8> {
    batches.iter().flat_map(batch::Batch::bytes).collect()
}
