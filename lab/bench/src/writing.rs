//! Measures writing on one stack.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::{Kafka, Setup as KafkaSetup};
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::figures::Figures;
use crate::report::say;
use crate::report::writing::{Row, table};
use crate::run::{QUICK_JAVA, part};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let properties = properties(plan);
    let shown: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    say(&format!("writing   to one partition, without keys; {}", shown.join(" ")));
    let kafka =
        Kafka::start_with(KafkaSetup { java: vec![QUICK_JAVA.to_owned()], ..KafkaSetup::default() }).await?;
    let topic = kafka.topic("written", 1, &[]).await?;
    let mut stack = Stack::start(setup(&kafka, &topic, &properties, plan)).await?;
    stack.ready_within(Duration::from_secs(30)).await?;

    let parts = [&stack.envoy().process, &stack.bridge.process];
    let processes: Vec<&Process> =
        parts.into_iter().chain(kafka.nodes.iter().map(|node| &node.process)).collect();
    let properties = shown.into_iter().map(|property| ("--property", property));
    let broker: Vec<(&str, String)> =
        [("--bootstrap", kafka.bootstrap())].into_iter().chain(properties).collect();
    let measure = async |name: &str, own: &[(&str, String)], size: u32, clients: u32, seconds: u32| {
        let common = [
            ("--topic", topic.clone()),
            ("--size", size.to_string()),
            ("--clients", clients.to_string()),
            ("--seconds", seconds.to_string()),
        ];
        part(name, &[own, &common].concat(), &processes).await
    };
    let in_flight = |clients: u32| (MAX_IN_FLIGHT / clients).clamp(1, SESSION_IN_FLIGHT);
    let batches =
        |clients| [("--batch", plan.batch.to_string()), ("--in-flight", in_flight(clients).to_string())];
    let one_by_one = [("--batch", "1".to_owned()), ("--in-flight", "1".to_owned())];
    let session = async |size, clients, seconds| {
        let own = [&[("--url", stack.url())][..], &batches(clients)].concat();
        measure("produce", &own, size, clients, seconds).await
    };
    let post = async |size, clients, seconds| {
        let own = [("--gateway", stack.gateway().to_string()), ("--path", POST.to_owned())];
        measure("post", &own, size, clients, seconds).await
    };
    let wait = async |how: &[(&str, String)], size, clients| {
        measure("wait", &[&broker, how].concat(), size, clients, plan.seconds).await
    };
    say("warming up");
    session(plan.size.into(), 1, WARM_UP).await?;
    post(plan.size.into(), 64, WARM_UP).await?;
    let mut rows = Vec::new();
    for size in plan.write_sizes.iter().copied() {
        for clients in plan.clients.iter().copied() {
            say(&format!("writing   {size} B, {clients} clients, {} s each", plan.seconds));
            rows.push(Row {
                size,
                clients,
                batch: plan.batch,
                session: session(size, clients, plan.seconds).await?,
                direct_batches: wait(&batches(clients), size, clients).await?,
                post: post(size, clients, plan.seconds).await?,
                direct_post: wait(&one_by_one, size, clients).await?,
                direct: measure("stream", &broker, size, 1, plan.seconds).await?,
            });
        }
    }
    table(&rows);
    for Row { size, clients, session, direct_batches, post, direct_post, .. } in rows {
        let name = format!("writing {size} B, {clients} clients");
        figures.add_part(&format!("{name}, sessions"), session);
        figures.add_part(&format!("{name}, HTTP"), post);
        figures.add_ratio(&format!("{name}, sessions to librdkafka"), session.0, direct_batches.0);
        figures.add_ratio(&format!("{name}, HTTP to librdkafka"), post.0, direct_post.0);
    }
    Ok(())
}

/// The properties of the bare producer and the bridge's: the bridge's defaults, overridden by arguments.
fn properties(plan: &Plan) -> BTreeMap<String, String> {
    let defaults = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    defaults.into_iter().chain(plan.properties.iter().cloned()).collect()
}

fn setup(kafka: &Kafka, topic: &str, properties: &BTreeMap<String, String>, plan: &Plan) -> Setup {
    let bootstrap = kafka.bootstrap();
    let settings: String = properties.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
    let bridge = BridgeConfig::Text(format!(
        "[write]\nclusters = [\"default\"]\n\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n{settings}"
    ));
    let routes = [
        r#"{"path": "/pubsub", "write": true}"#.to_owned(),
        format!(r#"{{"path": "{POST}", "type": "produce", "topic": "{topic}"}}"#),
    ];
    let envoy_edits = vec![instead("", &routes.each_ref().map(String::as_str))];
    let concurrency = plan.concurrency;
    Setup { bridge, envoy_edits, concurrency, ..Setup::new(plan.profile, bootstrap) }
}

/// The gateway's path for plain HTTP.
const POST: &str = "/produce";
const DEFAULTS: [(&str, &str); 6] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "1"),
    ("compression.type", "none"),
    ("message.timeout.ms", "30000"),
    ("queue.buffering.max.kbytes", "65536"),
];
/// Commands that a session runs concurrently.
const SESSION_IN_FLIGHT: u32 = 16;
/// Commands of all clients together, so that no queue is full.
const MAX_IN_FLIGHT: u32 = 320;
/// Seconds of writing before the measurement, until Kafka's JIT compilers are done.
const WARM_UP: u32 = 5;
