//! Restarts two bridges behind one Envoy, one after the other as an upgrade does, under subscribers and producers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_client::ProduceRecord;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::bridge::Bridge;
use sluicegate_stack::envoy::{instead, routes};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::chaos::drain;
use super::once::{connect, each_is_there_once};
use super::subscriber::{Report, Subscriber};
use super::{bounds, oracles};
use crate::clients::source::Source;

/// Number of clients in a rolling restart.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub subscribers: usize,
    /// Sessions that write again and again, each to a partition of its own.
    pub producers: i32,
}

/// Effects of a rolling restart on clients.
#[derive(Debug)]
pub struct Rolled {
    /// Records that were acknowledged, all of them in the log once.
    pub acknowledged: usize,
    /// Records that subscribers have received, none missing or repeated.
    pub delivered: usize,
    /// For each bridge: how many sessions ended of clients that read all the time, and how long after SIGTERM at most.
    pub ends: [(usize, Duration); 2],
    /// The longest time from the end of a session to the next one.
    pub away: Duration,
}

/// Restarts both bridges. Panics if a record is lost or repeated.
pub async fn roll(Load { subscribers, producers }: Load) -> Rolled {
    let kafka = Kafka::shared().await.unwrap();
    let topic: Arc<str> = kafka.topic("rolled", producers, &[]).await.unwrap().into();
    let mut stack = Stack::start(setup(kafka.bootstrap())).await.unwrap();
    stack.ready_within(Duration::from_secs(60)).await.unwrap();

    let mut random = Random::new(1);
    let (tell_ends, ends) = watch::channel(None);
    let mut running = JoinSet::new();
    for number in 0..subscribers {
        let random = Random::new(random.next());
        let subscriber =
            Subscriber::new(number, stack.gateway(), Source::Topic(Arc::clone(&topic)), producers, random);
        running.spawn(subscriber.run(ends.clone()));
    }
    let (stop, stopped) = watch::channel(false);
    let mut writing = JoinSet::new();
    for partition in 0..producers {
        writing.spawn(produce(stack.url(), Arc::clone(&topic), partition, stopped.clone()));
    }
    // Nearly all clients are there, and spread over both bridges.
    sleep(STEADY).await;
    let first_restart = restart(&mut stack.bridge).await;
    sleep(STEADY).await;
    let second_restart = restart(stack.others.first_mut().unwrap()).await;
    sleep(STEADY).await;
    let stopping = Instant::now();

    stop.send_replace(true);
    let acknowledged: BTreeMap<i32, u64> = writing.join_all().await.into_iter().collect();
    let logs: BTreeMap<i32, Vec<KafkaMessage>> =
        (0..producers).map(|partition| (partition, kafka.read(&topic, partition))).collect();
    assert!(logs.values().all(|log| !log.is_empty()), "a partition lost its records");
    each_is_there_once(&acknowledged, |_, number| number.to_string(), 0, &logs);
    tell_ends.send_replace(Some(bounds(&logs)));
    let mut reports: Vec<Report> = Vec::new();
    while let Some(report) = timeout(LAST, running.join_next()).await.expect("subscribers reach the ends") {
        let report = report.unwrap();
        oracles::each_came_once(&report, &logs);
        reports.push(report);
    }
    let losses =
        || reports.iter().flat_map(|report| report.lost.iter().map(move |lost| (report.kind, *lost)));
    let restarts = [(first_restart, second_restart), (second_restart, stopping)];
    let ends_of = |(begun, end)| {
        let ends = losses().filter(|(kind, (lost, _))| kind.stays() && (begun..end).contains(lost));
        let ends: Vec<Duration> = ends.map(|(_, (lost, _))| lost - begun).collect();
        (ends.len(), ends.into_iter().max().unwrap_or_default())
    };
    Rolled {
        acknowledged: acknowledged.values().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).sum(),
        delivered: reports.iter().map(Report::count).sum(),
        ends: restarts.map(ends_of),
        away: losses().filter_map(|(_, (lost, back))| Some(back? - lost)).max().unwrap_or_default(),
    }
}

fn setup(bootstrap: String) -> Setup {
    let settings = "[write]\nclusters = [\"default\"]\n".to_owned();
    let bridge = BridgeConfig::Cluster { bootstrap, settings };
    let pubsub = r#"{"path": "/pubsub", "write": true}"#;
    let rest = r#"{"path": "/kafka", "type": "rest"}"#;
    let streams = r#"{"path": "/streams", "type": "streams", "elements": "envelope"}"#;
    let envoy_edits = vec![instead("", &[pubsub, rest, streams]), routes(&["/kafka", "/streams"])];
    Setup { bridge, bridges: 2, envoy_edits, ..Setup::new(Way::Tunnel, "") }
}

/// Drains a bridge, and starts it again when it has ended. Gives the time of SIGTERM.
async fn restart(bridge: &mut Bridge) -> Instant {
    let begun = Instant::now();
    drain(bridge).await.unwrap();
    begun
}

/// Writes numbers until it is to stop, and sends again what was not acknowledged. Gives the partition, and how many
/// there are.
async fn produce(url: String, topic: Arc<str>, partition: i32, stopped: watch::Receiver<bool>) -> (i32, u64) {
    let (mut client, mut next) = (connect(&url).await, 0);
    while !*stopped.borrow() {
        sleep(PAUSE).await;
        let record = |number: u64| ProduceRecord {
            topic: topic.to_string(),
            partition: Some(partition),
            value: Some(number.to_string().into()),
            ..ProduceRecord::default()
        };
        match client.produce((next..next + BATCH).map(record).collect()).await {
            Ok(outcomes) => {
                assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                next += BATCH;
            }
            Err(_) => client = connect(&url).await,
        }
    }
    (partition, next)
}

const BATCH: u64 = 10;
/// Between two writes of a session.
const PAUSE: Duration = Duration::from_millis(80);
/// Before, between and after the restarts.
const STEADY: Duration = Duration::from_secs(3);
/// Time that the subscribers have to reach the ends of the logs.
const LAST: Duration = Duration::from_secs(90);
