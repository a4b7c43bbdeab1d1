//! Measures the memory of idle sessions.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sluicegate_stack::kafka::{Kafka, Record, Setup as KafkaSetup, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::waiting::settles;

use crate::figures::{Better, Figures};
use crate::report::idle::{Row, table};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("idle      {} sessions after one fetch each", plan.sessions));
    allow_many_files()?;
    let kafka = Kafka::start_with(KafkaSetup::default()).await?;
    let mut rows = Vec::new();
    for fetched in FETCHED {
        let topic = kafka.topic("idle", 1, &[]).await?;
        kafka.produce(&topic, 0, &[Record::of(vec![b'x'; fetched])], Write::default()).await?;
        rows.push(measure(&kafka, &topic, fetched, plan).await?);
    }
    table(&rows);
    for Row { fetched, envoy, bridge } in rows {
        for (program, bytes) in [("Envoy", envoy), ("bridge", bridge)] {
            let name = format!("idle session after a fetch of {fetched} B: memory of {program}");
            figures.add(&name, "KiB", Better::Less, [bytes as f64 / 1024.0]);
        }
    }
    Ok(())
}

/// Measures on a stack of its own, which has no free memory of earlier sessions.
async fn measure(kafka: &Kafka, topic: &str, fetched: usize, plan: &Plan) -> Result<Row, Failure> {
    let concurrency = plan.concurrency;
    let mut stack =
        Stack::start(Setup { concurrency, ..Setup::new(plan.profile, kafka.bootstrap()) }).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    // They fill what all sessions share, such as the bridge's cache and connections.
    let _first = open(&stack, topic, FIRST).await;
    let before = resident(&stack).await?;
    let _idle = open(&stack, topic, plan.sessions).await;
    let after = resident(&stack).await?;
    let each = |before: u64, after: u64| after.saturating_sub(before) / u64::from(plan.sessions.max(1));
    Ok(Row { fetched, envoy: each(before.envoy, after.envoy), bridge: each(before.bridge, after.bridge) })
}

async fn open(stack: &Stack, topic: &str, sessions: u32) -> Vec<Socket> {
    let open = async |_| {
        let mut socket = Socket::open(stack).await;
        let messages = socket.fetch(topic, 0, 0).await;
        assert_eq!(messages.map(|messages| messages.len()), Ok(1));
        socket
    };
    stream::iter(0..sessions).map(open).buffer_unordered(AT_ONCE).collect().await
}

/// Resident memory in bytes.
struct Resident {
    envoy: u64,
    bridge: u64,
}

/// Waits until both programs are idle.
async fn resident(stack: &Stack) -> Result<Resident, Failure> {
    let now = || -> Result<Resident, Failure> {
        let envoy = stack.envoy().process.usage()?.resident_bytes;
        Ok(Resident { envoy, bridge: stack.bridge.process.usage()?.resident_bytes })
    };
    let total = async || now().map_or(0.0, |now| (now.envoy + now.bridge) as f64);
    settles("resident memory", Duration::from_secs(30), total).await;
    now()
}

/// Bytes of the fetched record: a small answer, and one that nearly fills `read.max_bytes`.
const FETCHED: [usize; 2] = [100, 250 * 1024];
/// Sessions before the measured ones.
const FIRST: u32 = 100;
/// Sessions that are opened concurrently.
const AT_ONCE: usize = 50;
