//! Where, how fast and how soon a cluster can be read: racks, quotas, and a topic that is being created.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, Reason};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::tools::scale;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, timeout};

use crate::breakable::{self, cluster};
use crate::pool::Config;

/// KIP-392: a cluster with `client.rack` is read from the replica of that rack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_of_the_rack_serves_its_clients() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("racks", 1, &[]).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("v")], Write::default()).await.unwrap();
    let replicas = kafka.partitions(topic).unwrap().remove(0).replicas;
    let (leader, near) = (replicas[0], replicas[1]);
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).settings("[read]\ncache_bytes = 0");
    let stack = config.properties(&format!("client.rack = \"rack-{near}\"")).own().await;
    let mut socket = Socket::open(&stack).await;
    // The leader knows which replica is near, and redirects to it.
    assert_eq!(socket.fetch(topic, 0, 0).await.unwrap().len(), 1);
    kafka.nodes[leader - 1].process.freeze();
    // Before another one can be elected.
    let read = timeout(Duration::from_millis(1_500), socket.fetch(topic, 0, 0)).await;
    kafka.thaw();
    assert_eq!(read.expect("an answer without the leader").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_client_gets_every_record() {
    /// Bytes a second, from each node.
    const RATE: u32 = 1_000_000;
    const RECORDS: usize = 400;
    const VALUE: usize = 10_000;
    let kafka = cluster().await;
    let topic = &kafka.topic("quotas", 1, &[]).await.unwrap();
    let mut random = Random::new(1);
    let records: Vec<Record> = (0..RECORDS).map(|_| Record::of(random.bytes(VALUE))).collect();
    // A broker returns whole batches, an answer ends within one, and re-read bytes count against the quota.
    kafka.produce(topic, 0, &records, Write { batch: Some(5), ..Write::default() }).await.unwrap();
    // Reads from memory count against no quota.
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).settings("[read]\ncache_bytes = 0");
    let stack = config.properties("client.id = \"throttled\"").own().await;
    kafka.limit_reads("throttled", RATE).await.unwrap();
    let mut throttled = Socket::open(&stack).await;
    // Every node learns of the quota in its own time.
    becomes("the quota holds", true, Duration::from_secs(10), async || {
        throttled.walk(topic, 0, 0).await;
        let count = stack.bridge.count("sluicegate_kafka_requests_total{", "outcome=\"throttled\"").await;
        count.is_ok_and(|count| count > 0.0)
    })
    .await;
    let start = Instant::now();
    let read = throttled.walk(topic, 0, 0).await;
    let took = start.elapsed();
    let values = read.iter().map(|message| message.value.as_deref());
    assert!(values.eq(records.iter().map(|record| record.value.as_deref())), "{} records", read.len());
    let allowed = Duration::from_secs_f64((RECORDS * VALUE) as f64 / f64::from(RATE));
    assert!((allowed / 2..allowed * 4).contains(&took), "{took:?} where {allowed:?} are allowed");
}

/// Its broker creates so many partitions for a while.
#[tokio::test]
async fn large_topic_is_subscribed_to_as_soon_as_it_exists() {
    let (created, subscribed) = (scale(900, 9_000), 100);
    let kafka = breakable::kafka().await;
    let stack = Config::on(Way::Tunnel, &kafka.bootstrap()).own().await;
    let topic = &kafka.topic("small", 1, &[]).await.unwrap().replace("small", "large");
    // It is there, without the leaders that this waits for.
    let _ = kafka.make_topic(topic, created, &[]).await;
    let partitions = (created - subscribed..created).collect();
    let sources = vec![KafkaSource { topic: topic.clone(), partitions, ..Default::default() }];
    let command = CmdKafkaSubscribe { sources, ..Default::default() };
    let mut socket = Socket::open(&stack).await;
    // On a slow machine.
    let found = timeout(Duration::from_secs(180), async {
        loop {
            match socket.ask(Req::CmdKafkaSubscribe(command.clone())).await {
                Resp::KafkaSubscribedResp(subscribed) => return subscribed,
                // The broker has created some of them only. A missing partition would not be `Transient`.
                Resp::ErrorResp(error) if error.reason() == Reason::Transient && error.retriable => {}
                other => panic!("{other:?} of a subscription"),
            }
        }
    });
    let found = found.await.expect("a subscription while the broker creates the partitions");
    assert_eq!(found.topics[0].partitions.len(), subscribed as usize);
    kafka.delete_topic(topic).await.unwrap();
}
