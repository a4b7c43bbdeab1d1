//! A subscription over server-sent events.

use std::net::SocketAddr;

use serde_json::Value;
use sluicegate_stack::http::client::Request;

use super::position::{Begin, Position, Told};
use super::source::{Source, stream};
use super::wish::{RED, TENANT, Wish};
use super::{EventSource, json_record};

pub(crate) struct Events {
    /// None: that of each event.
    partition: Option<i32>,
    source: EventSource,
    /// A stream does not say where it begins.
    begins: Option<Told>,
    is_in_snapshot: bool,
}

impl Events {
    pub(crate) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let [_, rest] = wish.paths;
        let path = format!("{rest}{}/events?{}", resource(wish)?, query(wish));
        let request = Request::get(path).with("accept", "text/event-stream");
        let last = ("last-event-id", position.last_event_id.as_deref());
        let headers = [last, ("authorization", wish.authorization.as_deref())];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = headers.fold(request, |request, (name, value)| request.with(name, value));
        let source = EventSource::open(gateway, request).await?;
        let offset = wish.source.first();
        let begin = |partition| Begin { partition, offset, id: Vec::new() };
        let begins = wish.all_partitions().into_iter().map(begin).collect();
        let begins = (!wish.is_table && position.next.is_empty()).then_some(Told::Begins(begins));
        let partition = wish.partitions.first().copied();
        Some(Self { partition, source, begins, is_in_snapshot: false })
    }

    pub(crate) async fn told(&mut self) -> Option<Told> {
        if let Some(begins) = self.begins.take() {
            return Some(begins);
        }
        let event = self.source.next().await?;
        Some(self.placed(told(&event, self.partition)))
    }

    /// A record of a snapshot does not say where its partition continues.
    fn placed(&mut self, told: Told) -> Told {
        match told {
            Told::Snapshot(_) => self.is_in_snapshot = true,
            ref told if matches!(told.what(), Told::SnapshotEnd) => self.is_in_snapshot = false,
            Told::Records { partition, records, .. } if self.is_in_snapshot => {
                return Told::Records { partition, records, next: None };
            }
            _ => {}
        }
        told
    }
}

/// The path of what a stream of events can be about.
pub(crate) fn resource(wish: &Wish) -> Option<String> {
    if !wish.is_table && !wish.keys.is_empty() {
        return None;
    }
    match (&wish.source, &wish.partitions[..]) {
        (Source::Topic(topic), []) => Some(format!("/topics/{topic}")),
        (Source::Topic(topic), [partition]) => Some(format!("/topics/{topic}/partitions/{partition}")),
        (Source::Streams(streams), [partition]) => Some(format!("/streams/{}", stream(streams, *partition))),
        (Source::Topic(_) | Source::Streams(_), _) => None,
    }
}

fn query(wish: &Wish) -> String {
    if !wish.is_table {
        return format!("from={}&format=text", wish.from());
    }
    let mut query = "snapshot=latest_per_key&format=text".to_owned();
    let key = match &wish.source {
        Source::Topic(_) => "key",
        Source::Streams(_) => "subject",
    };
    for wanted in &wish.keys {
        query.push_str(&format!("&{key}={}", std::str::from_utf8(wanted).unwrap()));
    }
    if wish.has_header() {
        query.push_str(&format!("&header={TENANT}%3D{RED}"));
    }
    query
}

fn told(event: &str, partition: Option<i32>) -> Told {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data: Value = serde_json::from_str(&field("data: ").unwrap()).unwrap();
    let number = |names: [&str; 2]| names.iter().find_map(|name| data.get(name)?.as_i64()).unwrap();
    let partition = || partition.unwrap_or_else(|| i32::try_from(number(["partition"; 2])).unwrap());
    let told = match field("event: ").as_deref() {
        None => {
            let record = json_record(&data);
            let next = Some(record.offset.saturating_add(1));
            Told::Records { partition: partition(), records: vec![record], next }
        }
        Some("caught-up") => {
            let next = Some(number(["next_offset", "next_sequence"]));
            Told::Records { partition: partition(), records: Vec::new(), next }
        }
        Some("snapshot") => Told::Snapshot(Vec::new()),
        Some("snapshot-end") => Told::SnapshotEnd,
        Some("log-start") => Told::LogStart { partition: partition(), offset: number(["offset"; 2]) },
        Some("skipped") => {
            let (from, to) = (number(["from"; 2]), number(["to"; 2]));
            Told::Skipped { partition: partition(), from, to }
        }
        Some("position" | "retrying" | "building") => Told::Other,
        // The stream ends behind it, and can be opened again.
        Some("error") if data.get("retriable") == Some(&Value::Bool(true)) => Told::Other,
        Some("error") if data.get("detail").is_some_and(|detail| detail == "identity expired") => Told::Other,
        Some(_) => panic!("{event}"),
    };
    match field("id: ") {
        Some(id) => Told::Identified { id, told: Box::new(told) },
        None => told,
    }
}
