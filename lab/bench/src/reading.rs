//! Measures reading on one stack.

use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use sluicegate_stack::stack::BridgeConfig;

use crate::figures::Figures;
use crate::part::{self, Log, System, measure};
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
    let stack = stack_with(plan, BridgeConfig::Text(bridge), envoy_edits).await?;

    let (gateway, processes) = (stack.gateway(), with_broker(&stack, kafka)?);
    let end = plan.records.into();
    let log = |clients, rounds| Log { topic: topic.clone(), end, clients, rounds, decodes: false };
    let walk = async |path, clients, rounds| {
        let (url, log) = (format!("ws://{gateway}{path}"), log(clients, rounds));
        measure(processes, || part::walk(&url, System::Kafka, &log)).await
    };
    // Java's JIT compilers are busy in the first seconds.
    say("warming up");
    for path in PATHS {
        walk(path, 1, 2).await?;
    }
    for clients in plan.clients.iter().copied() {
        let rounds = plan.rounds(plan.records, clients);
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let [plaintext, ssl, sasl_ssl] = PATHS;
        let [plaintext, ssl, sasl_ssl] = [
            walk(plaintext, clients, rounds).await?,
            walk(ssl, clients, rounds).await?,
            walk(sasl_ssl, clients, rounds).await?,
        ];
        let (bootstrap, log) = (kafka.bootstrap(), log(clients, rounds));
        let consume = measure(processes, || part::consume(&bootstrap, &log)).await?;
        let name = format!("reading {} B, {clients} clients", plan.size);
        figures.add_part(&name, &plaintext);
        figures.add_part(&format!("{name}, librdkafka"), &consume);
        figures.add_part(&format!("{name}, over SSL"), &ssl);
        figures.add_part(&format!("{name}, over SASL_SSL"), &sasl_ssl);
        figures.add_ratio(&format!("{name}, to librdkafka"), &plaintext, &consume);
        figures.add_ratio(&format!("{name}, SSL to PLAINTEXT"), &ssl, &plaintext);
        figures.add_ratio(&format!("{name}, SASL_SSL to PLAINTEXT"), &sasl_ssl, &plaintext);
    }
    Ok(())
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
