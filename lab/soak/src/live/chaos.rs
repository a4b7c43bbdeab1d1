//! Kills nodes, bridge and gateway, and starts them again; or discards records, pauses consumers and freezes nodes
//! besides. Meanwhile, the logs of tables lose records and get partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_stack::Error;
use sluicegate_stack::bridge::Bridge;
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::Stack;
use tokio::time::{Instant, sleep};

use super::PARTITIONS;
use super::system::{Cluster, NODES};
use super::tables::Tables;

/// Goes on for this time, and counts what it does. All parts run afterwards. If it `discards`, it also deletes records,
/// pauses consumers and freezes nodes.
pub(super) async fn run(
    cluster: &mut Cluster<'_>,
    tables: &mut Tables,
    stack: &mut Stack,
    (duration, discards): (Duration, bool),
    random: &mut Random,
) -> BTreeMap<&'static str, usize> {
    let (start, mut done) = (Instant::now(), BTreeMap::new());
    // A short run has most kinds too; one that discards has a frozen node, and subscribers that come back too late.
    let mut choices: Vec<usize> = if discards { vec![0, 2] } else { Vec::new() };
    // Most subscribers are there before it begins.
    sleep(PAUSE).await;
    // On a busy machine, that can take longer than it should go on.
    let kinds = if discards { 1 } else { 3 };
    while start.elapsed() < duration || done.len() < kinds {
        tables.disturb(cluster, random).await;
        let what = if discards {
            let choice = choices.pop().unwrap_or_else(|| random.below(16));
            let what = discard(choice, cluster, stack, random).await;
            sleep(BREAK).await;
            what
        } else {
            if choices.is_empty() {
                choices.extend(0..4);
            }
            let what = kill(choices.swap_remove(random.below(choices.len())), cluster, stack, random).await;
            sleep(PAUSE).await;
            Some(what)
        };
        if let Some(what) = what {
            let count: &mut usize = done.entry(what).or_default();
            *count = count.saturating_add(1);
        }
    }
    if discards {
        // Records that are discarded at last are followed by some that are not.
        sleep(PAUSE).await;
    }
    done
}

async fn kill(
    choice: usize,
    cluster: &mut Cluster<'_>,
    stack: &mut Stack,
    random: &mut Random,
) -> &'static str {
    match choice {
        0 => {
            kill_bridge(any_bridge(stack, random), DOWN).await;
            "bridge"
        }
        1 => {
            let _ = drain(any_bridge(stack, random)).await;
            "bridge, drained"
        }
        2 if stack.way().is_envoy() => {
            kill_envoy(stack).await;
            "Envoy"
        }
        _ => {
            kill_node(cluster, random).await;
            "node"
        }
    }
}

/// None: the cluster cannot do it at the moment.
async fn discard(
    choice: usize,
    cluster: &mut Cluster<'_>,
    stack: &mut Stack,
    random: &mut Random,
) -> Option<&'static str> {
    let partition = i32::try_from(random.below(usize::try_from(PARTITIONS).unwrap())).unwrap();
    match choice {
        0 => {
            // All of them: whoever comes back to another one can be in time.
            for bridge in std::iter::once(&mut stack.bridge).chain(&mut stack.others) {
                bridge.process.kill();
            }
            sleep(DOWN).await;
            for partition in 0..PARTITIONS {
                cluster.delete(&cluster.source(), partition, None).await;
            }
            for bridge in std::iter::once(&mut stack.bridge).chain(&mut stack.others) {
                bridge.up().await.unwrap();
            }
            Some("bridge killed")
        }
        1 => {
            kill_node(cluster, random).await;
            sleep(PAUSE).await;
            Some("node killed")
        }
        2 | 3 => {
            let at = random.below(NODES);
            cluster.node(at).freeze();
            sleep(FROZEN).await;
            cluster.node(at).thaw();
            sleep(PAUSE).await;
            Some("node frozen")
        }
        4..8 => cluster.pause_consumers(partition).await.then_some("consumers paused"),
        _ => cluster.delete(&cluster.source(), partition, None).await.then_some("records discarded"),
    }
}

/// Kills a bridge, which stays away for so long.
pub(crate) async fn kill_bridge(bridge: &mut Bridge, down: Duration) {
    bridge.process.kill();
    sleep(down).await;
    bridge.up().await.unwrap();
}

/// Drains a bridge, and starts it again.
///
/// # Errors
/// It has not ended in time.
pub(crate) async fn drain(bridge: &mut Bridge) -> Result<(), Error> {
    bridge.process.terminate();
    let ended = bridge.process.wait(DRAIN).await;
    bridge.up().await.unwrap();
    ended.map(drop)
}

pub(crate) async fn kill_envoy(stack: &mut Stack) {
    stack.envoy_mut().process.kill();
    sleep(DOWN).await;
    stack.envoy_mut().up().await.unwrap();
}

pub(crate) fn any_bridge<'a>(stack: &'a mut Stack, random: &mut Random) -> &'a mut Bridge {
    match stack.others.is_empty() || random.below(2) == 0 {
        true => &mut stack.bridge,
        false => stack.others.first_mut().unwrap(),
    }
}

/// A record is acknowledged by two nodes: one is killed at a time.
async fn kill_node(cluster: &mut Cluster<'_>, random: &mut Random) {
    let at = random.below(NODES);
    cluster.node(at).kill();
    sleep(DOWN).await;
    cluster.up(at).await;
}

/// Time that a part stays away.
pub(crate) const DOWN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(2);
/// Time that a node stays frozen: longer than it may take until clients are told.
const FROZEN: Duration = Duration::from_secs(6);
/// Between two things that harm no node.
const BREAK: Duration = Duration::from_millis(300);
/// The time for a drain: the bridge's default, and a second.
const DRAIN: Duration = Duration::from_secs(11);
