//! Measures what members of groups cost a bridge while their clients do nothing, and holds the promise about their memory.

use std::time::Duration;

use serde_json::json;
use sluicegate_stack::envoy::instead;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::settles;
use tokio::time::sleep;

use crate::figures::Figures;
use crate::place::{Meter, bridge_of, stack_with};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("members   {MEMBERS} idle members of {GROUPS} groups"));
    let kafka = Kafka::start().await?;
    let topic = kafka.topic("members", 12, &[]).await?;
    let route = json!({"path": "/kafka", "type": "rest", "consume": ["*"]}).to_string();
    let stack = stack_with(plan, bridge_of(&kafka, ""), vec![instead("", &[&route])]).await?;
    // They fill what all members share.
    join(&stack, &topic, FIRST).await?;
    settled(&stack).await;
    let process = &stack.bridge.process;
    let before = process.usage()?;
    join(&stack, &topic, MEMBERS).await?;
    let joined = process.usage()?;
    settled(&stack).await;
    let after = process.usage()?;
    let meter = Meter::start([process])?;
    sleep(IDLE).await;
    let [cpu] = meter.seconds()?;
    let memory = after.resident_bytes.saturating_sub(before.resident_bytes);
    let mib = memory as f64 / f64::from(1 << 20);
    let more = |after: u64, before: u64| [after.saturating_sub(before) as f64];
    let name = |what: &str| format!("{MEMBERS} idle members: {what} of the bridge");
    figures.less(&name("memory"), "MiB", [mib]);
    figures.less(&name("threads"), "", more(after.threads, before.threads));
    figures.less(&name("descriptors"), "", more(after.descriptors, before.descriptors));
    figures.less(&name("descriptors, just joined,"), "", more(joined.descriptors, before.descriptors));
    figures.less(&name("CPU"), "% of a core", [100.0 * cpu / IDLE.as_secs_f64()]);
    if mib > MOST_MIB {
        return Err(format!("{MEMBERS} idle members cost {mib:.0} MiB: expected at most {MOST_MIB}").into());
    }
    Ok(())
}

/// Creates members that subscribe to the topic.
async fn join(stack: &Stack, topic: &str, members: usize) -> Result<(), Failure> {
    for number in 0..members {
        let group = format!("/kafka/consumers/{members}-{}", number % GROUPS);
        let name = format!("member-{number}");
        let created = json!({ "name": name });
        let subscription = json!({ "topics": [topic] });
        for (path, body) in
            [(group.clone(), created), (format!("{group}/instances/{name}/subscription"), subscription)]
        {
            let post = Request::post(path, body.to_string()).with("content-type", TYPE).with("accept", TYPE);
            let answer = ask(stack.gateway(), post).await;
            if answer.status >= 300 {
                return Err(format!("a member is answered with {}: {}", answer.status, answer.text()).into());
            }
        }
    }
    Ok(())
}

/// Waits until the groups are stable, and connections for joins have ended.
async fn settled(stack: &Stack) {
    sleep(IDLE).await;
    let memory =
        async || stack.bridge.process.usage().map_or(0.0, |usage| usage.resident_bytes as f64 / 1024.0);
    settles("resident memory", Duration::from_secs(30), memory).await;
}

const MEMBERS: usize = 100;
const GROUPS: usize = 10;
/// Members before the measured ones.
const FIRST: usize = 10;
/// The promise.
const MOST_MIB: f64 = 100.0;
/// Longer than connections of joins are kept.
const IDLE: Duration = Duration::from_secs(70);
const TYPE: &str = "application/vnd.kafka.v2+json";
