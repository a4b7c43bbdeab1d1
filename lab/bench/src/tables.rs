//! Measures tables: the first client, further clients, changes to many clients, and memory.

use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Record};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::Stack;

use crate::figures::Figures;
use crate::live;
use crate::part::{self, Log, measure};
use crate::place::{bridge_of, fill, quick_kafka, stack_with, with_broker};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let size = plan.size;
    say(&format!("tables    {KEYS} keys of {size} B; changes of a small table"));
    allow_many_files()?;
    let kafka = quick_kafka().await?;
    let record = |number| Record {
        key: Some(format!("key {number}").into_bytes()),
        ..Record::of(vec![b'x'; size.into()])
    };
    let topic = kafka.topic("keys", 1, &[]).await?;
    fill(&kafka, &topic, KEYS, record).await?;
    for _ in 0..ROUNDS {
        snapshot(plan, &kafka, &topic, figures).await?;
    }
    live::changes(ROUNDS, plan, figures).await
}

/// Measures on a stack of its own, which has no table yet. Beside it, a consumer reads the same log.
async fn snapshot(plan: &Plan, kafka: &Kafka, topic: &str, figures: &mut Figures) -> Result<(), Failure> {
    let bridge = bridge_of(kafka, "[read]\ncache_bytes = 0\ntable_bytes = 1073741824");
    let tables = instead("", &[r#"{"path": "/pubsub", "tables": ["*"]}"#]);
    let stack = stack_with(plan, bridge, vec![tables]).await?;
    let processes = with_broker(&stack, kafka)?;
    let log = |clients| Log { topic: topic.to_owned(), end: KEYS as i64, clients, rounds: 1, decodes: false };
    let consumer = measure(processes, || part::consume(&kafka.bootstrap(), &log(1))).await?;
    let hold = async |clients| measure(processes, || part::hold(&stack.url(), &log(clients))).await;
    let resident = || -> Result<u64, Failure> { Ok(stack.bridge.process.usage()?.resident_bytes) };
    let before = resident()?;
    // The log is read for the first client.
    let first = hold(1).await?;
    let bytes = resident()?.saturating_sub(before);
    let read = received(&stack).await?;
    let further = hold(FURTHER).await?;
    if received(&stack).await? > read {
        return Err("Kafka was read for further clients".into());
    }
    figures.less("table, first client, until snapshot_end", "s", [first.seconds]);
    figures.add_ratio("table, first client to librdkafka", &first, &consumer);
    figures.add_part("table, further clients", &further);
    figures.less("table: memory of a key", "B", [bytes as f64 / KEYS as f64]);
    Ok(())
}

/// Bytes of records that Kafka has sent.
async fn received(stack: &Stack) -> Result<f64, Failure> {
    Ok(stack.bridge.count("sluicegate_read_bytes_total", "").await?)
}

const KEYS: usize = 1_000_000;
const ROUNDS: u32 = 3;
/// Clients that read the table after the first one.
const FURTHER: u32 = 8;
