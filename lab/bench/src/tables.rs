//! Measures tables: the first client, further clients, changes to many clients, and memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::stream;
use sluicegate_client::{Client, Source, Subscribe, Update};
use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Record, Setup as KafkaSetup, Write};
use sluicegate_stack::process::{Process, allow_many_files};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::figures::{Better, Figures};
use crate::report::tables::{Changes, Snapshots, table};
use crate::report::{Cpu, Measured, percentiles, say};
use crate::run::{QUICK_JAVA, part};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("tables    {KEYS} keys of {} B; {SOCKETS} sockets with a table of {SMALL} keys", plan.size));
    allow_many_files()?;
    let java = vec![QUICK_JAVA.to_owned()];
    let kafka = Kafka::start_with(KafkaSetup { java, ..KafkaSetup::default() }).await?;
    let topic = write(&kafka, "keys", KEYS, plan.size).await?;
    let mut snapshots = Vec::new();
    for _ in 0..ROUNDS {
        snapshots.push(snapshot(plan, &kafka, &topic).await?);
    }
    let small = write(&kafka, "changes", SMALL, plan.size).await?;
    let mut changes = Vec::new();
    for _ in 0..ROUNDS {
        let plain = latency(plan, &kafka, &small, false).await?;
        changes.push(Changes { plain, table: latency(plan, &kafka, &small, true).await? });
    }
    table(&snapshots, &changes);
    for Snapshots { consumer, first, further, bytes_per_key } in snapshots {
        figures.add_ratio("table, first client to librdkafka", first.0, consumer.0);
        figures.add_part("table, further clients", further);
        figures.add("table: memory of a key", "B", Better::Less, [bytes_per_key]);
    }
    for Changes { plain, table } in changes {
        figures.add_part("changes of a log", plain);
        figures.add_part("changes of a table", table);
    }
    Ok(())
}

/// Measures on a stack of its own, which has no table yet. Beside it, a consumer reads the same log.
async fn snapshot(plan: &Plan, kafka: &Kafka, topic: &str) -> Result<Snapshots, Failure> {
    let stack = start(plan, kafka, "cache_bytes = 0").await?;
    let parts = [&stack.envoy().process, &stack.bridge.process];
    let processes: Vec<&Process> =
        parts.into_iter().chain(kafka.nodes.iter().map(|node| &node.process)).collect();
    let of = |clients: u32| {
        [
            ("--topic", topic.to_owned()),
            ("--end", KEYS.to_string()),
            ("--clients", clients.to_string()),
            ("--rounds", "1".to_owned()),
        ]
    };
    let broker = [("--bootstrap", kafka.bootstrap())];
    let consumer = part("consume", &[&broker[..], &of(1)].concat(), &processes).await?;
    let url = [("--url", stack.url())];
    let resident = || -> Result<u64, Failure> { Ok(stack.bridge.process.usage()?.resident_bytes) };
    let before = resident()?;
    let first = part("hold", &[&url[..], &of(1)].concat(), &processes).await?;
    let bytes = resident()?.saturating_sub(before);
    let read = received(&stack).await?;
    let further = part("hold", &[&url[..], &of(FURTHER)].concat(), &processes).await?;
    if received(&stack).await? > read {
        return Err("Kafka was read for further clients".into());
    }
    Ok(Snapshots { consumer, first, further, bytes_per_key: bytes as f64 / KEYS as f64 })
}

/// Bytes of records that Kafka has sent.
async fn received(stack: &Stack) -> Result<f64, Failure> {
    Ok(stack.bridge.count("sluicegate_read_bytes_total", "").await?)
}

/// The time from a change to its arrival at each of many sockets, and the CPU of Envoy and bridge for it.
async fn latency(
    plan: &Plan,
    kafka: &Kafka,
    topic: &str,
    is_table: bool,
) -> Result<(Measured, Cpu), Failure> {
    let stack = start(plan, kafka, "").await?;
    let mut sockets = JoinSet::new();
    let open = async |_| -> Result<Client, Failure> { Ok(Client::connect(stack.url()).await?) };
    let clients: Vec<_> = stream::iter(0..SOCKETS).map(open).buffer_unordered(50).collect().await;
    let (begun, begun_at) = (Instant::now(), micros());
    for client in clients {
        let client = client?;
        let subscribe = Subscribe::new([Source::new(topic)]);
        let subscribe = if is_table { subscribe.latest_per_key() } else { subscribe };
        let mut updates = client.subscribe(subscribe);
        sockets.spawn(async move {
            let mut took = Vec::new();
            while let Some(Ok(update)) = updates.next().await {
                let Update::Delivery(delivery) = update else { continue };
                let now = micros();
                for message in delivery.messages {
                    let value = message.value.unwrap_or_default();
                    let written = value.split(|byte| *byte == b' ').next();
                    let written =
                        written.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
                    // Records of the snapshot say no time, or an earlier one.
                    let written = written.filter(|written| *written >= begun_at);
                    took.extend(written.map(|written| Duration::from_micros(now.saturating_sub(written))));
                    if took.len() == CHANGES {
                        return took;
                    }
                }
            }
            took
        });
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cpu = || -> Result<[Duration; 2], Failure> {
        Ok([stack.envoy().process.usage()?.cpu, stack.bridge.process.usage()?.cpu])
    };
    let before = cpu()?;
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    for number in 0..CHANGES {
        ticks.tick().await;
        let value = format!("{} {:0>width$}", micros(), "", width = usize::from(plan.size));
        let record = Record { key: Some(key(number % SMALL)), ..Record::of(value) };
        kafka.produce(topic, 0, &[record], Write::default()).await?;
    }
    let mut took = Vec::new();
    while let Some(socket) = sockets.join_next().await {
        took.extend(socket?);
    }
    if took.len() != CHANGES * SOCKETS {
        return Err(format!("{} of {} changes arrived", took.len(), CHANGES * SOCKETS).into());
    }
    let after = cpu()?;
    let [envoy, bridge] = [0, 1].map(|at: usize| match (after.get(at), before.get(at)) {
        (Some(after), Some(before)) => after.saturating_sub(*before).as_secs_f64(),
        _ => 0.0,
    });
    let messages = took.len() as u64;
    let seconds = begun.elapsed().as_secs_f64();
    let latency = Some(percentiles(&took));
    Ok((Measured { messages, bytes: 0, seconds, latency }, Cpu { client: 0.0, envoy, bridge, system: 0.0 }))
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

async fn write(kafka: &Kafka, name: &str, keys: usize, size: u16) -> Result<String, Failure> {
    let topic = kafka.topic(name, 1, &[]).await?;
    let numbers: Vec<usize> = (0..keys).collect();
    for some in numbers.chunks(20_000) {
        let record =
            |number: &usize| Record { key: Some(key(*number)), ..Record::of(vec![b'x'; size.into()]) };
        let records: Vec<Record> = some.iter().map(record).collect();
        kafka.produce(&topic, 0, &records, Write::default()).await?;
    }
    Ok(topic)
}

async fn start(plan: &Plan, kafka: &Kafka, read: &str) -> Result<Stack, Failure> {
    let bootstrap = kafka.bootstrap();
    let bridge = format!(
        "[read]\n{read}\ntable_bytes = 1073741824\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
    );
    let edits = vec![instead("", &[r#"{"path": "/pubsub", "tables": ["*"]}"#])];
    let setup = Setup::new(plan.profile, bootstrap);
    let setup = Setup { bridge: BridgeConfig::Text(bridge), envoy_edits: edits, ..setup };
    let mut stack = Stack::start(Setup { concurrency: plan.concurrency, ..setup }).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    Ok(stack)
}

const KEYS: usize = 1_000_000;
const ROUNDS: usize = 3;
/// Clients that read the table after the first one.
const FURTHER: u32 = 8;
const SOCKETS: usize = 1000;
/// The keys of their table.
const SMALL: usize = 1000;
/// Changes a second.
const RATE: u32 = 100;
const CHANGES: usize = 1000;
