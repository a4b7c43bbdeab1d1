//! The public API on written, recorded and corrupt batches.

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
    let of_batch = |batch: &batch::Batch| {
        let is_appended = batch.attributes & batch::LOG_APPEND_TIME != 0;
        let message = |record: &batch::Record| KafkaMessage {
            offset: batch.base_offset + i64::from(record.offset_delta),
            timestamp: if is_appended {
                batch.max_timestamp
            } else {
                batch.base_timestamp + record.timestamp_delta
            },
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: record.headers.iter().map(header).collect(),
            timestamp_type: is_appended.into(),
            ..KafkaMessage::default()
        };
        batch.records.iter().map(message).collect::<Vec<_>>()
    };
    let delivered = batches.iter().filter(|batch| batch.attributes & batch::CONTROL == 0);
    delivered.flat_map(of_batch).filter(|message| message.offset >= from).collect()
}

fn header((key, value): &(Vec<u8>, Option<Vec<u8>>)) -> Header {
    Header { key: String::from_utf8_lossy(key).into(), value: value.clone().map(Bytes::from) }
}

fn concat(batches: &[batch::Batch]) -> Vec<u8> {
    batches.iter().flat_map(batch::Batch::bytes).collect()
}
