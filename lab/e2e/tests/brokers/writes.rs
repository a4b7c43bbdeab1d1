//! Leaders that die while the bridge writes.

use std::time::Duration;

use crate::brokers::cluster::{cluster, healed};
use crate::brokers::replicas::writing_gateway;
use crate::writing::told::{Told, Writing};

/// A record is acknowledged once two replicas have it, so the next leader has it, too; and the bridge sends again what had
/// no answer, of which the next leader knows what it has already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_leaders_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = cluster().await;
    let topic = &kafka.topic("led", 1, &[("min.insync.replicas", "2")]).await.unwrap();
    let stack = writing_gateway(&kafka.bootstrap(), "message.timeout.ms = 20000\n").await;
    let writing = Writing::start(stack.url(), topic);
    for _ in 0..KILLS {
        more_is_acknowledged(&writing).await;
        let leader = kafka.partitions(topic).unwrap()[0].leader.expect("a leader");
        kafka.nodes[leader - 1].process.kill();
        more_is_acknowledged(&writing).await;
        kafka.up().await.unwrap();
        kafka.partitions_become("heal", topic, healed).await.unwrap();
    }
    more_is_acknowledged(&writing).await;
    writing.end("leaders", Duration::from_secs(60), &kafka).await;
}

async fn more_is_acknowledged(writing: &Writing) {
    const MORE: usize = 1_000;
    let before = writing.told.lock().await.acknowledged.len();
    let is_more = |told: &Told| told.acknowledged.len() >= before + MORE;
    writing.comes_about("further acknowledgements", is_more).await;
}
