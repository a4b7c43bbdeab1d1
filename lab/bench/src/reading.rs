//! Measures reading on one stack.

use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};

use crate::figures::Figures;
use crate::part::{Log, Measured, Part, System, heading, line};
use crate::place::{QUICK_JAVA, fill, stack_with, with_broker};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("topic     {} records of {} B in one partition, uncompressed", plan.records, plan.size));
    let secured = Secured::start(vec![QUICK_JAVA.to_owned()]).await?;
    let kafka = &secured.kafka;
    let topic = kafka.topic("bench", 1, &[]).await?;
    let width = usize::from(plan.size);
    fill(kafka, &topic, plan.records as usize, |number| Record::of(format!("{number:0>width$}"))).await?;
    let (bridge, envoy_edits) = configurations(&secured, plan)?;
    let stack = stack_with(plan, bridge, envoy_edits).await?;

    let (gateway, processes) = (stack.gateway(), with_broker(&stack, kafka)?);
    let end = plan.records.into();
    let log = |clients, rounds| Log { topic: topic.clone(), end, clients, rounds };
    let walk = async |path, clients, rounds| {
        let url = format!("ws://{gateway}{path}");
        Part::Walk { url, system: System::Kafka, log: log(clients, rounds) }.measure(processes).await
    };
    // Java's JIT compilers are busy in the first seconds.
    say("warming up");
    for path in PATHS {
        walk(path, 1, 2).await?;
    }
    let mut rows = Vec::new();
    for clients in plan.clients.iter().copied() {
        let rounds = plan.rounds(plan.records, clients);
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let mut parts = Vec::new();
        for path in PATHS {
            parts.push(walk(path, clients, rounds).await?);
        }
        let bare = Part::Consume { bootstrap: kafka.bootstrap(), log: log(clients, rounds) };
        parts.push(bare.measure(processes).await?);
        rows.push((clients, <[Measured; 4]>::try_from(parts).map_err(|_| "four parts")?));
    }
    table(&rows);
    for (clients, [plaintext, ssl, sasl_ssl, consume]) in &rows {
        let name = format!("reading {} B, {clients} clients", plan.size);
        figures.add_part(&name, plaintext);
        figures.add_part(&format!("{name}, librdkafka"), consume);
        figures.add_part(&format!("{name}, over SSL"), ssl);
        figures.add_part(&format!("{name}, over SASL_SSL"), sasl_ssl);
        figures.add_ratio(&format!("{name}, to librdkafka"), plaintext, consume);
        figures.add_ratio(&format!("{name}, SSL to PLAINTEXT"), ssl, plaintext);
    }
    Ok(())
}

fn table(rows: &[(u32, [Measured; 4])]) {
    heading("clients", "reader", "Kafka");
    for (clients, parts) in rows {
        let names = ["through the gateway", " Kafka over SSL", " Kafka over SASL_SSL", "bare librdkafka"];
        names.into_iter().zip(parts).for_each(|(who, part)| line(*clients, who, part));
    }
    say("\nratios to bare librdkafka");
    for (clients, [walk, _, _, consume]) in rows {
        let rate = walk.rate() / consume.rate();
        let consumer = consume.per_million(consume.cpu.client);
        let [bridge, path] = [walk.cpu.bridge, walk.gateway()].map(|cpu| walk.per_million(cpu) / consumer);
        say(&format!(
            "{clients:>7}  messages/s {rate:.2}   CPU per message: bridge {bridge:.2}, Envoy and bridge {path:.2}"
        ));
    }
    say("\nratios to Kafka over PLAINTEXT, through the gateway");
    for (clients, [plaintext, ssl, sasl_ssl, _]) in rows {
        for (name, secured) in [("SSL", ssl), ("SASL_SSL", sasl_ssl)] {
            let rate = secured.rate() / plaintext.rate();
            let bridge = |part: &Measured| part.per_million(part.cpu.bridge);
            let cpu = bridge(secured) / bridge(plaintext);
            say(&format!("{clients:>7}  {name:<8}  messages/s {rate:.2}   CPU per message: bridge {cpu:.2}"));
        }
    }
}

/// Settings of bridge and Envoy, with a path for each security protocol of the same Kafka.
fn configurations(secured: &Secured, plan: &Plan) -> Result<(String, Vec<(String, String)>), Failure> {
    let kafka = &secured.kafka;
    let plaintext = kafka.bootstrap();
    let (ssl, sasl_ssl) = (kafka.bootstrap_of(listener::SSL)?, kafka.bootstrap_of(listener::SASL_SSL)?);
    let (authority, password) = (secured.authority.pem(), password(READER));
    let bridge = format!(
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
    );
    let [_, ssl, sasl_ssl] = PATHS;
    let object = |path, cluster| format!(r#"{{"path": "{path}", "cluster": "{cluster}"}}"#);
    let objects = [object(ssl, "ssl"), object(sasl_ssl, "sasl_ssl")];
    let mut envoy_edits = vec![plugin("", &objects.each_ref().map(String::as_str))];
    // In `relay`, Envoy has one route for all paths of the filter.
    if plan.profile != Profile::Relay {
        envoy_edits.push(routes(&[ssl, sasl_ssl]));
    }
    Ok((bridge, envoy_edits))
}

/// The gateway's paths: Kafka over PLAINTEXT, SSL and SASL_SSL.
const PATHS: [&str; 3] = ["/pubsub", "/ssl", "/sasl_ssl"];
