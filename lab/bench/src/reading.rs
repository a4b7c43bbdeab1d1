//! Measures reading on one stack.

use std::time::Duration;

use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::figures::Figures;
use crate::report::reading::{Row, table};
use crate::report::say;
use crate::run::{QUICK_JAVA, part};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("topic     {} records of {} B in one partition, uncompressed", plan.records, plan.size));
    let secured = Secured::start(vec![QUICK_JAVA.to_owned()]).await?;
    let kafka = &secured.kafka;
    let topic = kafka.topic("bench", 1, &[]).await?;
    write(kafka, &topic, plan).await?;
    let mut stack = Stack::start(setup(&secured, plan)?).await?;
    stack.ready_within(Duration::from_secs(30)).await?;

    let gateway = stack.gateway();
    let parts = [&stack.envoy().process, &stack.bridge.process];
    let processes: Vec<&Process> =
        parts.into_iter().chain(kafka.nodes.iter().map(|node| &node.process)).collect();
    let reading = |from: Vec<(&'static str, String)>, clients: u32, rounds: u64| {
        let log = [
            ("--topic", topic.clone()),
            ("--end", plan.records.to_string()),
            ("--clients", clients.to_string()),
            ("--rounds", rounds.to_string()),
        ];
        [from, log.into()].concat()
    };
    let walk = async |path, clients, rounds| {
        let from = vec![("--url", format!("ws://{gateway}{path}")), ("--system", "kafka".to_owned())];
        part("walk", &reading(from, clients, rounds), &processes).await
    };
    // Java's JIT compilers are busy in the first seconds.
    say("warming up");
    for path in [PLAINTEXT, SSL, SASL_SSL] {
        walk(path, 1, 2).await?;
    }
    let mut rows = Vec::new();
    for clients in plan.clients.iter().copied() {
        let each = u64::from(plan.records) * u64::from(clients);
        let rounds = plan.messages.div_ceil(each.max(1));
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let plaintext = walk(PLAINTEXT, clients, rounds).await?;
        let ssl = walk(SSL, clients, rounds).await?;
        let sasl_ssl = walk(SASL_SSL, clients, rounds).await?;
        let broker = vec![("--bootstrap", kafka.bootstrap())];
        let consume = part("consume", &reading(broker, clients, rounds), &processes).await?;
        rows.push(Row { clients, plaintext, ssl, sasl_ssl, consume });
    }
    table(&rows);
    for Row { clients, plaintext, ssl, sasl_ssl, consume } in rows {
        let name = format!("reading {} B, {clients} clients", plan.size);
        figures.add_part(&name, plaintext);
        figures.add_part(&format!("{name}, librdkafka"), consume);
        figures.add_part(&format!("{name}, over SSL"), ssl);
        figures.add_part(&format!("{name}, over SASL_SSL"), sasl_ssl);
        figures.add_ratio(&format!("{name}, to librdkafka"), plaintext.0, consume.0);
        figures.add_ratio(&format!("{name}, SSL to PLAINTEXT"), ssl.0, plaintext.0);
    }
    Ok(())
}

/// A gateway with a path for each security protocol of the same Kafka.
fn setup(secured: &Secured, plan: &Plan) -> Result<Setup, Failure> {
    let kafka = &secured.kafka;
    let plaintext = kafka.bootstrap();
    let (ssl, sasl_ssl) = (kafka.bootstrap_of(listener::SSL)?, kafka.bootstrap_of(listener::SASL_SSL)?);
    let (authority, password) = (secured.authority.pem(), password(READER));
    let bridge = BridgeConfig::Text(format!(
        "[clusters.default]
bootstrap.servers = {plaintext:?}

[clusters.ssl]
bootstrap.servers = {ssl:?}
security.protocol = \"SSL\"
ssl.ca.pem = {authority:?}

[clusters.sasl_ssl]
bootstrap.servers = {sasl_ssl:?}
security.protocol = \"SASL_SSL\"
ssl.ca.pem = {authority:?}
sasl.mechanism = \"SCRAM-SHA-512\"
sasl.username = {READER:?}
sasl.password = {password:?}
"
    ));
    let object = |path, cluster| format!(r#"{{"path": "{path}", "cluster": "{cluster}"}}"#);
    let objects = [object(SSL, "ssl"), object(SASL_SSL, "sasl_ssl")];
    let mut envoy_edits = vec![plugin("", &objects.each_ref().map(String::as_str))];
    // In `relay`, Envoy has one route for all paths of the filter.
    if plan.profile != Profile::Relay {
        envoy_edits.push(routes(&[SSL, SASL_SSL]));
    }
    let concurrency = plan.concurrency;
    Ok(Setup { bridge, envoy_edits, concurrency, ..Setup::new(plan.profile, plaintext) })
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

/// The gateway's path for each security protocol.
const PLAINTEXT: &str = "/pubsub";
const SSL: &str = "/ssl";
const SASL_SSL: &str = "/sasl_ssl";
/// The capacity of the producer's queue.
const RECORDS_AT_ONCE: usize = 20_000;
