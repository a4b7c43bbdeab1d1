//! Server-sent events through each gateway and a real Kafka. The bridge's `http::rest::events` tests queries, ids and
//! each event in detail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluicegate_stack::http::client::{Request, Streamed};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::timeout;

use crate::http::openapi::{ask, stream};
use crate::pool::{REST, standard};
use crate::schema;

in_ways! {
    [tunnel relay apisix]
    records_are_streamed_as_they_are_written
}

/// A stream of events.
pub(crate) struct Events {
    body: Streamed,
    unread: String,
    /// The records, by partition, or all under 0.
    records: BTreeMap<i64, Vec<Value>>,
    count: usize,
}

impl Events {
    pub(crate) async fn open(stack: &Stack, path: &str) -> Self {
        let request = Request::get(path).with("accept", "text/event-stream");
        let body = stream(stack.gateway(), request).await;
        assert_eq!(body.head.status, 200, "{:?}", body.head);
        assert_eq!(body.head.header("content-type"), Some("text/event-stream"));
        assert_eq!(body.head.header("cache-control"), Some("no-store, no-transform"));
        Self { body, unread: String::new(), records: BTreeMap::new(), count: 0 }
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
        while self.count < count {
            let block = self.block().await;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let data = field("data: ").unwrap_or_else(|| panic!("a block without data: {block:?}"));
            if field("event: ").is_none() {
                let record: Value = serde_json::from_str(data).unwrap();
                let partition = record["partition"].as_i64().unwrap_or_default();
                self.records.entry(partition).or_default().push(record);
                assert!(field("id: ").is_some(), "{block}");
                self.count += 1;
            }
        }
    }

    /// The records of all partitions.
    pub(crate) fn all(&self) -> Vec<&Value> {
        self.records.values().flatten().collect()
    }

    pub(crate) fn values(&self, partition: i64) -> Vec<&str> {
        let records = self.records.get(&partition).into_iter().flatten();
        records.map(|record| record["value"].as_str().unwrap()).collect()
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
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("events", 2, &[]).await.unwrap();
    let old = numbered("old", 500);
    write(kafka, topic, 1, &old).await;
    let path = format!("{REST}/topics/{topic}");
    // Clients may ask first what they would get.
    let head = ask(stack.gateway(), Request::new("HEAD", format!("{path}/events"))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let mut all = Events::open(&stack, &format!("{path}/events?from=earliest")).await;
    let mut one = Events::open(&stack, &format!("{path}/partitions/0/events")).await;
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

/// The bridge sends a comment every 15 s.
#[test]
fn envoy_allows_more_silence_than_a_stream_has() {
    for text in [include_str!("../../../../envoy/tunnel.yaml"), include_str!("../../../../envoy/relay.yaml")]
    {
        let listener = &schema::parse(text)["static_resources"]["listeners"][0];
        let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().unwrap();
        let targets = routes.iter().map(|route| &route["route"]);
        for route in targets.filter(|route| route["cluster"] != "sluicegate_admin") {
            assert_eq!(route["timeout"], "0s", "{route}");
            let silence = route.get("idle_timeout").unwrap_or(&manager["stream_idle_timeout"]);
            let seconds: u32 = silence.as_str().unwrap().trim_end_matches('s').parse().unwrap();
            assert!(seconds >= 30, "{route}");
        }
    }
}

const WITHIN: Duration = Duration::from_secs(60);
