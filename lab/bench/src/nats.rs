//! Measures reading of a JetStream stream, in files, beside bare async-nats clients.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::figures::Figures;
use crate::report::nats::{Row, table};
use crate::report::say;
use crate::run::part;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let records = plan.records.min(MAX_RECORDS).min(MAX_BYTES / u32::from(plan.size));
    say(&format!("stream    {records} messages of {} B in files, one replica", plan.size));
    let server = Nats::jetstream("").await?;
    let streams = Streams::connect(server.client()).await?;
    streams.create(STREAM, json!({})).await?;
    let message = |n: u32| Bytes::from(format!("{n:0>width$}", width = usize::from(plan.size)));
    streams.write(&format!("{STREAM}.a"), (0..records).map(message)).await?;
    let mut stack = Stack::start(setup(&server, plan)).await?;
    stack.ready_within(Duration::from_secs(30)).await?;

    let processes = [&stack.envoy().process, &stack.bridge.process, &server.process];
    let gateway = [("--url", stack.url()), ("--system", "nats".to_owned())];
    let bare = [("--server", server.client().to_string())];
    let measure = async |name: &str, from: &[(&'static str, String)], clients: u32, rounds: u64| {
        let reading = [
            ("--topic", STREAM.to_owned()),
            // Sequences begin with 1.
            ("--end", (u64::from(records) + 1).to_string()),
            ("--clients", clients.to_string()),
            ("--rounds", rounds.to_string()),
        ];
        part(name, &[from, &reading].concat(), &processes).await
    };
    say("warming up");
    measure("walk", &gateway, 1, 1).await?;
    measure("pull", &bare, 1, 1).await?;
    let mut rows = Vec::new();
    for clients in plan.clients.iter().copied().map(|clients| clients.min(MAX_CLIENTS)) {
        let each = u64::from(records) * u64::from(clients);
        let rounds = plan.messages.div_ceil(each.max(1));
        say(&format!("reading   {clients} clients, {rounds} times each"));
        let walk = measure("walk", &gateway, clients, rounds).await?;
        let pull = measure("pull", &bare, clients, rounds).await?;
        rows.push(Row { clients, walk, pull });
    }
    table(&rows);
    for Row { clients, walk, pull } in rows {
        let name = format!("reading NATS {} B, {clients} clients", plan.size);
        figures.add_part(&name, walk);
        figures.add_ratio(&format!("{name}, to async-nats"), walk.0, pull.0);
    }
    Ok(())
}

/// A gateway in front of the server.
pub(crate) fn setup(server: &Nats, plan: &Plan) -> Setup {
    let bridge = BridgeConfig::Text(format!(
        "[clusters.default]\nkind = \"nats\"\nservers = \"nats://{}\"\n",
        server.client()
    ));
    let concurrency = plan.concurrency;
    Setup { bridge, concurrency, ..Setup::new(plan.profile, String::new()) }
}

const STREAM: &str = "bench";
/// So that files are written soon, but are larger than what the bridge keeps: a walk reads from the server.
const MAX_RECORDS: u32 = 1_000_000;
/// Of the files.
const MAX_BYTES: u32 = 1 << 30;
/// Bare clients make the server send each message as often.
const MAX_CLIENTS: u32 = 16;
