//! Measures what it costs to deliver records to clients that are granted some rows of a topic.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sluicegate_client::{At, Client, Source, Subscribe, Update};
use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Record, Setup as KafkaSetup, Write};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::figures::{Better, Figures};
use crate::report::opening::Row;
use crate::report::{rows, say};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let size = plan.size;
    say(&format!(
        "rows      {CLIENTS} subscribers read {RECORDS} records of {size} bytes each, {ROUNDS} times in turns"
    ));
    let kafka = Kafka::start_with(KafkaSetup::default()).await?;
    let all = write(&kafka, "all", plan, |_| "acme").await?;
    let half = write(&kafka, "half", plan, |number| if number % 2 == 0 { "acme" } else { "globex" }).await?;
    let few = write(&kafka, "few", plan, |number| if number % 16 == 0 { "acme" } else { "globex" }).await?;
    let mut stacks = Vec::new();
    for rows in Rows::ALL {
        let topic = match rows {
            Rows::All | Rows::Key | Rows::Header => &all,
            Rows::Half => &half,
            Rows::Few => &few,
        };
        stacks.push((rows, topic, start(plan, &kafka, topic, rows).await?, Vec::new()));
    }
    for (rows, topic, stack, _) in &stacks {
        read(stack, topic, rows.delivered()).await?;
    }
    for _ in 0..ROUNDS {
        for (rows, topic, stack, costs) in &mut stacks {
            costs.push(measure(stack, topic, rows.delivered()).await?);
        }
    }
    for (rows, _, _, costs) in &stacks {
        let name = format!("rows, {}: CPU of Envoy and bridge", rows.name());
        figures.add(&name, "ns", Better::Less, costs.iter().map(|cost| cost.envoy + cost.bridge));
    }
    let row = |(rows, _, _, costs): (Rows, &String, Stack, Vec<Row>)| (rows.name(), Row::median(costs));
    rows::table(&stacks.into_iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// The rows that a route grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    /// All records have such a key.
    Key,
    /// All records have such a header.
    Header,
    /// Every other record has such a key.
    Half,
    /// One in sixteen has such a key.
    Few,
}

impl Rows {
    const ALL: [Self; 5] = [Self::All, Self::Key, Self::Header, Self::Half, Self::Few];

    fn name(self) -> &'static str {
        match self {
            Self::All => "all records, no row",
            Self::Key => "all records, by key",
            Self::Header => "all records, by header",
            Self::Half => "every other record, by key",
            Self::Few => "one record in sixteen, by key",
        }
    }

    fn only(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Key | Self::Half | Self::Few => r#", "only": {"key_prefix": "acme:"}"#,
            Self::Header => r#", "only": {"header": "tenant", "is": "acme"}"#,
        }
    }

    /// The records that a client gets.
    fn delivered(self) -> usize {
        match self {
            Self::All | Self::Key | Self::Header => RECORDS,
            Self::Half => RECORDS / 2,
            Self::Few => RECORDS / 16,
        }
    }
}

/// A topic with records of the tenants that `tenant` names.
async fn write(
    kafka: &Kafka,
    name: &str,
    plan: &Plan,
    tenant: fn(usize) -> &'static str,
) -> Result<String, Failure> {
    let topic = kafka.topic(name, 1, &[]).await?;
    let record = |number: usize| Record {
        key: Some(format!("{}:{number}", tenant(number)).into_bytes()),
        headers: vec![("tenant".to_owned(), Some(tenant(number).as_bytes().to_vec()))],
        ..Record::of(vec![b'x'; plan.size.into()])
    };
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await?;
    Ok(topic)
}

async fn start(plan: &Plan, kafka: &Kafka, topic: &str, rows: Rows) -> Result<Stack, Failure> {
    let bootstrap = kafka.bootstrap();
    let bridge = format!(
        "gateway_secret = \"between-gateway-and-bridge\"\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n"
    );
    let route = format!(r#"{{"path": "/pubsub", "topics": [{{"topic": "{topic}"{}}}]}}"#, rows.only());
    let edits = vec![instead("\"gateway_secret\": \"between-gateway-and-bridge\",", &[&route])];
    let setup = Setup::new(plan.profile, bootstrap);
    let setup = Setup { bridge: BridgeConfig::Text(bridge), envoy_edits: edits, ..setup };
    let mut stack = Stack::start(Setup { concurrency: plan.concurrency, ..setup }).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    Ok(stack)
}

async fn measure(stack: &Stack, topic: &str, count: usize) -> Result<Row, Failure> {
    let cpu = || -> Result<[Duration; 2], Failure> {
        Ok([stack.envoy().process.usage()?.cpu, stack.bridge.process.usage()?.cpu])
    };
    let ([envoy, bridge], start) = (cpu()?, Instant::now());
    read(stack, topic, count).await?;
    let ([envoy_after, bridge_after], took) = (cpu()?, start.elapsed());
    let each = |time: Duration| time.as_secs_f64() * 1e9 / (CLIENTS * count) as f64;
    Ok(Row {
        took: each(took),
        envoy: each(envoy_after.saturating_sub(envoy)),
        bridge: each(bridge_after.saturating_sub(bridge)),
    })
}

/// Lets all clients read the topic once.
async fn read(stack: &Stack, topic: &str, count: usize) -> Result<(), Failure> {
    let read = async |_| -> Result<(), Failure> {
        let client = Client::connect(stack.url()).await?;
        let mut updates = client.subscribe(Subscribe::new([Source::new(topic).at(At::Earliest)]));
        let mut left = count;
        while left > 0 {
            if let Update::Delivery(delivery) = updates.next().await.ok_or("the subscription has ended")?? {
                left = left.checked_sub(delivery.messages.len()).ok_or("too many records")?;
            }
        }
        Ok(())
    };
    try_join_all((0..CLIENTS).map(read)).await?;
    Ok(())
}

const CLIENTS: usize = 16;
const RECORDS: usize = 200_000;
const ROUNDS: usize = 5;
