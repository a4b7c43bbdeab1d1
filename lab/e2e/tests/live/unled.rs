//! A partition whose only replica is on a node that is away: nobody waits for it.

use std::time::Duration;

use serde_json::json;
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::{Partition, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::breakable::cluster;
use crate::http::events::Events;
use crate::pool::{Config, REST};

/// Keyless records of as many commands.
const WRITES: usize = 40;

/// Far less than librdkafka would wait.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_without_a_leader_holds_up_no_other() {
    let mut kafka = cluster().await;
    let topic = &kafka.topic("unled", 3, &[("min.insync.replicas", "1")]).await.unwrap();
    kafka.reassign(topic, &[&[1], &[2], &[3]]).await.unwrap();
    for partition in 0..3 {
        let record = Record { key: Some(format!("k{partition}").into()), ..Record::of("\"old\"") };
        kafka.produce(topic, partition, &[record], Write::default()).await.unwrap();
    }
    let rest = json!({"path": REST, "type": "rest", "write": true, "tables": ["*"]});
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]).routes([rest]);
    let stack = config.own().await;
    kafka.nodes[2].process.kill();
    let is_unled = |partitions: &[Partition]| partitions[2].leader.is_none();
    kafka.partitions_become("lose a leader", topic, is_unled).await.unwrap();

    let path = format!("{REST}/topics/{topic}");
    let began = Instant::now();
    let mut events = Events::open(&stack, &format!("{path}/events")).await;
    let retrying = loop {
        let block = events.block().await;
        if block.contains("event: retrying") {
            break block;
        }
    };
    assert!(retrying.contains("\"partition\":2"), "{retrying}");
    let read = ask(stack.gateway(), Request::get(format!("{path}/records?timeout=0"))).await;
    assert_eq!((read.status, read.json().as_array().map(Vec::len)), (200, Some(2)), "{read:?}");
    assert_eq!(read.header("sluicegate-next-offset"), Some("0:1,1:1,2:earliest"));
    for (key, status) in [("k0", 200), ("k1", 200), ("k2", 503)] {
        let found = ask(stack.gateway(), Request::get(format!("{path}/table/{key}"))).await;
        assert_eq!(found.status, status, "{key}: {found:?}");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    let mut socket = Socket::open(&stack).await;
    let record = |partition| ProduceRecord {
        topic: topic.clone(),
        partition,
        value: Some("\"new\"".into()),
        ..ProduceRecord::default()
    };
    let began = Instant::now();
    for _ in 0..WRITES {
        let written = socket.produce(vec![record(None)]).await.unwrap().remove(0);
        assert!(written.error.is_none() && written.partition != 2, "{written:?}");
    }
    let refused = socket.produce(vec![record(Some(2))]).await.unwrap().remove(0).error.unwrap();
    assert_eq!((refused.code, refused.retriable, refused.unknown_outcome), (5, true, false), "{refused:?}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    events.collect(WRITES).await;

    kafka.up().await.unwrap();
    // The stream has not begun there yet.
    kafka.produce(topic, 2, &[Record::of("\"back\"")], Write::default()).await.unwrap();
    events.collect(WRITES + 1).await;
    assert_eq!(events.values(2), ["back"]);
}
