//! Kafka: topics, partitions, offsets and records.

mod commit;
mod fetch;
mod http;
mod item;
mod list_offsets;
mod metadata;
mod multi_fetch;
mod produce;
mod subscribe;

use std::io::Write as _;

use bytes::Bytes;
use prost::Message;
use serde_json::Error;
use sluicegate_backend::command::Command;
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, System};
use sluicegate_delivery::{Item, Place};
use sluicegate_protocol::KafkaMessage;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::wire::number::{KAFKA_DELIVERY_RESP, KAFKA_FETCH_RESP};
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::Kind;
use sluicegate_ws_session::request::Command as Known;

use self::commit::Commits;
use self::fetch::Fetch;
use self::list_offsets::{ListOffset, ListOffsets};
use self::metadata::Metadata;
use self::multi_fetch::MultiFetch;
use self::produce::Produce;
use self::subscribe::Subscribe;
use super::{Asked, Dialect, InFormat, plain, run};
use crate::json::format::Format;
use crate::json::record::Record;
use crate::session::answer::{Answer, Encoding};
use crate::session::members::object;
use crate::session::text::put_end;

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
            | Known::KafkaSubscribe
            | Known::KafkaCommit => None,
        }
    }

    fn command(&self, req: Req) -> Option<Result<Asked, String>> {
        let command = match req {
            Req::CmdKafkaFetch(fetch) => return Some(fetch::of_protobuf(fetch).map(Asked::Command)),
            Req::CmdKafkaListOffset(list) => list_offsets::one_of_protobuf(list),
            Req::CmdKafkaProduce(produce) => return Some(produce::of_protobuf(produce).map(Asked::Command)),
            Req::CmdKafkaMultiFetch(fetch) => {
                return Some(multi_fetch::of_protobuf(fetch).map(Asked::Command));
            }
            Req::CmdKafkaListOffsets(list) => list_offsets::of_protobuf(list),
            Req::CmdKafkaMetadata(metadata) => metadata::of_protobuf(metadata),
            Req::CmdKafkaCommit(commit) => commit::of_protobuf(commit),
            Req::CmdKafkaSubscribe(command) => {
                return Some(subscribe::of_protobuf(command).map(Asked::Subscribe));
            }
            _ => return None,
        };
        Some(Ok(Asked::Command(command)))
    }

    fn json_command(&self, name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)> {
        Some(match name {
            "fetch" => (Kind::Fetch, object(json).and_then(Fetch::decode).map(run)),
            "multi_fetch" => (Kind::MultiFetch, object(json).and_then(MultiFetch::decode).map(run)),
            "list_offset" => (Kind::ListOffset, object(json).map(plain::<ListOffset>)),
            "list_offsets" => (Kind::ListOffsets, object(json).map(plain::<ListOffsets>)),
            "metadata" => (Kind::Topics, object(json).map(plain::<Metadata>)),
            "commit" => (Kind::Consume, object(json).map(plain::<Commits>)),
            "produce" => {
                let write = object(json).and_then(Produce::decode);
                (Kind::Produce, write.map(|write| plain(Command::Produce(write))))
            }
            "subscribe" => {
                let subscribe = |(subscribed, format)| (Asked::Subscribe(subscribed), format);
                (Kind::Subscribe, Subscribe::parse(json).map(subscribe))
            }
            _ => return None,
        })
    }

    fn json_commands(&self) -> &'static str {
        "fetch, multi_fetch, list_offset, list_offsets, metadata, produce, commit"
    }

    fn put_fetched(&self, answer: &mut Vec<u8>, next_offset: i64, ends: Ends) -> u32 {
        // Cannot fail: the only error is a full buffer, and a `Vec` grows.
        let _ = fetch::answer(next_offset, ends).encode(answer);
        KAFKA_FETCH_RESP
    }

    fn delivered(&self, next: &Place, end: i64) -> (u32, Vec<u8>) {
        (KAFKA_DELIVERY_RESP, item::delivered(next, end).encode_to_vec())
    }

    fn listed(
        &self,
        sequence: i64,
        results: Vec<Result<ListedOffset, CommandError>>,
        encoding: Encoding,
    ) -> Answer {
        list_offsets::answer(sequence, results, encoding)
    }

    fn produced(&self, sequence: i64, reports: Vec<DeliveryReport>, encoding: Encoding) -> Answer {
        produce::answer(sequence, reports, encoding)
    }

    fn item(&self, item: Item) -> Option<Resp> {
        item::protobuf(item)
    }

    fn item_text(&self, sequence: i64, item: &Item) -> Option<Bytes> {
        item::json(sequence, item)
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

#[cfg(test)]
mod tests;
