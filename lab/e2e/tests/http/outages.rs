//! The bridge dies under clients that keep writing and resend what was not acknowledged. Acknowledged records are in
//! the log, and only records resent after an unknown outcome are duplicated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_stack::http::client::{Client, Request, Response};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http::answers::unanswered;
use crate::http::console::consume;
use crate::http::stacks::{ANY, REST, WRITES, grows, with};

in_every_gateway! {
    kills_of_the_bridge_lose_no_acknowledged_record
}

/// Each writes to a partition of its own; those with an odd number, lists of records.
const CLIENTS: i32 = 4;
const LIST: u64 = 10;
/// Acknowledged between two kills, at least.
const MORE: f64 = 2_000.0;

async fn kills_of_the_bridge_lose_no_acknowledged_record(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("killed", CLIENTS, &[]).await.unwrap();
    let mut stack = with(way, kafka, WRITES, "", "").await;
    let clients = Clients::start(stack.gateway(), &topic);
    for _ in 0..3 {
        grows(&stack, "written_records_total", MORE).await;
        stack.bridge.process.kill();
        stack.bridge.up().await.unwrap();
    }
    grows(&stack, "written_records_total", MORE).await;
    clients.check(kafka, &topic).await;
}

/// The results that a client got, by number.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u64, i64>,
    /// Without an answer, or with the answer that the outcome is unknown.
    unknown: BTreeSet<u64>,
}

/// The result of one record.
enum WriteResult {
    Acknowledged(i64),
    Refused,
    Unknown,
}

struct Clients {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Told>>,
}

impl Clients {
    fn start(gateway: SocketAddr, topic: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |partition| tokio::spawn(write(gateway, topic.to_owned(), partition, Arc::clone(&stop)));
        let running = (0..CLIENTS).map(one).collect();
        Self { stop, running }
    }

    /// Stops them and compares the results that they got with the log.
    async fn check(self, kafka: &Kafka, topic: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.running {
            all.push(timeout(Duration::from_secs(60), client).await.expect("an end").unwrap());
        }
        let mut logs = vec![BTreeMap::new(); CLIENTS as usize];
        for ((partition, offset), record) in consume(kafka, topic, CLIENTS).await {
            let number: u64 = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
            logs[usize::try_from(partition).unwrap()].insert(offset, number);
        }
        for (told, log) in all.iter().zip(&logs) {
            let mut count: BTreeMap<u64, usize> = BTreeMap::new();
            log.values().for_each(|number| *count.entry(*number).or_default() += 1);
            assert!(told.acknowledged.len() > 100, "a client that hardly wrote proves nothing");
            for (number, offset) in &told.acknowledged {
                assert!(count.contains_key(number), "{number} was acknowledged and is not there");
                let there = *offset == -1 || log.get(offset) == Some(number);
                assert!(there, "{number} was acknowledged at {offset}, where {:?} is", log.get(offset));
            }
            for (number, count) in count {
                let again = told.unknown.contains(&number);
                assert!(count == 1 || again, "{number} is there {count} times, and was sent once");
            }
        }
    }
}

/// Writes numbers to a partition until told to stop.
async fn write(gateway: SocketAddr, topic: String, partition: i32, stop: Arc<AtomicBool>) -> Told {
    let (mut told, mut next) = (Told::default(), 0);
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let count = if partition % 2 == 1 { LIST } else { 1 };
        let mut numbers: Vec<u64> = (next..next + count).collect();
        next += count;
        while !numbers.is_empty() {
            let results = send(&mut client, gateway, &topic, partition, &numbers).await;
            let mut left = Vec::new();
            for (number, result) in numbers.into_iter().zip(results) {
                match result {
                    WriteResult::Acknowledged(offset) => _ = told.acknowledged.insert(number, offset),
                    WriteResult::Unknown => {
                        told.unknown.insert(number);
                        left.push(number);
                    }
                    WriteResult::Refused => left.push(number),
                }
            }
            numbers = left;
        }
    }
    told
}

/// Sends numbers in one request and gives their results.
async fn send(
    client: &mut Option<Client>,
    gateway: SocketAddr,
    topic: &str,
    partition: i32,
    numbers: &[u64],
) -> Vec<WriteResult> {
    let request = match numbers {
        [number] => Request::post(ANY, number.to_string())
            .with("x-kafka-topic", topic)
            .with("x-kafka-partition", partition.to_string()),
        numbers => {
            let records: Vec<String> = numbers.iter().map(|n| format!(r#"{{"value":{n}}}"#)).collect();
            let body = format!(r#"{{"records":[{}]}}"#, records.join(","));
            Request::post(format!("{REST}/topics/{topic}/partitions/{partition}"), body)
                .with("content-type", "application/vnd.kafka.json.v2+json")
        }
    };
    let connection = match client {
        Some(connection) => connection,
        None => loop {
            match Client::connect(gateway).await {
                Ok(connection) => break client.insert(connection),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        },
    };
    match connection.ask(request).await {
        Ok(response) => {
            if response.status != 200 {
                // As `retry-after` says, only sooner.
                sleep(Duration::from_millis(20)).await;
            }
            results(&response, numbers.len())
        }
        Err(_) => {
            *client = None;
            numbers.iter().map(|_| WriteResult::Unknown).collect()
        }
    }
}

/// The result of each record. A result is final unless the answer says that it is unknown.
fn results(response: &Response, count: usize) -> Vec<WriteResult> {
    if response.header("content-type") == Some("text/html") {
        let is_unknown = unanswered(Way::Apisix, response, response.status);
        return (0..count)
            .map(|_| if is_unknown { WriteResult::Unknown } else { WriteResult::Refused })
            .collect();
    }
    let json = response.json();
    match (response.status, json["offsets"].as_array()) {
        (200, None) => vec![WriteResult::Acknowledged(json["offset"].as_i64().unwrap())],
        (200, Some(all)) => {
            assert_eq!(all.len(), count, "{json}");
            let result = |one: &serde_json::Value| match (one["offset"].as_i64(), one["error"].as_str()) {
                (Some(offset), None) => WriteResult::Acknowledged(offset),
                (None, Some(_)) if one["unknown_outcome"] == true => WriteResult::Unknown,
                (None, Some(_)) => WriteResult::Refused,
                _ => panic!("{json}"),
            };
            all.iter().map(result).collect()
        }
        (429 | 502 | 503 | 504, _) if json["unknown_outcome"] == true => {
            (0..count).map(|_| WriteResult::Unknown).collect()
        }
        (429 | 503, _) => (0..count).map(|_| WriteResult::Refused).collect(),
        _ => panic!("{response:?}"),
    }
}
