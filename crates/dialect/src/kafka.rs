//! Kafka: topics, partitions, offsets and records.

mod description;
mod http;
mod item;
mod json;
mod protobuf;

use std::io::Write as _;

use bytes::Bytes;
use prost::Message;
use serde_json::Error;
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, System};
use sluicegate_delivery::{Item, Place};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::wire::number::{KAFKA_DELIVERY_RESP, KAFKA_FETCH_RESP};
use sluicegate_protocol::{KafkaListOffsetsResp, KafkaMessage, KafkaProduceResp};
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::Kind;
use sluicegate_ws_session::request::Command as Known;

pub use self::description::topic_metadata;
use super::{Asked, Dialect, InFormat};
use crate::json::format::Format;
use crate::json::record::Record;
use crate::json_sessions::answer::put_end;

pub(super) struct Kafka;

/// The system whose words errors have.
const SYSTEM: System = System::Kafka;

impl Dialect for Kafka {
    fn suggested_command(&self, command: Known) -> Option<&'static str> {
        match command {
            Known::NatsFetch => Some("cmd_kafka_fetch"),
            Known::NatsListSequences => Some("cmd_kafka_list_offsets"),
            Known::NatsSubscribe => Some("cmd_kafka_subscribe"),
            Known::NatsPublish => Some("cmd_kafka_produce"),
            Known::Ping | Known::Session | Known::Auth | Known::Unsubscribe | Known::Credit => None,
            Known::KafkaFetch
            | Known::KafkaListOffset
            | Known::KafkaProduce
            | Known::KafkaMultiFetch
            | Known::KafkaListOffsets
            | Known::KafkaMetadata
            | Known::KafkaSubscribe => None,
        }
    }

    fn command(&self, req: Req) -> Option<Result<Asked, String>> {
        let command = match req {
            Req::CmdKafkaFetch(fetch) => protobuf::fetch(fetch),
            Req::CmdKafkaListOffset(list) => protobuf::list_offset(list),
            Req::CmdKafkaProduce(produce) => protobuf::produce(produce),
            Req::CmdKafkaMultiFetch(fetch) => protobuf::multi_fetch(fetch),
            Req::CmdKafkaListOffsets(list) => protobuf::list_offsets(list),
            Req::CmdKafkaMetadata(metadata) => protobuf::metadata(metadata),
            Req::CmdKafkaSubscribe(command) => {
                return Some(protobuf::subscribe(command).map(Asked::Subscribe));
            }
            _ => return None,
        };
        Some(Ok(Asked::Command(command)))
    }

    fn json_command(&self, name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)> {
        json::command(name, json)
    }

    fn json_commands(&self) -> &'static str {
        "fetch, multi_fetch, list_offset, list_offsets, metadata, produce"
    }

    fn put_fetched(&self, answer: &mut Vec<u8>, next_offset: i64, ends: Ends) -> u32 {
        // Cannot fail: the only error is a full buffer, and a `Vec` grows.
        let _ = protobuf::fetched(next_offset, ends).encode(answer);
        KAFKA_FETCH_RESP
    }

    fn delivered(&self, next: &Place, end: i64) -> (u32, Vec<u8>) {
        (KAFKA_DELIVERY_RESP, item::delivered(next, end).encode_to_vec())
    }

    fn listed(&self, results: Vec<Result<ListedOffset, CommandError>>) -> Resp {
        let results = results.into_iter().map(protobuf::listed).collect();
        Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results })
    }

    fn produced(&self, reports: Vec<DeliveryReport>) -> Resp {
        let results = reports.into_iter().map(protobuf::produced).collect();
        Resp::KafkaProduceResp(KafkaProduceResp { results })
    }

    fn item(&self, item: Item) -> Option<Resp> {
        item::event(item)
    }

    fn json_listed(&self, sequence: i64, results: Vec<Result<ListedOffset, CommandError>>) -> Bytes {
        json::listed(sequence, results)
    }

    fn json_produced(&self, sequence: i64, reports: Vec<DeliveryReport>) -> Bytes {
        json::produced(sequence, reports)
    }

    fn json_item(&self, sequence: i64, item: &Item) -> Option<Bytes> {
        json::item(sequence, item)
    }

    fn put_message(&self, text: &mut Vec<u8>, partition: i32, message: &KafkaMessage, format: Format) {
        // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
        let _ = serde_json::to_writer(text, &Record::new(partition, message, format));
    }

    fn put_next(&self, text: &mut Vec<u8>, partition: i32, next_offset: i64) {
        // Cannot fail: a `Vec` accepts all writes.
        let _ = write!(text, ",\"next\":{{\"{partition}\":{next_offset}}}");
    }

    fn put_ends(&self, text: &mut Vec<u8>, Ends { start, stable, end }: Ends) {
        put_end(text, "high_watermark", end);
        put_end(text, "last_stable_offset", stable);
        put_end(text, "log_start_offset", start);
    }
}
