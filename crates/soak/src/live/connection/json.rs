//! A subscription over a session in JSON.

#![expect(clippy::indexing_slicing, reason = "a member that is missing is null")]

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use sluicegate_stack::json_socket::upgrade;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Wish;
use crate::live::position::{Begin, Position, Told};
use crate::live::stream_name::{partition_of, stream};
use crate::live::system::Source;

pub(in crate::live) struct Json {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    has_credit: bool,
}

impl Json {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (stream, _) = connect_async(upgrade(&format!("ws://{gateway}/pubsub"))).await.ok()?;
        let mut session = Self { stream, has_credit: wish.credit.is_some() };
        session.send(json!({"id": SUBSCRIPTION, "subscribe": command(wish, position)})).await?;
        Some(session)
    }

    pub(super) async fn told(&mut self) -> Option<Told> {
        let mut answer: Value = loop {
            match self.stream.next().await?.ok()? {
                Message::Text(text) => break serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                _ => return None,
            }
        };
        assert_eq!(answer["id"], SUBSCRIPTION, "{answer}");
        if answer["error"]["retriable"] == true {
            return None;
        }
        if let Value::Array(subscribed) = answer["subscribed"].take() {
            return Some(Told::Begins(subscribed.iter().flat_map(begins).collect()));
        }
        if answer.get("retrying").is_some() {
            return Some(Told::Other);
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
        let offset = |message: &Value| message["sequence"].as_i64().or(message["offset"].as_i64()).unwrap();
        let offsets = messages.iter().map(offset).collect();
        if self.has_credit && !messages.is_empty() {
            let credit = json!({"subscription": SUBSCRIPTION, "bytes": answer["bytes"]});
            self.send(json!({"credit": credit})).await?;
        }
        Some(Told::Records { partition, offsets, next })
    }

    async fn send(&mut self, command: Value) -> Option<()> {
        self.stream.send(Message::text(command.to_string())).await.ok()
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
    let filters = |name: &str| if keys.is_empty() { json!([]) } else { json!([{name: keys}]) };
    match &wish.source {
        Source::Topic(topic) => {
            let next = position.next.iter();
            let next: Map<String, Value> =
                next.map(|(partition, offset)| (partition.to_string(), (*offset).into())).collect();
            json!({
                "topic": **topic,
                "partitions": wish.partitions,
                "from": "earliest",
                "next": next,
                "topic_id": position.ids.values().next().map(|id| text(id)),
                "format": "text",
                "filters": filters("key"),
                "credit": wish.credit,
            })
        }
        Source::Streams => {
            let source = |partition: i32| {
                let from = position.next.get(&partition).map(|next| json!({"sequence": next}));
                json!({
                    "stream": stream(partition),
                    "from": from.unwrap_or(json!("earliest")),
                    "stream_id": position.ids.get(&partition).map(|id| text(id)),
                })
            };
            let sources: Vec<Value> = wish.all_partitions().into_iter().map(source).collect();
            json!({
                "sources": sources,
                "format": "text",
                "filters": filters("subject"),
                "credit": wish.credit,
            })
        }
    }
}

/// Offsets by partition.
fn offsets(next: &Value) -> Vec<(i32, i64)> {
    let entries = next.as_object().into_iter().flatten();
    entries.map(|(partition, offset)| (partition.parse().unwrap(), number(offset))).collect()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

const SUBSCRIPTION: i64 = 1;
