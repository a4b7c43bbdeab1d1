//! KIP-392: a cluster with `client.rack` is read from the replica of that rack.

use std::time::Duration;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::waiting::becomes;

use crate::brokers::cluster::{ANSWERED_WITHIN, cluster, gateway, healed, open};
use crate::brokers::requests::fetches;
use crate::brokers::walk::{Walk, Writer, answers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rack_replica_serves_its_clients() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("racks", 1, &[]).await.unwrap();
    let replicas = kafka.partitions(topic).unwrap().remove(0).replicas;
    let (leader, near) = (replicas[0], replicas[1]);
    let properties = format!("client.id = {CLIENT:?}\nclient.rack = \"rack-{near}\"");
    let stack = gateway(&kafka.bootstrap(), "", &[("near", &properties)]).await;
    let writer = Writer::start(&kafka, topic, 0);
    let mut walks = Vec::new();
    for _ in 0..8 {
        walks.push(writer.walk(open(&stack, "near").await, topic, 0));
    }
    served_by(&kafka, &walks, near).await;

    kafka.nodes[near - 1].process.kill();
    answers(&walks, ANSWERED_WITHIN).await;
    served_by(&kafka, &walks, leader).await;

    kafka.up().await.unwrap();
    kafka.partitions_become("heal", topic, healed).await.unwrap();
    served_by(&kafka, &walks, near).await;
    let written = writer.stop().await;
    for walk in walks {
        assert_eq!(walk.end().await, Default::default(), "errors");
    }
    assert!(written > 0);
}

/// Waits until one node serves most of the records, from the first record until every socket has read on. A lagging
/// replica redirects to the leader, and a replica that has just started often lags.
async fn served_by(kafka: &Kafka, walks: &[Walk], node: usize) {
    becomes("the node that serves", Some(node), SERVED_WITHIN, async || {
        let since = fetches(kafka, CLIENT);
        let read: Vec<i64> = walks.iter().map(Walk::next).collect();
        let behind = async || walks.iter().zip(&read).filter(|(walk, read)| walk.next() < **read + 5).count();
        becomes("sockets that read nothing", 0, READ_WITHIN, behind).await;
        let served: Vec<u64> =
            fetches(kafka, CLIENT).iter().zip(&since).map(|(now, since)| now.bytes - since.bytes).collect();
        let all: u64 = served.iter().sum();
        (1..).zip(served).find(|(_, bytes)| bytes * 2 > all).map(|(node, _)| node)
    })
    .await;
}

const CLIENT: &str = "near";
/// A node that fails is missed after 2 s, and no record is acknowledged before; the rest is for a busy machine.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// After a replica has failed, the leader alone is asked for 5 s; it names the replica when it has been told of it.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
