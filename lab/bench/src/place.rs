//! Kafka, gateway and bridge of a measurement, and the CPU that they use.

use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Record, Setup as KafkaSetup, Write};
use sluicegate_stack::process::{Process, Usage};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::{Failure, Plan};

/// A Kafka with Java's second compiler, as its users run it; without it, encryption is slow.
pub(crate) async fn quick_kafka() -> Result<Kafka, Failure> {
    let java = vec![QUICK_JAVA.to_owned()];
    Ok(Kafka::start_with(KafkaSetup { java, ..KafkaSetup::default() }).await?)
}

/// A gateway with these settings and a bridge, through which a fetch works.
pub(crate) async fn stack(plan: &Plan, setup: Setup) -> Result<Stack, Failure> {
    let mut stack = Stack::start(Setup { concurrency: plan.concurrency, ..setup }).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    Ok(stack)
}

/// A gateway whose bridge has this configuration, with edits of Envoy's.
pub(crate) async fn stack_with(
    plan: &Plan,
    bridge: BridgeConfig,
    envoy_edits: Vec<(String, String)>,
) -> Result<Stack, Failure> {
    stack(plan, Setup { bridge, envoy_edits, ..Setup::new(plan.profile, "") }).await
}

/// The configuration of a bridge for this Kafka, with further keys.
pub(crate) fn bridge_of(kafka: &Kafka, settings: &str) -> BridgeConfig {
    BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings: settings.to_owned() }
}

/// A limit for sockets of one address, which has a share of it.
pub(crate) const MANY_SESSIONS: &str = "[limits]\nmax_sessions = 100000\n";

/// Writes records to the only partition of a topic, as many at once as the producer's queue takes.
pub(crate) async fn fill(
    kafka: &Kafka,
    topic: &str,
    count: usize,
    record: impl Fn(usize) -> Record,
) -> Result<(), Failure> {
    for first in (0..count).step_by(RECORDS_AT_ONCE) {
        let records: Vec<Record> = (first..count.min(first + RECORDS_AT_ONCE)).map(&record).collect();
        kafka.produce(topic, 0, &records, Write::default()).await?;
    }
    Ok(())
}

pub(crate) fn gateway(stack: &Stack) -> [&Process; 2] {
    [&stack.envoy().process, &stack.bridge.process]
}

pub(crate) fn with_broker<'a>(stack: &'a Stack, kafka: &'a Kafka) -> Result<[&'a Process; 3], Failure> {
    let [envoy, bridge] = gateway(stack);
    Ok([envoy, bridge, &kafka.nodes.first().ok_or("no broker")?.process])
}

/// The CPU of processes from a moment on.
pub(crate) struct Meter<'a, const N: usize> {
    processes: [&'a Process; N],
    before: [Usage; N],
}

impl<'a, const N: usize> Meter<'a, N> {
    pub(crate) fn start(processes: [&'a Process; N]) -> Result<Self, Failure> {
        Ok(Self { processes, before: used(processes)? })
    }

    pub(crate) fn seconds(&self) -> Result<[f64; N], Failure> {
        Ok(cpu_between(self.before, used(self.processes)?))
    }
}

fn used<const N: usize>(processes: [&Process; N]) -> Result<[Usage; N], Failure> {
    let mut used = [Usage::default(); N];
    for (used, process) in used.iter_mut().zip(processes) {
        *used = process.usage()?;
    }
    Ok(used)
}

/// Seconds of CPU of each. A process that was started meanwhile begins at zero.
pub(crate) fn cpu_between<const N: usize>(before: [Usage; N], mut after: [Usage; N]) -> [f64; N] {
    for (after, before) in after.iter_mut().zip(before) {
        after.cpu = after.cpu.checked_sub(before.cpu).unwrap_or(after.cpu);
    }
    after.map(|usage| usage.cpu.as_secs_f64())
}

/// An option of Java.
pub(crate) const QUICK_JAVA: &str = "-XX:TieredStopAtLevel=4";
const RECORDS_AT_ONCE: usize = 20_000;
