//! A partition, or a stream of NATS, as server-sent events of the Durable Streams protocol.

use std::net::SocketAddr;

use serde_json::Value;
use sluicegate_stack::http::client::Request;

use super::position::{Begin, Position, Told};
use super::source::{Source, stream};
use super::table::Record;
use super::wish::{STREAMS, Wish};
use super::{EventSource, json_record};

pub(crate) struct Streams {
    partition: i32,
    source: EventSource,
    /// A stream does not say where it begins.
    begins: Option<Told>,
    /// The records before the next event that says where the stream goes on.
    records: Vec<Record>,
}

impl Streams {
    pub(crate) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (path, partition) = resource(wish)?;
        let offset = position.last_event_id.as_deref().unwrap_or("-1");
        let request = Request::get(format!("{STREAMS}{path}?live=sse&offset={offset}"));
        let source = EventSource::open(gateway, request).await?;
        let begin = Begin { partition, offset: wish.source.first(), id: Vec::new() };
        let begins = position.next.is_empty().then(|| Told::Begins(vec![begin]));
        Some(Self { partition, source, begins, records: Vec::new() })
    }

    pub(crate) async fn told(&mut self) -> Option<Told> {
        if let Some(begins) = self.begins.take() {
            return Some(begins);
        }
        loop {
            let event = self.source.next().await?;
            let (kind, data) = event.split_once("\ndata:").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            match kind {
                "event: data" => self.records.extend(data.as_array().unwrap().iter().map(json_record)),
                "event: control" => {
                    let id = data.get("streamNextOffset").and_then(Value::as_str).unwrap().to_owned();
                    let next = id.rsplit_once('_').and_then(|(_, offset)| offset.parse().ok());
                    let records = std::mem::take(&mut self.records);
                    let told = Box::new(Told::Records { partition: self.partition, records, next });
                    return Some(Told::Identified { id, told });
                }
                _ => panic!("{event}"),
            }
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
