//! A part dies under clients that keep writing. Acknowledged records are in the log, refused ones are not, and only records
//! resent after an unknown outcome are duplicated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_tests::http::client::{Client, Request, Response};
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;
use sluicegate_tests::{in_both_profiles, through_apisix};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::answers::unanswered;
use crate::console::consume;
use crate::stacks::{ANY, REST, WRITES, grows, with};

in_both_profiles! {
    kills_of_the_bridge_lose_no_acknowledged_record
    kills_of_envoy_lose_no_acknowledged_record
}
through_apisix! {
    kills_of_the_bridge_lose_no_acknowledged_record
}

/// Each writes to a partition of its own; those with an odd number, lists of records.
const CLIENTS: i32 = 4;
const LIST: u64 = 10;
/// Acknowledged between two kills, at least.
const MORE: f64 = 2_000.0;

#[tokio::test]
async fn kills_of_the_broker_lose_no_acknowledged_record() {
    let way = Way::Tunnel;
    let mut kafka = Kafka::start().await.unwrap();
    let topic = kafka.topic("killed", CLIENTS, &[]).await.unwrap();
    let properties = "message.timeout.ms = 20000\nreconnect.backoff.max.ms = 500\n";
    let stack = with(way, &kafka, WRITES, properties, "").await;
    let clients = Clients::start(stack.gateway(), &topic, false);
    for _ in 0..2 {
        grows(&stack, "written_records_total", MORE).await;
        kafka.kill();
        kafka.up().await.unwrap();
    }
    grows(&stack, "written_records_total", MORE).await;
    clients.check(way, "broker", &kafka, &topic).await;
}

async fn kills_of_the_bridge_lose_no_acknowledged_record(way: Way) {
    outlasts(way, "bridge", async |stack| {
        stack.bridge.process.kill();
        stack.bridge.up().await.unwrap();
    })
    .await;
}

async fn kills_of_envoy_lose_no_acknowledged_record(way: Way) {
    outlasts(way, "Envoy", async |stack| {
        stack.envoy_mut().process.kill();
        stack.envoy_mut().up().await.unwrap();
    })
    .await;
}

/// Three times, clients write on while `part` is killed and started again.
async fn outlasts(way: Way, part: &str, mut restart: impl AsyncFnMut(&mut Stack)) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("killed", CLIENTS, &[]).await.unwrap();
    let mut stack = with(way, kafka, WRITES, "", "").await;
    let clients = Clients::start(stack.gateway(), &topic, true);
    for _ in 0..3 {
        grows(&stack, "written_records_total", MORE).await;
        restart(&mut stack).await;
    }
    grows(&stack, "written_records_total", MORE).await;
    clients.check(way, part, kafka, &topic).await;
}

/// What a client was told of its records, by number.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u64, i64>,
    /// Known not to be written.
    refused: BTreeSet<u64>,
    /// Not told, or told that it is not known.
    unknown: BTreeSet<u64>,
}

/// What became of one record of a request.
enum WriteResult {
    Acknowledged(i64),
    Refused,
    Unknown,
}

struct Clients {
    insist: bool,
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Told>>,
}

impl Clients {
    /// Starts them; where they `insist`, they send again what was not acknowledged.
    fn start(gateway: SocketAddr, topic: &str, insist: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one =
            |partition| tokio::spawn(write(gateway, topic.to_owned(), partition, insist, Arc::clone(&stop)));
        let running = (0..CLIENTS).map(one).collect();
        Self { insist, stop, running }
    }

    /// Stops them and looks for what they were told in the log.
    async fn check(self, way: Way, killed: &str, kafka: &Kafka, topic: &str) {
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
        for (partition, (told, log)) in all.iter().zip(&logs).enumerate() {
            let mut count: BTreeMap<u64, usize> = BTreeMap::new();
            log.values().for_each(|number| *count.entry(*number).or_default() += 1);
            report(way, killed, partition, told, &count);
            assert!(told.acknowledged.len() > 100, "a client that hardly wrote proves nothing");
            for (number, offset) in &told.acknowledged {
                assert!(count.contains_key(number), "{number} was acknowledged and is not there");
                let there = *offset == -1 || log.get(offset) == Some(number);
                assert!(there, "{number} was acknowledged at {offset}, where {:?} is", log.get(offset));
            }
            // Where it was sent again, it would be there twice.
            let refused = told.refused.iter().filter(|_| !self.insist);
            for number in refused {
                assert!(!count.contains_key(number), "{number} was refused and is there");
            }
            for (number, count) in count {
                let again = self.insist && told.unknown.contains(&number);
                assert!(count == 1 || again, "{number} is there {count} times, and was sent once");
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "counts for whoever asks for the test's output")]
fn report(way: Way, killed: &str, partition: usize, told: &Told, count: &BTreeMap<u64, usize>) {
    let (acknowledged, refused, unknown) = (told.acknowledged.len(), told.refused.len(), told.unknown.len());
    let (written, twice) =
        (count.values().sum::<usize>(), count.values().filter(|count| **count > 1).count());
    let kind = if partition % 2 == 1 { "lists" } else { "single records" };
    eprintln!(
        "{} without its {killed}, {kind}: acknowledged {acknowledged}, refused {refused}, unknown {unknown}; in Kafka {written}, more than once {twice}",
        way.name()
    );
}

/// Writes numbers to a partition until it is to stop.
async fn write(
    gateway: SocketAddr,
    topic: String,
    partition: i32,
    insist: bool,
    stop: Arc<AtomicBool>,
) -> Told {
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
                    WriteResult::Refused => {
                        told.refused.insert(number);
                        left.push(number);
                    }
                }
            }
            numbers = if insist { left } else { Vec::new() };
        }
    }
    told
}

/// What became of numbers, in a request by themselves.
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
