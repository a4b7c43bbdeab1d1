//! Measures writing on one stack.

use rdkafka::ClientConfig;
use sluicegate_stack::envoy::instead;
use sluicegate_stack::stack::BridgeConfig;

use crate::figures::Figures;
use crate::part::{self, Writing, measure};
use crate::place::{quick_kafka, stack_with, with_broker};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let shown: Vec<String> = PROPERTIES.iter().map(|(name, value)| format!("{name}={value}")).collect();
    say(&format!("writing   to one partition, without keys; {}", shown.join(" ")));
    let kafka = quick_kafka().await?;
    let topic = kafka.topic("written", 1, &[]).await?;
    let (bridge, routes) = configurations(&kafka.bootstrap(), &topic);
    let stack = stack_with(plan, BridgeConfig::Text(bridge), vec![routes]).await?;

    let processes = with_broker(&stack, &kafka)?;
    let mut properties = ClientConfig::new();
    properties
        .set("bootstrap.servers", kafka.bootstrap())
        .extend(PROPERTIES.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let one_by_one = |size: u32, clients: u32, seconds: u32| {
        let topic = topic.clone();
        Writing { topic, size, clients, seconds, batch: 1, in_flight: 1, repeatable: false }
    };
    let batches = |size: u32, clients: u32, seconds: u32| {
        let in_flight = (MAX_IN_FLIGHT / clients).clamp(1, SESSION_IN_FLIGHT) as usize;
        Writing { batch: BATCH, in_flight, ..one_by_one(size, clients, seconds) }
    };
    let (url, gateway) = (stack.url(), stack.gateway());
    let session = async |writing: &Writing| measure(processes, || part::produce(&url, writing)).await;
    let post = async |writing: &Writing| measure(processes, || part::post(gateway, POST, writing)).await;
    let wait = async |writing: &Writing| measure(processes, || part::wait(&properties, writing)).await;
    say("warming up");
    session(&batches(plan.size.into(), 1, WARM_UP)).await?;
    post(&one_by_one(plan.size.into(), 64, WARM_UP)).await?;
    for size in plan.write_sizes.iter().copied() {
        for clients in plan.clients.iter().copied() {
            let seconds = plan.seconds;
            say(&format!("writing   {size} B, {clients} clients, {seconds} s each"));
            let (many, one) = (batches(size, clients, seconds), one_by_one(size, clients, seconds));
            let name = format!("writing {size} B, {clients} clients");
            let repeatable = |writing: &Writing| Writing { repeatable: true, ..writing.clone() };
            let (many_again, one_again) = (repeatable(&many), repeatable(&one));
            let singles = session(&one).await?;
            let again = [session(&many_again).await?, session(&one_again).await?, post(&one_again).await?];
            let (sessions, likewise) = (session(&many).await?, wait(&many).await?);
            let (http, http_likewise) = (post(&one).await?, wait(&one).await?);
            let full = one_by_one(size, 1, seconds);
            let unbounded = measure(processes, || part::stream(&properties, &full)).await?;
            figures.add_part(&format!("{name}, sessions"), &sessions);
            figures.add_part(&format!("{name}, HTTP"), &http);
            figures.add_ratio(&format!("{name}, sessions to librdkafka"), &sessions, &likewise);
            figures.add_ratio(&format!("{name}, sessions to librdkafka, unbounded"), &sessions, &unbounded);
            figures.add_ratio(&format!("{name}, HTTP to librdkafka"), &http, &http_likewise);
            for (way, with, without) in [
                ("sessions", &again[0], &sessions),
                ("single records", &again[1], &singles),
                ("HTTP", &again[2], &http),
            ] {
                figures.add_part(&format!("{name}, {way}, with a producer"), with);
                figures.add_ratio(&format!("{name}, {way}, with a producer to without"), with, without);
                if let (Some((with, _)), Some((without, _))) = (with.latency, without.latency) {
                    let name = format!("{name}, {way}, with a producer to without: median");
                    figures.less(&name, "×", [with / without]);
                }
            }
        }
    }
    Ok(())
}

/// Settings of the bridge, and of the gateway's routes.
fn configurations(bootstrap: &str, topic: &str) -> (String, (String, String)) {
    let settings: String = PROPERTIES.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
    let bridge = format!(
        "[write]\nclusters = [\"default\"]\n\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n{settings}"
    );
    let post = format!(r#"{{"path": "{POST}", "type": "produce", "topic": "{topic}"}}"#);
    (bridge, instead("", &[r#"{"path": "/pubsub", "write": true}"#, &post]))
}

/// The gateway's path for plain HTTP.
const POST: &str = "/produce";
/// Properties of the bare producer and the bridge's: the bridge's defaults.
const PROPERTIES: [(&str, &str); 6] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "1"),
    ("compression.type", "none"),
    ("message.timeout.ms", "30000"),
    ("queue.buffering.max.kbytes", "65536"),
];
/// Records that a session writes with one command.
const BATCH: usize = 100;
/// Commands that a session runs concurrently.
const SESSION_IN_FLIGHT: u32 = 16;
/// Commands of all clients together, so that no queue is full.
const MAX_IN_FLIGHT: u32 = 320;
/// Seconds of writing before the measurement, until Kafka's JIT compilers are done.
const WARM_UP: u32 = 5;
