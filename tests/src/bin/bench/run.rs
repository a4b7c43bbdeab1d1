//! One measurement after the other, on one stack.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::process::Process;
use sluicegate_tests::stack::{Setup, Stack};
use tokio::process::Command;

use crate::report::{Cpu, Measured, Row, say};
use crate::{Failure, Plan, machine, report};

#[tokio::main]
pub(crate) async fn run(plan: &Plan) -> Result<(), Failure> {
    machine::describe().iter().for_each(|line| say(line));
    say(&format!("topic     {} records of {} B in one partition, uncompressed", plan.records, plan.size));
    let kafka = Kafka::start().await?;
    let topic = kafka.topic("bench", 1, &[]).await?;
    write(&kafka, &topic, plan).await?;
    let setup = Setup { concurrency: plan.concurrency, ..Setup::new(plan.profile, kafka.bootstrap()) };
    let mut stack = Stack::start(setup).await?;
    stack.ready_within(Duration::from_secs(30)).await?;

    let mut rows = Vec::new();
    for clients in &plan.clients {
        let each = u64::from(plan.records) * u64::from(*clients);
        let rounds = plan.messages.div_ceil(each.max(1));
        let common = [
            ("--topic", topic.clone()),
            ("--end", plan.records.to_string()),
            ("--clients", clients.to_string()),
            ("--rounds", rounds.to_string()),
        ];
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let gateway = [&stack.envoy.process, &stack.bridge.process];
        let processes: Vec<&Process> =
            gateway.into_iter().chain(kafka.nodes.iter().map(|node| &node.process)).collect();
        let walk = part("walk", ("--url", stack.url()), &common, &processes).await?;
        let consume = part("consume", ("--bootstrap", kafka.bootstrap()), &common, &processes).await?;
        rows.push(Row { clients: *clients, walk, consume });
    }
    report::table(&rows);
    Ok(())
}

async fn write(kafka: &Kafka, topic: &str, plan: &Plan) -> Result<(), Failure> {
    let record = |n: u32| Record::of(format!("{n:0>width$}", width = usize::from(plan.size)));
    let numbers: Vec<u32> = (0..plan.records).collect();
    for some in numbers.chunks(RECORDS_AT_ONCE) {
        let records: Vec<Record> = some.iter().copied().map(record).collect();
        kafka.produce(topic, 0, &records, Write::default()).await?;
    }
    Ok(())
}

/// Runs a part as a process of its own, and says what it and the others used meanwhile.
async fn part(
    name: &str,
    own: (&str, String),
    common: &[(&str, String)],
    processes: &[&Process],
) -> Result<(Measured, Cpu), Failure> {
    let used = || -> Result<Vec<Duration>, Failure> {
        processes.iter().map(|process| Ok(process.usage()?.cpu)).collect()
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).arg(own.0).arg(own.1).stdout(Stdio::piped()).kill_on_drop(true);
    common.iter().for_each(|(key, value)| {
        command.arg(key).arg(value);
    });
    let before = used()?;
    let output = command.spawn()?.wait_with_output().await?;
    let after = used()?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status).into());
    }
    let (measured, client) = Measured::parse(&output.stdout)?;
    let spent = |index: usize| match (after.get(index), before.get(index)) {
        (Some(after), Some(before)) => after.saturating_sub(*before).as_secs_f64(),
        _ => 0.0,
    };
    Ok((measured, Cpu { client, envoy: spent(0), bridge: spent(1), kafka: spent(2) }))
}

/// What the producer's queue takes.
const RECORDS_AT_ONCE: usize = 20_000;
