//! NATS JetStream: streams, sequences and messages. A stream is run as the topic whose one partition it is.

mod fetch;
mod http;
mod item;
mod list_sequences;
mod message;
mod publish;
mod subscribe;

use std::io::Write as _;

use bytes::Bytes;
use prost::Message as _;
use serde_json::Error;
use sluicegate_backend::command::Command;
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, System};
use sluicegate_delivery::{Item, Place};
use sluicegate_protocol::KafkaMessage;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::wire::number::{NATS_DELIVERY_RESP, NATS_FETCH_RESP};
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::Kind;
use sluicegate_ws_session::request::Command as Known;

use self::fetch::Fetch;
use self::list_sequences::ListSequences;
use self::message::Message;
use self::publish::Publish;
use self::subscribe::Subscribe;
use super::{Asked, Dialect, InFormat, plain, run};
use crate::json::format::Format;
use crate::session::answer::{Answer, Encoding};
use crate::session::members::object;
use crate::session::text::put_end;

pub(super) struct Nats;

/// The system whose words errors have.
const SYSTEM: System = System::Nats;

impl Dialect for Nats {
    fn suggested_command(&self, command: Known) -> Option<&'static str> {
        match command {
            Known::KafkaFetch | Known::KafkaMultiFetch => Some("cmd_nats_fetch"),
            Known::KafkaListOffset | Known::KafkaListOffsets => Some("cmd_nats_list_sequences"),
            Known::KafkaSubscribe | Known::KafkaCommit => Some("cmd_nats_subscribe"),
            Known::KafkaProduce => Some("cmd_nats_publish"),
            Known::KafkaMetadata => Some("GET /streams"),
            Known::Ping | Known::Session | Known::Auth | Known::Unsubscribe | Known::Credit => None,
            Known::NatsFetch | Known::NatsListSequences | Known::NatsSubscribe | Known::NatsPublish => None,
        }
    }

    fn command(&self, req: Req) -> Option<Result<Asked, String>> {
        let command = match req {
            Req::CmdNatsFetch(fetch) => return Some(fetch::of_protobuf(fetch).map(Asked::Command)),
            Req::CmdNatsListSequences(list) => list_sequences::of_protobuf(list),
            Req::CmdNatsPublish(publish) => return Some(publish::of_protobuf(publish).map(Asked::Command)),
            Req::CmdNatsSubscribe(command) => {
                return Some(subscribe::of_protobuf(command).map(Asked::Subscribe));
            }
            _ => return None,
        };
        Some(Ok(Asked::Command(command)))
    }

    fn json_command(&self, name: &str, json: &str) -> Option<(Kind, Result<InFormat, Error>)> {
        Some(match name {
            "fetch" => (Kind::Fetch, object(json).and_then(Fetch::decode).map(run)),
            "list_sequences" => (Kind::ListOffsets, object(json).map(plain::<ListSequences>)),
            "publish" => {
                let write = object(json).and_then(Publish::decode);
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
        "fetch, list_sequences, publish"
    }

    fn put_fetched(&self, answer: &mut Vec<u8>, next_offset: i64, ends: Ends) -> u32 {
        // Cannot fail: the only error is a full buffer, and a `Vec` grows.
        let _ = fetch::answer(next_offset, ends).encode(answer);
        NATS_FETCH_RESP
    }

    fn delivered(&self, next: &Place, end: i64) -> (u32, Vec<u8>) {
        (NATS_DELIVERY_RESP, item::delivered(next, end).encode_to_vec())
    }

    fn listed(
        &self,
        sequence: i64,
        results: Vec<Result<ListedOffset, CommandError>>,
        encoding: Encoding,
    ) -> Answer {
        list_sequences::answer(sequence, results, encoding)
    }

    fn produced(&self, sequence: i64, reports: Vec<DeliveryReport>, encoding: Encoding) -> Answer {
        publish::answer(sequence, reports, encoding)
    }

    fn item(&self, item: Item) -> Option<Resp> {
        item::protobuf(item)
    }

    fn item_text(&self, sequence: i64, item: &Item) -> Option<Bytes> {
        item::json(sequence, item)
    }

    fn put_message(&self, text: &mut Vec<u8>, _: i32, message: &KafkaMessage, format: Format) {
        let data = format.value(message.value.as_deref().unwrap_or_default());
        let message = Message::new(None, message, data, |value| format.key(value));
        // Cannot fail: a `Vec` accepts all writes, and every part of a message is valid JSON.
        let _ = serde_json::to_writer(text, &message);
    }

    fn put_next(&self, text: &mut Vec<u8>, _: i32, next_offset: i64) {
        // Cannot fail: a `Vec` accepts all writes.
        let _ = write!(text, ",\"next\":{next_offset}");
    }

    fn put_ends(&self, text: &mut Vec<u8>, Ends { start, end, .. }: Ends) {
        put_end(text, "end", end);
        put_end(text, "first_sequence", start);
    }
}

#[cfg(test)]
mod tests;
