//! A part dies under clients that keep writing: acknowledged records are in the log. If the broker died, they are there
//! once and in order, as the bridge's producer retries; if a client resent them, at most twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_client::{Client, ProduceRecord};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::timeout;

use crate::breakable;
use crate::pool::Config;
use crate::writing::told::{Told, Writing, numbers};
use crate::writing::{becomes, error, grows, offset, record};

in_ways! {
    [tunnel relay]
    kills_of_bridge_and_envoy_lose_no_acknowledged_record
}

#[tokio::test]
async fn kills_of_the_broker_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("killed", 1, &[]).await.unwrap();
    let properties = "message.timeout.ms = 3000\nreconnect.backoff.max.ms = 500";
    let stack =
        Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]).properties(properties).own().await;
    let writing = Writing::start(stack.url(), topic);
    grows(&stack, "written_records_total", 2_000.0).await;
    kafka.freeze();
    writing.comes_about("an unknown outcome", |told| !told.unknown.is_empty()).await;
    kafka.kill();
    writing.comes_about("a refused record", |told| !told.refused.is_empty()).await;
    kafka.up().await.unwrap();
    for _ in 0..KILLS {
        grows(&stack, "written_records_total", 2_000.0).await;
        kafka.kill();
        kafka.up().await.unwrap();
    }
    grows(&stack, "written_records_total", 2_000.0).await;
    writing.end(Duration::from_secs(120), &kafka).await;
}

#[tokio::test]
async fn hanging_kafka_leaves_outcomes_unknown() {
    let mut kafka = breakable::kafka().await;
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 8000").own().await;
    let topic = &kafka.topic("stuck", 1, &[]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    offset(&socket.produce(vec![record(topic, "0")]).await.unwrap()[0]);
    kafka.freeze();
    let hung = socket.produce(vec![record(topic, "1")]).await.unwrap();
    let hung = error(&hung[0]);
    assert_eq!((hung.code, hung.retriable, hung.unknown_outcome), (7, true, true), "{hung:?}");
    kafka.thaw();
    kafka.kill();
    becomes(&stack, "write_queue_records", 0.0).await;
    let away = socket.produce(vec![record(topic, "2")]).await.unwrap();
    let away = error(&away[0]);
    assert_eq!((away.retriable, away.unknown_outcome), (true, false), "{away:?}");
    kafka.up().await.unwrap();
    let again = async {
        loop {
            let produced = socket.produce(vec![record(topic, "3")]).await.unwrap();
            match &produced[0].error {
                None => return,
                Some(error) => assert!(error.retriable && !error.unknown_outcome, "{error:?}"),
            }
        }
    };
    timeout(Duration::from_secs(60), again).await.expect("an acknowledgement within 60 s");
    let written = numbers(&kafka, topic, 0);
    assert!(written == [0, 3] || written == [0, 1, 3], "{written:?}");
}

async fn kills_of_bridge_and_envoy_lose_no_acknowledged_record(way: Way) {
    const CLIENTS: i32 = 3;
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("killed", CLIENTS, &[]).await.unwrap();
    let mut stack = Config::new(way).await.writing(&["default"]).own().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(insist(stack.url(), topic.clone(), client, Arc::clone(&stop))))
        .collect();
    for _ in 0..2 {
        grows(&stack, "written_records_total", 500.0).await;
        stack.bridge.process.kill();
        stack.bridge.up().await.unwrap();
        grows(&stack, "written_records_total", 500.0).await;
        stack.envoy_mut().process.kill();
        stack.envoy_mut().up().await.unwrap();
    }
    grows(&stack, "written_records_total", 500.0).await;
    stop.store(true, Ordering::Relaxed);
    for (partition, client) in (0..).zip(clients) {
        let (told, again) = timeout(Duration::from_secs(60), client).await.expect("an end").unwrap();
        let written = numbers(kafka, topic, partition);
        let mut count: BTreeMap<u64, usize> = BTreeMap::new();
        written.iter().for_each(|number| *count.entry(*number).or_default() += 1);
        for number in told.acknowledged.keys() {
            assert!(count.contains_key(number), "{number} was acknowledged and is not there");
        }
        for (number, count) in count {
            assert!(
                count == 1 || again.contains(&number),
                "{number} is there {count} times and was sent once"
            );
        }
    }
}

/// Writes numbers to a partition until it is to stop; what is not answered is sent again. Also gives what that was.
async fn insist(url: String, topic: String, partition: i32, stop: Arc<AtomicBool>) -> (Told, BTreeSet<u64>) {
    const RECORDS: u64 = 20;
    let (mut told, mut again, mut next) = (Told::default(), BTreeSet::new(), 0);
    let mut client = connect(&url).await;
    while !stop.load(Ordering::Relaxed) {
        let numbers = next..next + RECORDS;
        next += RECORDS;
        loop {
            let one = |n: u64| ProduceRecord { partition: Some(partition), ..record(&topic, n.to_string()) };
            match client.produce(numbers.clone().map(one).collect()).await {
                Ok(outcomes) => {
                    for (number, outcome) in numbers.clone().zip(outcomes) {
                        _ = told.acknowledged.insert(number, outcome.unwrap().offset.unwrap_or(-1));
                    }
                    break;
                }
                Err(_) => {
                    again.extend(numbers.clone());
                    client = connect(&url).await;
                }
            }
        }
    }
    (told, again)
}

/// A session, as soon as there is somebody to have it with.
async fn connect(url: &str) -> Client {
    loop {
        match Client::connect(url).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
