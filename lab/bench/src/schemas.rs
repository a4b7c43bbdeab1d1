//! Measures records with an Avro schema that clients get as JSON, beside the same JSON and the same bytes.

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::{self, TryStreamExt};
use serde_json::json;
use sluicegate_client::{At, Client, Source, Subscribe, Update};
use sluicegate_schemas::avro::Schema;
use sluicegate_schemas::wire::prefix;
use sluicegate_stack::kafka::{Kafka, Record};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::registry::Registry;
use sluicegate_stack::stack::{BridgeConfig, Stack};

use crate::figures::Figures;
use crate::part::{self, Log, System, measure};
use crate::place::{MANY_SESSIONS, fill, quick_kafka, stack_with, with_broker};
use crate::report::say;
use crate::turns::{ROUNDS, Subject, add_costs};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "schemas   {CLIENTS} subscribers read {RECORDS} records, and one client walks {WALKED}, {ROUNDS} times in turns"
    ));
    allow_many_files()?;
    let (kafka, registry) = (quick_kafka().await?, Registry::start().await?);
    let id = registry.register("bench-value", &json!({ "schema": SCHEMA })).await;
    let schema = Schema::parse(SCHEMA, &[])?;
    let avro = |number| -> Result<Vec<u8>, Failure> {
        let mut value = Vec::new();
        prefix(id, None, &mut value);
        schema.encode(document(number).as_bytes(), &mut value)?;
        Ok(value)
    };
    let value = avro(0)?;
    let of_avro = |number| Record::of(avro(number).unwrap_or_default());
    say(&format!("          {} B of Avro, {} B of JSON", value.len(), document(0).len()));
    let (url, bootstrap) = (registry.url(), kafka.bootstrap());
    let bridge = BridgeConfig::Text(format!(
        "{MANY_SESSIONS}[schemas.registry]
url = {url:?}
[clusters.default]
bootstrap.servers = {bootstrap:?}
schemas = \"registry\"
"
    ));

    let json = topic(&kafka, RECORDS, |number| Record::of(document(number))).await?;
    let avro = topic(&kafka, RECORDS, of_avro).await?;
    let mut subjects = Vec::new();
    for (name, topic, decodes) in [("JSON", json, false), ("Avro as JSON", avro, true)] {
        let stack = stack_with(plan, bridge.clone(), Vec::new()).await?;
        let name = format!("schemas, {CLIENTS} subscribers of {name}");
        subjects.push(Subject { name, stack, units: CLIENTS * RECORDS, how: (topic, decodes) });
    }
    add_costs(figures, ("ns", 1e9), &subjects, async |subject| {
        let (topic, decodes) = &subject.how;
        follow(&subject.stack, CLIENTS, (topic, *decodes), RECORDS).await
    })
    .await?;
    drop(subjects);

    let stack = stack_with(plan, bridge, Vec::new()).await?;
    let (url, processes) = (stack.url(), with_broker(&stack, &kafka)?);
    let topic = topic(&kafka, WALKED, of_avro).await?;
    let walk = async |decodes| {
        let log = Log { topic: topic.clone(), end: WALKED as i64, clients: 1, rounds: 1, decodes };
        measure(processes, || part::walk(&url, System::Kafka, &log)).await
    };
    for round in 0..=ROUNDS {
        let (bytes, json) = (walk(false).await?, walk(true).await?);
        // The first one warms up.
        if round > 0 {
            figures.add_part("schemas, walk of Avro as bytes", &bytes);
            figures.add_part("schemas, walk of Avro as JSON", &json);
            figures.add_ratio("schemas, walk of Avro as JSON, to bytes", &json, &bytes);
        }
    }
    Ok(())
}

/// A topic with these records.
async fn topic(kafka: &Kafka, count: usize, record: impl Fn(usize) -> Record) -> Result<String, Failure> {
    let topic = kafka.topic("schemas", 1, &[]).await?;
    fill(kafka, &topic, count, record).await?;
    Ok(topic)
}

/// The JSON of a record, as the bridge writes it.
fn document(number: usize) -> String {
    let text = "x".repeat(86);
    format!(r#"{{"number":{},"price":2.5,"is_open":true,"text":"{text}"}}"#, 1_000_000 + number)
}

/// Lets clients read so many records of a topic once, with values as they are or decoded.
pub(crate) async fn follow(
    stack: &Stack,
    clients: usize,
    (topic, decodes): (&str, bool),
    count: usize,
) -> Result<(), Failure> {
    let connect = |_| Client::connect(stack.url());
    let clients: Vec<Client> =
        stream::iter(0..clients).map(connect).buffer_unordered(50).try_collect().await?;
    let read = async |client: &Client| -> Result<(), Failure> {
        let subscribe = Subscribe::new([Source::new(topic).at(At::Earliest)]);
        let mut updates = client.subscribe(if decodes { subscribe.decode() } else { subscribe });
        let mut left = count;
        while left > 0 {
            if let Update::Delivery(delivery) = updates.next().await.ok_or("the subscription has ended")?? {
                if delivery.messages.iter().any(|message| message.value_schema.is_some() != decodes) {
                    return Err("a value in the wrong form".into());
                }
                left = left.checked_sub(delivery.messages.len()).ok_or("too many records")?;
            }
        }
        Ok(())
    };
    try_join_all(clients.iter().map(read)).await?;
    Ok(())
}

/// Of records with 100 bytes, besides what is in front of them.
const SCHEMA: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "number", "type": "long"}, {"name": "price", "type": "double"},
    {"name": "is_open", "type": "boolean"}, {"name": "text", "type": "string"}]}"#;
const CLIENTS: usize = 1000;
const RECORDS: usize = 5000;
const WALKED: usize = 1_000_000;
