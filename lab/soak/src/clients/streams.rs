//! A partition, or a stream of NATS, as server-sent events of the Durable Streams protocol.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use sluicegate_stack::http::client::{Client, Request, Streamed};

use super::json_record;
use super::position::{Begin, Position, Told};
use super::source::{Source, stream};
use super::table::Record;
use super::wish::{STREAMS, Wish};

pub(crate) struct Streams {
    partition: i32,
    body: Streamed,
    unread: String,
    /// The records before the next event that says where the stream goes on.
    records: Vec<Record>,
    told: VecDeque<Told>,
}

impl Streams {
    pub(crate) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (path, partition) = resource(wish)?;
        let offset = position.last_event_id.as_deref().unwrap_or("-1");
        let request = Request::get(format!("{STREAMS}{path}?live=sse&offset={offset}"));
        let body = Client::connect(gateway).await.ok()?.stream(request).await.ok()?;
        if body.head.status != 200 {
            assert!([502, 503, 504].contains(&body.head.status), "{:?}", body.head);
            return None;
        }
        // A stream does not say where it begins.
        let begin = Begin { partition, offset: wish.source.first(), id: Vec::new() };
        let begins = position.next.is_empty().then(|| Told::Begins(vec![begin]));
        Some(Self {
            partition,
            body,
            unread: String::new(),
            records: Vec::new(),
            told: begins.into_iter().collect(),
        })
    }

    pub(crate) async fn told(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                self.take(&event);
            }
            if self.told.is_empty() {
                let part = self.body.next().await.ok()??;
                self.unread.push_str(std::str::from_utf8(&part).unwrap());
            }
        }
    }

    fn take(&mut self, event: &str) {
        let (kind, data) = event.split_once("\ndata:").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        match kind {
            "event: data" => self.records.extend(data.as_array().unwrap().iter().map(json_record)),
            "event: control" => {
                let id = data.get("streamNextOffset").and_then(Value::as_str).unwrap().to_owned();
                let next = id.rsplit_once('_').and_then(|(_, offset)| offset.parse().ok());
                let records = std::mem::take(&mut self.records);
                let told = Box::new(Told::Records { partition: self.partition, records, next });
                self.told.push_back(Told::Identified { id, told });
            }
            _ => panic!("{event}"),
        }
    }
}

/// The path of a stream that has what a client wants, and its partition.
pub(crate) fn resource(wish: &Wish) -> Option<(String, i32)> {
    let is_plain = !wish.is_table && wish.keys.is_empty() && wish.tenant.is_none() && !wish.is_late;
    match (&wish.source, &wish.partitions[..]) {
        _ if !is_plain => None,
        (Source::Topic(topic), [partition]) => Some((format!("/{topic}/{partition}"), *partition)),
        (Source::Streams(streams), [partition]) => {
            Some((format!("/{}", stream(streams, *partition)), *partition))
        }
        (Source::Topic(_) | Source::Streams(_), _) => None,
    }
}
