//! Measures writing on one stack.

use std::collections::BTreeMap;

use sluicegate_stack::envoy::instead;

use crate::figures::Figures;
use crate::part::{Measured, Part, Writing, heading, line};
use crate::place::{quick_kafka, stack_with, with_broker};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let properties = properties(plan);
    let shown: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    say(&format!("writing   to one partition, without keys; {}", shown.join(" ")));
    let kafka = quick_kafka().await?;
    let topic = kafka.topic("written", 1, &[]).await?;
    let (bridge, routes) = configurations(&kafka.bootstrap(), &topic, &properties);
    let stack = stack_with(plan, bridge, vec![routes]).await?;

    let processes = with_broker(&stack, &kafka)?;
    let broker = ("bootstrap.servers".to_owned(), kafka.bootstrap());
    let properties: Vec<_> = properties.into_iter().chain([broker]).collect();
    let one_by_one = |size: u32, clients: u32, seconds: u32| {
        let topic = topic.clone();
        Writing { topic, size, clients, seconds, batch: 1, in_flight: 1 }
    };
    let batches = |size: u32, clients: u32, seconds: u32| {
        let in_flight = (MAX_IN_FLIGHT / clients).clamp(1, SESSION_IN_FLIGHT) as usize;
        Writing { batch: plan.batch as usize, in_flight, ..one_by_one(size, clients, seconds) }
    };
    let session = |writing| Part::Produce { url: stack.url(), writing };
    let post = |writing| Part::Post { gateway: stack.gateway(), path: POST.to_owned(), writing };
    let wait = |writing| Part::Wait { properties: properties.clone(), writing };
    let stream = |writing| Part::Stream { properties: properties.clone(), writing };
    say("warming up");
    session(batches(plan.size.into(), 1, WARM_UP)).measure(processes).await?;
    post(one_by_one(plan.size.into(), 64, WARM_UP)).measure(processes).await?;
    let mut rows = Vec::new();
    for size in plan.write_sizes.iter().copied() {
        for clients in plan.clients.iter().copied() {
            let seconds = plan.seconds;
            say(&format!("writing   {size} B, {clients} clients, {seconds} s each"));
            let (many, one) = (batches(size, clients, seconds), one_by_one(size, clients, seconds));
            let all = [
                session(many.clone()),
                wait(many),
                post(one.clone()),
                wait(one),
                stream(one_by_one(size, 1, seconds)),
            ];
            let mut parts = Vec::new();
            for part in all {
                parts.push(part.measure(processes).await?);
            }
            rows.push((size, clients, <[Measured; 5]>::try_from(parts).map_err(|_| "five parts")?));
        }
    }
    table(plan.batch, &rows);
    for (size, clients, [session, direct_batches, post, direct_post, _]) in &rows {
        let name = format!("writing {size} B, {clients} clients");
        figures.add_part(&format!("{name}, sessions"), session);
        figures.add_part(&format!("{name}, HTTP"), post);
        figures.add_ratio(&format!("{name}, sessions to librdkafka"), session, direct_batches);
        figures.add_ratio(&format!("{name}, HTTP to librdkafka"), post, direct_post);
    }
    Ok(())
}

/// Prints all results, and the ratios. The parts: sessions, and a bare producer with as many records in flight; plain HTTP,
/// and such a producer; a bare producer with a full queue.
fn table(batch: u32, rows: &[(u32, u32, [Measured; 5])]) {
    for same_size in rows.chunk_by(|(a, ..), (b, ..)| a == b) {
        let size = same_size.first().map_or(0, |(size, ..)| *size);
        heading("clients", &format!("writer, {size} B"), "Kafka");
        for (_, clients, parts) in same_size {
            let sessions = format!("sessions, {batch} a command");
            let (likewise, full) = (" librdkafka likewise", "librdkafka, unbounded");
            let names = [&*sessions, likewise, "HTTP, 1 a request", likewise, full];
            names.into_iter().zip(parts).for_each(|(who, part)| line(*clients, who, part));
        }
    }
    say("\nratios to bare librdkafka: messages/s");
    say("clients  value    sessions: likewise, unbounded   HTTP: likewise");
    for (size, clients, [session, direct_batches, post, direct_post, direct]) in rows {
        let ratio = |part: &Measured, bare: &Measured| part.rate() / bare.rate();
        say(&format!(
            "{clients:>7} {size:>5} B  {:>18.2}  {:>9.2}  {:>15.2}",
            ratio(session, direct_batches),
            ratio(session, direct),
            ratio(post, direct_post),
        ));
    }
    say("\nHTTP: CPU microseconds per request");
    say("clients  value     Envoy  bridge");
    for (size, clients, [_, _, post, ..]) in rows {
        let [envoy, bridge] = [post.cpu.envoy, post.cpu.bridge].map(|cpu| post.per_million(cpu));
        say(&format!("{clients:>7} {size:>5} B  {envoy:>7.1} {bridge:>7.1}"));
    }
}

/// The properties of the bare producer and the bridge's: the bridge's defaults, overridden by arguments.
fn properties(plan: &Plan) -> BTreeMap<String, String> {
    let defaults = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    defaults.into_iter().chain(plan.properties.iter().cloned()).collect()
}

/// Settings of the bridge, and of the gateway's routes.
fn configurations(
    bootstrap: &str,
    topic: &str,
    properties: &BTreeMap<String, String>,
) -> (String, (String, String)) {
    let settings: String = properties.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
    let bridge = format!(
        "[write]\nclusters = [\"default\"]\n\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n{settings}"
    );
    let post = format!(r#"{{"path": "{POST}", "type": "produce", "topic": "{topic}"}}"#);
    (bridge, instead("", &[r#"{"path": "/pubsub", "write": true}"#, &post]))
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
