//! Kills nodes, bridge and gateway, and starts them again; or discards records, pauses consumers and freezes nodes
//! besides. Meanwhile, the logs of tables lose records and get partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_stack::random::Random;
use sluicegate_stack::stack::Stack;
use tokio::time::{Instant, sleep};

use super::PARTITIONS;
use super::system::Cluster;
use super::tables::Tables;

/// Goes on for this time, and counts the kills. All parts run afterwards.
pub(super) async fn run(
    cluster: &mut Cluster,
    tables: &mut Tables,
    stack: &mut Stack,
    duration: Duration,
    random: &mut Random,
) -> BTreeMap<&'static str, usize> {
    let (start, mut kills) = (Instant::now(), BTreeMap::new());
    let mut choices = Vec::new();
    // Most subscribers are there before it begins.
    sleep(PAUSE).await;
    while start.elapsed() < duration {
        tables.disturb(cluster, random).await;
        // A short run has each kind too.
        if choices.is_empty() {
            choices.extend(0..4);
        }
        let killed = match choices.swap_remove(random.below(choices.len())) {
            0 => {
                stack.bridge.process.kill();
                sleep(DOWN).await;
                stack.bridge.up().await.unwrap();
                "bridge"
            }
            1 => {
                stack.bridge.process.terminate();
                let _ = stack.bridge.process.wait(DRAIN).await;
                stack.bridge.up().await.unwrap();
                "bridge, drained"
            }
            2 if stack.way().is_envoy() => {
                stack.envoy_mut().process.kill();
                sleep(DOWN).await;
                stack.envoy_mut().up().await.unwrap();
                "Envoy"
            }
            _ => {
                kill_node(cluster, random).await;
                "node"
            }
        };
        let count: &mut usize = kills.entry(killed).or_default();
        *count = count.saturating_add(1);
        sleep(PAUSE).await;
    }
    kills
}

/// The same, while records are discarded, consumers paused and nodes frozen.
pub(super) async fn discard(
    cluster: &mut Cluster,
    tables: &mut Tables,
    stack: &mut Stack,
    duration: Duration,
    random: &mut Random,
) -> BTreeMap<&'static str, usize> {
    let (start, mut done) = (Instant::now(), BTreeMap::new());
    let mut certain = [2, 0].into_iter();
    sleep(PAUSE).await;
    while start.elapsed() < duration {
        tables.disturb(cluster, random).await;
        let partition = i32::try_from(random.below(usize::try_from(PARTITIONS).unwrap())).unwrap();
        // Each run has a frozen node, and subscribers that come back too late.
        let choice = certain.next().unwrap_or_else(|| random.below(16));
        let what = match choice {
            0 => {
                stack.bridge.process.kill();
                sleep(DOWN).await;
                for partition in 0..PARTITIONS {
                    cluster.discard(partition).await;
                }
                stack.bridge.up().await.unwrap();
                Some("bridge killed")
            }
            1 => {
                kill_node(cluster, random).await;
                sleep(PAUSE).await;
                Some("node killed")
            }
            2 | 3 => {
                let at = random.below(cluster.nodes());
                cluster.freeze(at);
                sleep(FROZEN).await;
                cluster.thaw(at);
                sleep(PAUSE).await;
                Some("node frozen")
            }
            4..8 => cluster.pause_consumers(partition).await.then_some("consumers paused"),
            _ => cluster.discard(partition).await.then_some("records discarded"),
        };
        if let Some(what) = what {
            let count: &mut usize = done.entry(what).or_default();
            *count = count.saturating_add(1);
        }
        sleep(BREAK).await;
    }
    // Records that are discarded at last are followed by some that are not.
    sleep(PAUSE).await;
    done
}

/// A record is acknowledged by two nodes: one is killed at a time.
async fn kill_node(cluster: &mut Cluster, random: &mut Random) {
    let at = random.below(cluster.nodes());
    cluster.kill(at);
    sleep(DOWN).await;
    cluster.up(at).await;
}

/// Time that a part stays away.
const DOWN: Duration = Duration::from_secs(1);
/// Between two kills.
const PAUSE: Duration = Duration::from_secs(2);
/// Time that a node stays frozen: longer than it may take until clients are told.
const FROZEN: Duration = Duration::from_secs(6);
/// Between two things that harm no node.
const BREAK: Duration = Duration::from_millis(300);
/// The time for a drain: the bridge's default.
const DRAIN: Duration = Duration::from_secs(11);
