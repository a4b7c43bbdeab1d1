//! Server-sent events through each gateway and a real Kafka. The bridge's `http::rest::events` tests queries, ids and
//! each event in detail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluicegate_stack::http::client::{Request, Streamed};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::time::timeout;

use crate::http::answers::list;
use crate::http::openapi::{ask, stream};
use crate::http::stacks::{ORIGINS, REST, shared};

in_every_gateway! {
    records_are_streamed_as_they_are_written
    streams_resume_exactly_after_any_event
}

/// A stream of events.
pub(crate) struct Events {
    body: Streamed,
    unread: String,
    /// The records, by partition, or all under 0.
    records: BTreeMap<i64, Vec<Value>>,
    /// The `id` of each record.
    ids: Vec<String>,
}

impl Events {
    async fn open(stack: &Stack, path: &str, last: Option<&str>) -> Self {
        Self::open_at(stack, &format!("{REST}{path}"), last).await
    }

    /// With the whole path.
    pub(crate) async fn open_at(stack: &Stack, path: &str, last: Option<&str>) -> Self {
        let request = Request::get(path).with("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.with("last-event-id", last));
        let body = stream(stack.gateway(), request).await;
        assert_eq!(body.head.status, 200, "{:?}", body.head);
        assert_eq!(body.head.header("content-type"), Some("text/event-stream"));
        assert_eq!(body.head.header("cache-control"), Some("no-store, no-transform"));
        Self { body, unread: String::new(), records: BTreeMap::new(), ids: Vec::new() }
    }

    /// The next block of lines.
    pub(crate) async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return block;
            }
            let part = timeout(WITHIN, self.body.next()).await.expect("more events in time");
            let part = part.unwrap().expect("more events");
            self.unread.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    /// Reads until there are so many records.
    pub(crate) async fn collect(&mut self, count: usize) {
        while self.ids.len() < count {
            let block = self.block().await;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(data), None) = (field("data: "), field("event: ")) {
                let record: Value = serde_json::from_str(data).unwrap();
                let partition = record["partition"].as_i64().unwrap_or_default();
                self.records.entry(partition).or_default().push(record);
                self.ids.push(field("id: ").unwrap().to_owned());
            }
        }
    }

    /// Reads until there is an event of this name, and returns its data.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        loop {
            let block = self.block().await;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if field("event: ") == Some(name) {
                return serde_json::from_str(field("data: ").unwrap()).unwrap();
            }
        }
    }

    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The records of all partitions.
    pub(crate) fn all(&self) -> Vec<&Value> {
        self.records.values().flatten().collect()
    }

    fn values(&self, partition: i64) -> Vec<&str> {
        self.records
            .get(&partition)
            .into_iter()
            .flatten()
            .map(|record| record["value"].as_str().unwrap())
            .collect()
    }
}

async fn write(kafka: &Kafka, topic: &str, partition: i32, values: &[String]) {
    let records: Vec<Record> = values.iter().map(|value| Record::of(format!("{value:?}"))).collect();
    kafka.produce(topic, partition, &records, Write::default()).await.unwrap();
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number}")).collect()
}

async fn records_are_streamed_as_they_are_written(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("events", 2, &[]).await.unwrap();
    let old = numbered("old", 500);
    write(kafka, topic, 1, &old).await;
    let mut all = Events::open(&stack, &format!("/topics/{topic}/events?from=earliest"), None).await;
    let mut one = Events::open(&stack, &format!("/topics/{topic}/partitions/0/events"), None).await;
    assert!(one.block().await.starts_with("retry: "), "begins at the end before the next record is written");
    all.collect(500).await;
    assert_eq!(all.values(1), old);
    for number in 0..5 {
        let new = numbered(&format!("new {number}"), 1);
        let written = Instant::now();
        write(kafka, topic, 0, &new).await;
        all.collect(501 + number).await;
        one.collect(1 + number).await;
        // A gateway that buffers would wait for the comment.
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        assert_eq!((all.values(0)[number], one.values(0)[number]), (&*new[0], &*new[0]));
    }
}

async fn streams_resume_exactly_after_any_event(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("resumed", 3, &[]).await.unwrap();
    let values = numbered("v", 10);
    for partition in 0..3 {
        write(kafka, topic, partition, &values).await;
    }
    let path = &format!("/topics/{topic}/events?from=earliest");
    for cut in 1..30 {
        let mut first = Events::open(&stack, path, None).await;
        first.collect(cut).await;
        let mut second = Events::open(&stack, path, Some(&first.ids[cut - 1])).await;
        second.collect(30 - cut).await;
        for partition in 0..3 {
            let both = [first.values(partition), second.values(partition)].concat();
            assert_eq!(both, values, "partition {partition} after {cut}");
        }
    }
}

/// Longer than the gateway allows silence.
#[tokio::test]
async fn silent_stream_stays_open() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("silent", 1, &[]).await.unwrap();
    let mut events = Events::open(&stack, &format!("/topics/{topic}/events"), None).await;
    let mut comments = 0;
    // Envoy's route has 40 s.
    while comments < 3 {
        comments += usize::from(events.block().await == ":");
    }
    write(kafka, topic, 0, &numbered("late", 1)).await;
    events.collect(1).await;
}

#[tokio::test]
async fn slow_client_loses_nothing() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("slow-events", 1, &[]).await.unwrap();
    let path = &format!("/topics/{topic}/events?from=earliest");
    let mut slow = Events::open(&stack, path, None).await;
    let mut reader = Events::open(&stack, path, None).await;
    let value = "v".repeat(1000);
    // More than all buffers between bridge and client have room for.
    for round in 0..20 {
        write(kafka, topic, 0, &numbered(&format!("{value} {round}"), 1000)).await;
    }
    reader.collect(20_000).await;
    slow.collect(20_000).await;
    assert_eq!(slow.records, reader.records);
}

#[tokio::test]
async fn filters_choose_by_key_and_header() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("filtered-events", 1, &[]).await.unwrap();
    let record = |key: &str, header: &str| Record {
        key: Some(key.into()),
        headers: vec![("type".to_owned(), Some(header.into()))],
        ..Record::of(format!("\"{key} {header}\""))
    };
    let records: Vec<Record> =
        ["a,b", "a b", "c"].iter().flat_map(|key| ["new", "old"].map(|header| record(key, header))).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    for (query, want) in [
        ("key=a%2Cb&key=c", &["a,b new", "a,b old", "c new", "c old"][..]),
        ("key_prefix=a&header=type=old", &["a,b old", "a b old"]),
        ("header=type=new&key=c&key_prefix=a%20", &["a b new", "c new"]),
    ] {
        let path = &format!("/topics/{topic}/events?from=earliest&{query}");
        let mut events = Events::open(&stack, path, None).await;
        events.collect(want.len()).await;
        assert_eq!(events.values(0), want, "{query}");
    }
}

#[tokio::test]
async fn head_and_preflight_begin_no_stream() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("heads", 1, &[]).await.unwrap();
    let path = &format!("/topics/{topic}/events");
    let head = ask(stack.gateway(), Request::new("HEAD", format!("{REST}{path}"))).await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("content-length"), None);
    // EventSource needs no preflight for Last-Event-ID; pages that use `fetch` do.
    let preflight = Request::new("OPTIONS", format!("/web{path}"))
        .with("origin", ORIGINS[0])
        .with("access-control-request-method", "GET")
        .with("access-control-request-headers", "last-event-id");
    let response = ask(stack.gateway(), preflight).await;
    assert_eq!(
        (response.status, list(&response, "access-control-allow-headers")),
        (204, vec!["last-event-id"])
    );
    let get = Request::get(format!("/web{path}")).with("origin", ORIGINS[0]);
    let events = stream(stack.gateway(), get).await;
    assert_eq!(events.head.header("access-control-allow-origin"), Some(ORIGINS[0]));
}

/// Longer than the pause between two comments.
const WITHIN: Duration = Duration::from_secs(60);
