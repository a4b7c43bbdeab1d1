//! A subscription over server-sent events.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use super::Wish;
use crate::http::client::{Client, Request, Streamed};
use crate::live::position::{Position, Told};

pub(in crate::live) struct Events {
    body: Streamed,
    unread: String,
    told: VecDeque<Told>,
}

impl Events {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let topic = &wish.topic;
        let of = match wish.partitions.first() {
            None => format!("/kafka/topics/{topic}/events"),
            Some(partition) => format!("/kafka/topics/{topic}/partitions/{partition}/events"),
        };
        let request = Request::get(format!("{of}?from=earliest")).with("accept", "text/event-stream");
        let last = position.last_event_id.as_deref();
        let request = last.into_iter().fold(request, |request, last| request.with("last-event-id", last));
        let body = Client::connect(gateway).await.ok()?.stream(request).await.ok()?;
        if body.head.status != 200 {
            assert!([502, 503, 504].contains(&body.head.status), "{:?}", body.head);
            return None;
        }
        let all = 0..crate::live::PARTITIONS;
        let begins = |partition: &i32| (*partition, 0);
        let partitions = match &wish.partitions[..] {
            [] => all.map(|partition| (partition, 0)).collect(),
            some => some.iter().map(begins).collect(),
        };
        // A stream does not say where it begins.
        let told = Told::Begins { partitions, topic_id: Vec::new() };
        let told = if position.next.is_empty() { VecDeque::from([told]) } else { VecDeque::new() };
        Some(Self { body, unread: String::new(), told })
    }

    pub(super) async fn told(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                self.told.push_back(told(event));
                self.unread = rest.to_owned();
            }
            if self.told.is_empty() {
                let part = self.body.next().await.ok()??;
                self.unread.push_str(std::str::from_utf8(&part).unwrap());
            }
        }
    }
}

/// What the lines of one event tell.
fn told(event: &str) -> Told {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data: Value = field("data: ").map(|data| serde_json::from_str(&data).unwrap()).unwrap_or_default();
    let number = |name: &str| data.get(name).and_then(Value::as_i64).unwrap();
    let partition = || i32::try_from(number("partition")).unwrap();
    let told = match field("event: ").as_deref() {
        None if data.is_null() => Told::Other,
        None => {
            let offset = number("offset");
            Told::Records { partition: partition(), offsets: vec![offset], next: offset.saturating_add(1) }
        }
        Some("caught-up") => {
            Told::Records { partition: partition(), offsets: Vec::new(), next: number("next_offset") }
        }
        Some("retrying") => Told::Other,
        // It can be retried: the stream ends behind it.
        Some("error") if data.get("retriable") == Some(&Value::Bool(true)) => Told::Other,
        Some(_) => panic!("{event}"),
    };
    match field("id: ") {
        Some(id) => Told::Identified { id, told: Box::new(told) },
        None => told,
    }
}
