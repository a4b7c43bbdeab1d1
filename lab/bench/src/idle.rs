//! Measures the memory of sessions that wait for their client.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::waiting::settles;

use crate::figures::Figures;
use crate::place::{gateway, stack};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("idle      {} sessions after one fetch each", plan.sessions));
    allow_many_files()?;
    let kafka = Kafka::start().await?;
    for fetched in FETCHED {
        let topic = kafka.topic("idle", 1, &[]).await?;
        kafka.produce(&topic, 0, &[Record::of(vec![b'x'; fetched])], Write::default()).await?;
        for (program, memory) in ["Envoy", "bridge"].into_iter().zip(measure(&kafka, &topic, plan).await?) {
            let name = format!("idle session after a fetch of {fetched} B: memory of {program}");
            figures.less(&name, "KiB", [memory]);
        }
    }
    Ok(())
}

/// KiB of a session in Envoy and bridge, on a stack of its own, which has no free memory of earlier sessions.
async fn measure(kafka: &Kafka, topic: &str, plan: &Plan) -> Result<[f64; 2], Failure> {
    let stack = stack(plan, Setup::new(plan.profile, kafka.bootstrap())).await?;
    // They fill what all sessions share, such as the bridge's cache and connections.
    let _first = open(&stack, topic, FIRST).await;
    let before = resident(&stack).await?;
    let _idle = open(&stack, topic, plan.sessions).await;
    let mut each = resident(&stack).await?;
    for (after, before) in each.iter_mut().zip(before) {
        *after = (*after - before).max(0.0) / f64::from(plan.sessions);
    }
    Ok(each)
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

/// KiB of resident memory of Envoy and bridge, once both are idle.
async fn resident(stack: &Stack) -> Result<[f64; 2], Failure> {
    let now = || -> Result<[f64; 2], Failure> {
        let [envoy, bridge] = gateway(stack);
        Ok([envoy.usage()?, bridge.usage()?].map(|usage| usage.resident_bytes as f64 / 1024.0))
    };
    let total = async || now().map_or(0.0, |[envoy, bridge]| envoy + bridge);
    settles("resident memory", Duration::from_secs(30), total).await;
    now()
}

/// Bytes of the fetched record: a small answer, and one that nearly fills `read.max_bytes`.
const FETCHED: [usize; 2] = [100, 250 * 1024];
/// Sessions before the measured ones.
const FIRST: u32 = 100;
/// Sessions that are opened concurrently.
const AT_ONCE: usize = 50;
