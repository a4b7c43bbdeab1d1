//! Writers with a producer that have no client library: over plain HTTP, and over sessions in JSON, they repeat each
//! command as it was until it has an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::json_socket::upgrade;
use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::once::{KEYS, LIVES, MOST, PAUSE};
use super::writers::Written;
use crate::clients::source::{key, stream};
use crate::clients::wish::{REST, SESSIONS};

/// A writer of numbered records to a partition or a stream.
pub(super) struct Raw {
    pub(super) gateway: SocketAddr,
    pub(super) way: Way,
    pub(super) name: Arc<str>,
    pub(super) partition: i32,
    pub(super) value: fn(partition: i32, number: u64) -> String,
}

#[derive(Clone, Copy)]
pub(super) enum Way {
    Http,
    Json,
    /// In JSON, to a subject of a stream.
    Nats,
}

impl Raw {
    /// Writes a record in each pause, and several after an outage, until it is to stop and has an answer to all.
    pub(super) async fn write(self, stopped: watch::Receiver<bool>, mut random: Random) -> Written {
        let (start, mut first, mut written) = (Instant::now(), 0, Written::default());
        while !*stopped.borrow() {
            sleep(PAUSE).await;
            let due = u64::try_from(start.elapsed().as_millis() / PAUSE.as_millis()).unwrap();
            let numbers = first..due.min(first + MOST);
            if numbers.is_empty() {
                continue;
            }
            let (sent, mut age) = (Instant::now(), Duration::ZERO);
            let is_duplicate = loop {
                // Dropped at any point, as by a kill.
                let life = if random.below(LIVES) == 0 { random.below(200) } else { 30_000 };
                let life = Duration::from_millis(u64::try_from(life).unwrap());
                let records = numbers.clone().map(|number| self.record(number)).collect();
                match timeout(life, self.attempt(records, first, age)).await {
                    Ok(Some(is_duplicate)) => break is_duplicate,
                    Ok(None) | Err(_) => sleep(PAUSE).await,
                }
                age = Duration::from_secs(sent.elapsed().as_secs() + 1);
            };
            written.duplicates += usize::from(is_duplicate);
            first = numbers.end;
        }
        written.numbered.insert(self.partition, first);
        written
    }

    /// Sends a command once. Gives whether its records were there already; `None`: nobody knows, or it can be repeated.
    async fn attempt(&self, records: Vec<Value>, first: u64, age: Duration) -> Option<bool> {
        match self.way {
            Way::Http => {
                let path = format!("{REST}/topics/{}/partitions/{}", self.name, self.partition);
                let request = Request::post(path, json!({ "records": records }).to_string())
                    .with("content-type", "application/vnd.kafka.text.v2+json")
                    .with("producer-id", self.id())
                    .with("producer-epoch", "0")
                    .with("producer-seq", first.to_string())
                    .with("producer-age", age.as_secs().to_string());
                let last = first + u64::try_from(records.len()).unwrap() - 1;
                let answer = Client::connect(self.gateway).await.ok()?.ask(request).await.ok()?;
                assert!(![403, 409].contains(&answer.status), "{first} after {age:?}: {answer:?}");
                let told: u64 = answer.header("producer-seq")?.parse().unwrap();
                assert_eq!(told, last, "{answer:?}");
                Some(answer.header("producer-duplicate").is_some())
            }
            Way::Json | Way::Nats => {
                let age = u64::try_from(age.as_millis()).unwrap();
                let producer = json!({"id": self.id(), "epoch": 0, "sequence": first, "age_ms": age});
                let (command, list) =
                    if let Way::Nats = self.way { ("publish", "messages") } else { ("produce", "records") };
                let command =
                    json!({"id": 1, command: {list: records, "format": "text", "producer": producer}});
                let url = format!("ws://{}{SESSIONS}", self.gateway);
                let (mut socket, _) = connect_async(upgrade(&url)).await.ok()?;
                socket.send(Message::text(command.to_string())).await.ok()?;
                let answer = loop {
                    match socket.next().await?.ok()? {
                        Message::Text(text) => break serde_json::from_str::<Value>(&text).unwrap(),
                        Message::Close(_) => return None,
                        _ => {}
                    }
                };
                let results = answer.get("results")?.as_array()?;
                for reason in results.iter().filter_map(|result| result.get("error")?.get("reason")) {
                    let is_final = ["OUT_OF_ORDER", "FENCED", "EXPIRED"].map(Value::from).contains(reason);
                    assert!(!is_final, "{first} after {age} ms: {answer}");
                }
                let is_duplicate = |result: &Value| result.get("duplicate")?.as_bool();
                let duplicates: Option<Vec<bool>> = results.iter().map(is_duplicate).collect();
                duplicates.map(|duplicates| duplicates.into_iter().all(|is| is))
            }
        }
    }

    fn record(&self, number: u64) -> Value {
        let value = (self.value)(self.partition, number);
        match self.way {
            Way::Http => json!({"key": key(number % KEYS), "value": value}),
            Way::Json => {
                let key = key(number % KEYS);
                json!({"topic": *self.name, "partition": self.partition, "key": key, "value": value})
            }
            // Each subject has an account of its own.
            Way::Nats => {
                let stream = stream(&self.name, self.partition);
                json!({"stream": stream, "subject": format!("{stream}.{}", key(0)), "data": value})
            }
        }
    }

    fn id(&self) -> String {
        format!("raw writer of {}", self.partition)
    }
}
