//! A subscription over server-sent events.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use sluicegate_stack::http::client::{Client, Request, Streamed};

use super::Wish;
use crate::live::position::{Begin, Position, Told};
use crate::live::stream_name::stream;
use crate::live::system::Source;

pub(in crate::live) struct Events {
    /// None: that of each event.
    partition: Option<i32>,
    body: Streamed,
    unread: String,
    told: VecDeque<Told>,
}

impl Events {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let request = Request::get(format!("/kafka{}/events?from=earliest", resource(wish)?))
            .with("accept", "text/event-stream");
        let last = position.last_event_id.as_deref();
        let request = last.into_iter().fold(request, |request, last| request.with("last-event-id", last));
        let body = Client::connect(gateway).await.ok()?.stream(request).await.ok()?;
        if body.head.status != 200 {
            assert!([502, 503, 504].contains(&body.head.status), "{:?}", body.head);
            return None;
        }
        let offset = wish.source.first();
        let begin = |partition| Begin { partition, offset, id: Vec::new() };
        let begins = wish.all_partitions().into_iter().map(begin).collect();
        // A stream does not say where it begins.
        let told = Told::Begins(begins);
        let told = if position.next.is_empty() { VecDeque::from([told]) } else { VecDeque::new() };
        Some(Self { partition: wish.partitions.first().copied(), body, unread: String::new(), told })
    }

    pub(super) async fn told(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                self.told.push_back(told(event, self.partition));
                self.unread = rest.to_owned();
            }
            if self.told.is_empty() {
                let part = self.body.next().await.ok()??;
                self.unread.push_str(std::str::from_utf8(&part).unwrap());
            }
        }
    }
}

/// The path of what a stream of events can be about.
pub(super) fn resource(wish: &Wish) -> Option<String> {
    match (&wish.source, &wish.partitions[..]) {
        (Source::Topic(topic), []) => Some(format!("/topics/{topic}")),
        (Source::Topic(topic), [partition]) => Some(format!("/topics/{topic}/partitions/{partition}")),
        (Source::Streams, [partition]) => Some(format!("/streams/{}", stream(*partition))),
        (Source::Topic(_) | Source::Streams, _) => None,
    }
}

/// Parses the lines of one event.
fn told(event: &str, partition: Option<i32>) -> Told {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data: Value = field("data: ").map(|data| serde_json::from_str(&data).unwrap()).unwrap_or_default();
    let number = |names: [&str; 2]| names.iter().find_map(|name| data.get(name)?.as_i64()).unwrap();
    let partition = || partition.unwrap_or_else(|| i32::try_from(number(["partition"; 2])).unwrap());
    let told = match field("event: ").as_deref() {
        None if data.is_null() => Told::Other,
        None => {
            let offset = number(["offset", "sequence"]);
            Told::Records { partition: partition(), offsets: vec![offset], next: offset.saturating_add(1) }
        }
        Some("caught-up") => {
            let next = number(["next_offset", "next_sequence"]);
            Told::Records { partition: partition(), offsets: Vec::new(), next }
        }
        Some("skipped") => {
            let (from, to) = (number(["from"; 2]), number(["to"; 2]));
            Told::Skipped { partition: partition(), from, to }
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
