//! A subscription over a session in JSON.

#![expect(clippy::indexing_slicing, reason = "a member that is missing is null")]

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use sluicegate_stack::json_socket::upgrade;
use tokio_tungstenite::tungstenite::Message;

use super::position::{Begin, Position, Told};
use super::source::{Source, partition_of, stream};
use super::wish::{RED, TENANT, Wish};
use super::{SUBSCRIPTION, Socket, json_record};

pub(crate) struct Json {
    pub(super) socket: Socket,
    has_credit: bool,
}

impl Json {
    pub(crate) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let [path, _] = wish.paths;
        let request = upgrade(&format!("ws://{gateway}{path}"));
        let subscribe = json!({"id": SUBSCRIPTION, "subscribe": command(wish, position)});
        let socket = Socket::open(request, wish, Message::text(subscribe.to_string())).await?;
        Some(Self { socket, has_credit: wish.credit.is_some() })
    }

    pub(crate) async fn told(&mut self) -> Option<Told> {
        let mut answer: Value = serde_json::from_slice(&self.socket.next().await?.into_data()).unwrap();
        assert_eq!(answer["id"], SUBSCRIPTION, "{answer}");
        if answer["error"]["retriable"] == true {
            return None;
        }
        if let Value::Array(subscribed) = answer["subscribed"].take() {
            let begins = subscribed.iter().flat_map(begins).collect();
            return Some(Told::begun(answer["snapshot"] == LATEST_PER_KEY, begins));
        }
        if answer.get("retrying").is_some() || answer.get("building").is_some() {
            return Some(Told::Other);
        }
        if answer.get("snapshot_end").is_some() {
            return Some(Told::SnapshotEnd);
        }
        if let Some(start) = answer.get("log_start") {
            let partition = i32::try_from(number(&start["partition"])).unwrap();
            return Some(Told::LogStart { partition, offset: number(&start["offset"]) });
        }
        if let (Some(first), Some(stream)) = (answer.get("first_sequence"), answer["stream"].as_str()) {
            return Some(Told::LogStart { partition: partition_of(stream), offset: number(first) });
        }
        let (partition, next) = match (answer["stream"].as_str(), &offsets(&answer["next"])[..]) {
            (Some(stream), _) => (partition_of(stream), number(&answer["next"])),
            (None, [next]) => *next,
            (None, _) => panic!("{answer} of a subscription"),
        };
        if let Some(skipped) = answer.get("skipped") {
            return Some(Told::Skipped { partition, from: number(&skipped["from"]), to: next });
        }
        let messages = answer["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let records = messages.iter().map(json_record).collect();
        if let Some(bytes) = answer["bytes"].as_u64().filter(|_| self.has_credit) {
            let credit = json!({"credit": {"subscription": SUBSCRIPTION, "bytes": bytes}});
            self.socket.credit = Some(Message::text(credit.to_string()));
        }
        Some(Told::Records { partition, records, next: Some(next) })
    }
}

/// The beginnings in one entry of `subscribed`.
fn begins(subscribed: &Value) -> Vec<Begin> {
    let id = |name| subscribed[name].as_str().unwrap().into();
    match subscribed["stream"].as_str() {
        Some(stream) => {
            let (partition, offset) = (partition_of(stream), number(&subscribed["next"]));
            vec![Begin { partition, offset, id: id("stream_id") }]
        }
        None => {
            let partitions = offsets(&subscribed["partitions"]).into_iter();
            partitions.map(|(partition, offset)| Begin { partition, offset, id: id("topic_id") }).collect()
        }
    }
}

fn command(wish: &Wish, position: &Position) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let keys: Vec<String> = wish.keys.iter().map(|key| text(key)).collect();
    let filters = |name: &str| {
        let keys = (!keys.is_empty()).then(|| json!({name: keys}));
        let header = wish.has_header().then(|| json!({"header": TENANT, "value": [RED]}));
        keys.into_iter().chain(header).collect::<Vec<_>>()
    };
    let from = wish.from();
    let mut command = match &wish.source {
        Source::Topic(topic) => {
            let next = position.next.iter();
            let next: Map<String, Value> =
                next.map(|(partition, offset)| (partition.to_string(), (*offset).into())).collect();
            json!({
                "topic": **topic,
                "partitions": wish.partitions,
                "from": from,
                "next": next,
                "topic_id": position.ids.values().next().map(|id| text(id)),
                "filters": filters("key"),
            })
        }
        Source::Streams(streams) => {
            let source = |partition: i32| {
                let next = position.next.get(&partition).filter(|next| **next >= 0);
                let next = next.map(|next| json!({"sequence": next}));
                json!({
                    "stream": stream(streams, partition),
                    "from": next.unwrap_or(json!(from)),
                    "stream_id": position.ids.get(&partition).map(|id| text(id)),
                })
            };
            let sources: Vec<Value> = wish.all_partitions().into_iter().map(source).collect();
            json!({ "sources": sources, "filters": filters("subject") })
        }
    };
    command["format"] = json!("text");
    command["credit"] = json!(wish.credit);
    if wish.is_table {
        command["snapshot"] = json!(LATEST_PER_KEY);
        command["away_ms"] = json!(position.away_ms());
    }
    command
}

fn offsets(next: &Value) -> Vec<(i32, i64)> {
    let entries = next.as_object().into_iter().flatten();
    entries.map(|(partition, offset)| (partition.parse().unwrap(), number(offset))).collect()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

const LATEST_PER_KEY: &str = "latest_per_key";
