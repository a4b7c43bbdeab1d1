//! Leaders that die while the bridge writes, and too few replicas to write to.

use std::time::Duration;

use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;

use crate::breakable::{cluster, healed, lose, two_replicas};
use crate::pool::Config;
use crate::writing::told::{Told, Writing};

/// A record is acknowledged once two replicas have it, so the next leader has it, too; and the bridge sends again what had
/// no answer, of which the next leader knows what it has already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_leaders_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = cluster().await;
    let topic = &kafka.topic("led", 1, &[]).await.unwrap();
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 20000").own().await;
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
    writing.end(Duration::from_secs(60), &kafka).await;
}

async fn more_is_acknowledged(writing: &Writing) {
    const MORE: usize = 1_000;
    let before = writing.told.lock().await.acknowledged.len();
    let is_more = |told: &Told| told.acknowledged.len() >= before + MORE;
    writing.comes_about("further acknowledgements", is_more).await;
}

/// librdkafka repeats the write, which the leader refuses (code 19), until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_without_enough_replicas_is_not_written() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("alone", 1, &[]).await.unwrap();
    let replicas = two_replicas(&kafka, topic).await;
    lose(&mut kafka, topic, replicas).await;
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
    let stack = config.properties("message.timeout.ms = 3000").own().await;
    let record = ProduceRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some("0".into()),
        ..Default::default()
    };
    let produced = Socket::open(&stack).await.produce(vec![record]).await.unwrap();
    let refused = produced[0].error.as_ref().expect("an error");
    assert_eq!((refused.code, refused.retriable, refused.unknown_outcome), (7, true, false), "{refused:?}");
    assert_eq!(kafka.read(topic, 0), []);
}
