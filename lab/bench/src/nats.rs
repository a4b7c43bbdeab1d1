//! Measures reading of a JetStream stream, in files, beside bare async-nats clients.

use bytes::Bytes;
use serde_json::json;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::stack::{BridgeConfig, Stack};

use crate::figures::Figures;
use crate::part::{self, Log, System, measure};
use crate::place::{gateway, stack_with};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let records = plan.records.min(MAX_RECORDS).min(MAX_BYTES / u32::from(plan.size));
    say(&format!("stream    {records} messages of {} B in files, one replica", plan.size));
    let server = Nats::jetstream("").await?;
    let streams = Streams::connect(server.client()).await?;
    streams.create(STREAM, json!({})).await?;
    let message = |n: u32| Bytes::from(format!("{n:0>width$}", width = usize::from(plan.size)));
    streams.write(&format!("{STREAM}.a"), (0..records).map(message)).await?;
    let stack = stack(plan, &server).await?;

    let [envoy, bridge] = gateway(&stack);
    let parts = async |clients, rounds| -> Result<_, Failure> {
        // Sequences begin with 1.
        let log =
            Log { topic: STREAM.to_owned(), end: i64::from(records) + 1, clients, rounds, decodes: false };
        let processes = [envoy, bridge, &server.process];
        let walk = measure(processes, || part::walk(&stack.url(), System::Nats, &log)).await?;
        Ok((walk, measure(processes, || part::pull(server.client(), &log)).await?))
    };
    say("warming up");
    parts(1, 1).await?;
    for clients in plan.clients.iter().copied().map(|clients| clients.min(MAX_CLIENTS)) {
        let rounds = plan.rounds(records, clients);
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let (walk, pull) = parts(clients, rounds).await?;
        let name = format!("reading NATS {} B, {clients} clients", plan.size);
        figures.add_part(&name, &walk);
        figures.add_part(&format!("{name}, async-nats"), &pull);
        figures.add_ratio(&format!("{name}, to async-nats"), &walk, &pull);
    }
    Ok(())
}

/// A gateway in front of the server.
pub(crate) async fn stack(plan: &Plan, server: &Nats) -> Result<Stack, Failure> {
    let servers = server.client();
    let bridge = format!("[clusters.default]\nkind = \"nats\"\nservers = \"nats://{servers}\"\n");
    stack_with(plan, BridgeConfig::Text(bridge), Vec::new()).await
}

const STREAM: &str = "bench";
/// So that files are written soon, but are larger than what the bridge keeps: a walk reads from the server.
const MAX_RECORDS: u32 = 1_000_000;
/// Of the files.
const MAX_BYTES: u32 = 1 << 30;
/// Bare clients make the server send each message as often.
const MAX_CLIENTS: u32 = 16;
