//! A subscription over a session in JSON.

#![expect(clippy::indexing_slicing, reason = "a member that is missing is null")]

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Wish;
use crate::json_socket::upgrade;
use crate::live::position::{Position, Told};

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
        if let Value::Array(mut topics) = answer["subscribed"].take() {
            let topic = topics.pop().unwrap();
            let topic_id = topic["topic_id"].as_str().unwrap().into();
            return Some(Told::Begins { partitions: offsets(&topic["partitions"]), topic_id });
        }
        if answer.get("retrying").is_some() {
            return Some(Told::Other);
        }
        let [(partition, next)] = offsets(&answer["next"])[..] else { panic!("{answer} of a subscription") };
        if let Some(skipped) = answer.get("skipped") {
            return Some(Told::Skipped { partition, from: number(&skipped["from"]), to: next });
        }
        let messages = answer["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let offsets = messages.iter().map(|message| number(&message["offset"])).collect();
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

fn command(wish: &Wish, position: &Position) -> Value {
    let next = position.next.iter();
    let next: Map<String, Value> =
        next.map(|(partition, offset)| (partition.to_string(), (*offset).into())).collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let topic_id = text(&position.topic_id);
    let filters: Vec<Value> = wish.filter.iter().map(|key| json!({"key": text(key)})).collect();
    json!({
        "topic": *wish.topic,
        "partitions": wish.partitions,
        "from": "earliest",
        "next": next,
        "topic_id": Some(topic_id).filter(|id| !id.is_empty()),
        "format": "text",
        "filters": filters,
        "credit": wish.credit,
    })
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
