//! Measures what it costs to deliver records to clients that are granted some rows of a topic.

use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Record};

use crate::figures::Figures;
use crate::place::{bridge_of, fill, stack_with};
use crate::report::say;
use crate::schemas::follow;
use crate::turns::{ROUNDS, Subject, add_costs};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let size = plan.size;
    say(&format!(
        "rows      {CLIENTS} subscribers read {RECORDS} records of {size} bytes each, {ROUNDS} times in turns"
    ));
    let kafka = Kafka::start().await?;
    let mut topics: Vec<(usize, String)> = Vec::new();
    let mut subjects = Vec::new();
    for (name, every, only) in ROWS {
        let topic = match topics.iter().find(|(of, _)| *of == every) {
            Some((_, topic)) => topic.clone(),
            None => write(&kafka, every, size.into()).await?,
        };
        topics.push((every, topic.clone()));
        let route = format!(r#"{{"path": "/pubsub", "topics": [{{"topic": "{topic}"{only}}}]}}"#);
        let edits = vec![instead("\"gateway_secret\": \"between-gateway-and-bridge\",", &[&route])];
        let bridge = bridge_of(&kafka, "gateway_secret = \"between-gateway-and-bridge\"");
        let stack = stack_with(plan, bridge, edits).await?;
        let (name, units) = (format!("rows, {name}"), CLIENTS * (RECORDS / every));
        subjects.push(Subject { name, stack, units, how: topic });
    }
    add_costs(figures, ("ns", 1e9), &subjects, async |subject| {
        follow(&subject.stack, CLIENTS, (&subject.how, false), subject.units / CLIENTS).await
    })
    .await
}

/// A topic in which one of so many records is of the tenant `acme`.
async fn write(kafka: &Kafka, every: usize, size: usize) -> Result<String, Failure> {
    let topic = kafka.topic("rows", 1, &[]).await?;
    let record = |number: usize| {
        let tenant = if number.is_multiple_of(every) { "acme" } else { "globex" };
        Record {
            key: Some(format!("{tenant}:{number}").into_bytes()),
            headers: vec![("tenant".to_owned(), Some(tenant.as_bytes().to_vec()))],
            ..Record::of(vec![b'x'; size])
        }
    };
    fill(kafka, &topic, RECORDS, record).await?;
    Ok(topic)
}

/// The rows that a route grants: their name, the number of records of which it grants one, and the condition.
const ROWS: [(&str, usize, &str); 5] = [
    ("all records, no row", 1, ""),
    ("all records, by key", 1, BY_KEY),
    ("all records, by header", 1, r#", "only": {"header": "tenant", "is": "acme"}"#),
    ("every other record, by key", 2, BY_KEY),
    ("one record in sixteen, by key", 16, BY_KEY),
];
const BY_KEY: &str = r#", "only": {"key_prefix": "acme:"}"#;
const CLIENTS: usize = 16;
const RECORDS: usize = 200_000;
