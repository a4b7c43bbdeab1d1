//! Leaders that die while the bridge writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::cluster::{cluster, healed};
use crate::replicas::writing_gateway;
use crate::told::{Told, comes_about, numbers, write};

/// A record is acknowledged once two replicas have it, so the next leader has it, too; and the bridge sends again what had
/// no answer, of which the next leader knows what it has already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_leaders_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = cluster().await;
    let topic = &kafka.topic("led", 1, &[("min.insync.replicas", "2")]).await.unwrap();
    let stack = writing_gateway(&kafka.bootstrap(), "message.timeout.ms = 20000\n").await;
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Told>>::default());
    let writing = tokio::spawn(write(stack.url(), topic.clone(), Arc::clone(&stop), Arc::clone(&told)));
    for _ in 0..KILLS {
        more_is_acknowledged(&told).await;
        let leader = kafka.partitions(topic).unwrap()[0].leader.expect("a leader");
        kafka.nodes[leader - 1].process.kill();
        more_is_acknowledged(&told).await;
        kafka.up().await.unwrap();
        kafka.partitions_become("heal", topic, healed).await.unwrap();
    }
    more_is_acknowledged(&told).await;
    stop.store(true, Ordering::Relaxed);
    tokio::time::timeout(Duration::from_secs(60), writing).await.expect("an end").unwrap();
    let told = told.lock().await;
    let written = numbers(&kafka, topic, 0);
    told.report("leaders", &written);
    told.check(&written);
}

async fn more_is_acknowledged(told: &Mutex<Told>) {
    const MORE: usize = 1_000;
    let before = told.lock().await.acknowledged.len();
    comes_about("further acknowledgements", told, |told| told.acknowledged.len() >= before + MORE).await;
}
