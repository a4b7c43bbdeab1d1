//! Measures tables: the first client, further clients, changes to many clients, and memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::stream;
use sluicegate_client::{Client, Source, Subscribe, Update};
use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::Stack;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::figures::{Better, Figures};
use crate::part::{Cpu, Log, Measured, Part};
use crate::place::{Meter, fill, gateway, quick_kafka, stack_with, with_broker};
use crate::report::{median, percentiles, say};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let size = plan.size;
    say(&format!("tables    {KEYS} keys of {size} B; {SOCKETS} sockets with a table of {SMALL} keys"));
    allow_many_files()?;
    let kafka = quick_kafka().await?;
    let record = |number| Record { key: Some(key(number)), ..Record::of(vec![b'x'; size.into()]) };
    let (large, small) = (kafka.topic("keys", 1, &[]).await?, kafka.topic("changes", 1, &[]).await?);
    fill(&kafka, &large, KEYS, record).await?;
    let mut snapshots = Vec::new();
    for _ in 0..ROUNDS {
        snapshots.push(snapshot(plan, &kafka, &large).await?);
    }
    fill(&kafka, &small, SMALL, record).await?;
    let mut changes = Vec::new();
    for _ in 0..ROUNDS {
        let plain = latency(plan, &kafka, &small, false).await?;
        changes.push([plain, latency(plan, &kafka, &small, true).await?]);
    }
    table(&snapshots, &changes);
    for Snapshots { consumer, first, further, bytes_per_key } in &snapshots {
        figures.add_ratio("table, first client to librdkafka", first, consumer);
        figures.add_part("table, further clients", further);
        figures.add("table: memory of a key", "B", Better::Less, [*bytes_per_key]);
    }
    for [plain, table] in &changes {
        figures.add_part("changes of a log", plain);
        figures.add_part("changes of a table", table);
    }
    Ok(())
}

/// Prints medians, and their ratios: of snapshots, and of changes that reach subscriptions to a log and tables of it.
fn table(snapshots: &[Snapshots], changes: &[[Measured; 2]]) {
    let of = |value: &dyn Fn(&Snapshots) -> f64| median(snapshots.iter().map(value));
    let (consumer, first) = (of(&|row| row.consumer.seconds), of(&|row| row.first.seconds));
    say(&format!("\nbare consumer, whole log          {consumer:>8.2} s"));
    say(&format!(
        "first client, until snapshot_end  {first:>8.2} s   {:.2} × of the consumer",
        first / consumer
    ));
    let nanoseconds = |part: &Measured| part.per_million(part.gateway()) * 1e3;
    let (rate, cpu) = (of(&|row| row.further.rate() / 1e6), of(&|row| nanoseconds(&row.further)));
    say(&format!(
        "further clients, in all           {rate:>8.2} M records/s, {cpu:.0} ns of CPU each, none from Kafka"
    ));
    say(&format!("memory of a key with its record   {:>8.0} B", of(&|row| row.bytes_per_key)));
    let of = |value: &dyn Fn(&[Measured; 2]) -> f64| median(changes.iter().map(value));
    let p50 = |part: &Measured| part.latency.map_or(0.0, |(p50, _)| p50 * 1e3);
    let (plain, held) = (of(&|[plain, _]| p50(plain)), of(&|[_, table]| p50(table)));
    let cpu = of(&|[plain, _]| nanoseconds(plain));
    say(&format!("changes, plain: p50; CPU          {plain:>8.2} ms, {cpu:.0} ns"));
    say(&format!(
        "changes, table: p50; CPU          {held:>8.2} ms, {:.0} ns   {:.2} × of plain",
        of(&|[_, table]| nanoseconds(table)),
        held / plain
    ));
}

struct Snapshots {
    /// A bare consumer reads the same log.
    consumer: Measured,
    /// The first client, for which the log is read.
    first: Measured,
    further: Measured,
    /// The memory that the bridge took for a key and its record.
    bytes_per_key: f64,
}

/// Measures on a stack of its own, which has no table yet. Beside it, a consumer reads the same log.
async fn snapshot(plan: &Plan, kafka: &Kafka, topic: &str) -> Result<Snapshots, Failure> {
    let stack = start(plan, kafka, "cache_bytes = 0").await?;
    let processes = with_broker(&stack, kafka)?;
    let log = |clients| Log { topic: topic.to_owned(), end: KEYS as i64, clients, rounds: 1 };
    let consumer = Part::Consume { bootstrap: kafka.bootstrap(), log: log(1) }.measure(processes).await?;
    let hold = |clients| Part::Hold { url: stack.url(), log: log(clients) };
    let resident = || -> Result<u64, Failure> { Ok(stack.bridge.process.usage()?.resident_bytes) };
    let before = resident()?;
    let first = hold(1).measure(processes).await?;
    let bytes = resident()?.saturating_sub(before);
    let read = received(&stack).await?;
    let further = hold(FURTHER).measure(processes).await?;
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
async fn latency(plan: &Plan, kafka: &Kafka, topic: &str, is_table: bool) -> Result<Measured, Failure> {
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
    let meter = Meter::start(gateway(&stack))?;
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
    let [envoy, bridge] = meter.seconds()?;
    Ok(Measured {
        messages: took.len() as u64,
        bytes: 0,
        seconds: begun.elapsed().as_secs_f64(),
        latency: Some(percentiles(&took)),
        cpu: Cpu { envoy, bridge, ..Cpu::default() },
    })
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

async fn start(plan: &Plan, kafka: &Kafka, read: &str) -> Result<Stack, Failure> {
    let bootstrap = kafka.bootstrap();
    let bridge = format!(
        "[read]\n{read}\ntable_bytes = 1073741824\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
    );
    stack_with(plan, bridge, vec![instead("", &[r#"{"path": "/pubsub", "tables": ["*"]}"#])]).await
}

const KEYS: usize = 1_000_000;
const ROUNDS: usize = 3;
/// Clients that read the table after the first one.
const FURTHER: u32 = 8;
const SOCKETS: usize = 1000;
/// The keys of their table.
const SMALL: usize = 1000;
const RATE: u32 = 100;
const CHANGES: usize = 1000;
