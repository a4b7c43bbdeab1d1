//! Measures questions for the end of a partition.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_tests::kafka::{Kafka, Record, Setup as KafkaSetup, Write};
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::{Setup, Stack};
use tokio::time::Instant;

use crate::report::{percentiles, say};
use crate::run::QUICK_JAVA;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan) -> Result<(), Failure> {
    say(&format!(
        "offsets   {SOCKETS} sockets ask for the end of one partition, one question at a time each"
    ));
    let java = vec![QUICK_JAVA.to_owned()];
    let kafka = Kafka::start_with(KafkaSetup { java, ..KafkaSetup::default() }).await?;
    let topic = kafka.topic("offsets", 1, &[]).await?;
    kafka.produce(&topic, 0, &[Record::of("one")], Write::default()).await?;
    let concurrency = plan.concurrency;
    let mut stack =
        Stack::start(Setup { concurrency, ..Setup::new(plan.profile, kafka.bootstrap()) }).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    let sockets = join_all((0..SOCKETS).map(|_| Socket::open(&stack))).await;
    let broker = &kafka.nodes.first().ok_or("no broker")?.process;
    let processes = [&stack.envoy().process, &stack.bridge.process, broker];
    let used = || -> Result<Vec<Duration>, Failure> {
        processes.iter().map(|process| Ok(process.usage()?.cpu)).collect()
    };
    let before = used()?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(plan.seconds.into());
    let ask = |mut socket: Socket| {
        let topic = topic.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                let asked = Instant::now();
                assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(1));
                took.push(asked.elapsed());
            }
            took
        })
    };
    let mut took = Vec::new();
    for task in join_all(sockets.into_iter().map(ask)).await {
        took.extend(task?);
    }
    let (seconds, after) = (begun.elapsed().as_secs_f64(), used()?);
    let (p50, p99) = percentiles(&took);
    let answers = took.len() as f64;
    let (k, ms) = (answers / seconds / 1000.0, 1000.0);
    say(&format!("{k:.1} k answers/s, p50 {:.2} ms, p99 {:.2} ms", p50 * ms, p99 * ms));
    let cpu: Vec<String> = ["Envoy", "bridge", "Kafka"]
        .iter()
        .zip(after.iter().zip(&before))
        .map(|(name, (after, before))| {
            format!("{name} {:.1}", after.saturating_sub(*before).as_secs_f64() * 1e6 / answers)
        })
        .collect();
    say(&format!("CPU of an answer in us: {}", cpu.join(", ")));
    Ok(())
}

const SOCKETS: usize = 64;
