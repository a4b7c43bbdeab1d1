//! Writes while too few replicas are in sync.

use std::time::Duration;

use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::envoy::{Profile, writing};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

use crate::brokers::cluster::{cluster, lose, two_replicas};

/// librdkafka repeats the write, which the leader refuses (code 19), until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_without_enough_replicas_is_not_written() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("alone", 1, &[("min.insync.replicas", "2")]).await.unwrap();
    let replicas = two_replicas(&kafka, topic).await;
    lose(&mut kafka, topic, replicas).await;

    let stack = writing_gateway(&kafka.bootstrap(), "message.timeout.ms = 3000\n").await;
    let mut socket = Socket::open(&stack).await;
    let record = ProduceRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some("0".into()),
        ..Default::default()
    };
    let produced = socket.produce(vec![record]).await.unwrap();
    let refused = produced[0].error.as_ref().expect("an error");
    assert_eq!((refused.code, refused.retriable, refused.unknown_outcome), (7, true, false), "{refused:?}");
    assert_eq!(kafka.read(topic, 0), []);
}

/// A gateway to a cluster with these properties, lines of TOML, through which clients can write. It is ready.
pub(crate) async fn writing_gateway(bootstrap: &str, properties: &str) -> Stack {
    let cluster = format!("bootstrap.servers = {bootstrap:?}\n{properties}");
    let config = format!("[write]\nclusters = [\"default\"]\n[clusters.default]\n{cluster}");
    let setup = Setup {
        bridge: BridgeConfig::Text(config),
        envoy_edits: vec![writing()],
        ..Setup::new(Profile::Tunnel, bootstrap)
    };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}
