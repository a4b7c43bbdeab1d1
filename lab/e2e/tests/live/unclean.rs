//! An unclean leader election cuts a log whose end the bridge has in memory.

use sluicegate_protocol::metadata::CLUSTER;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaSubscribe, KafkaMessage, KafkaSource, kafka_source};
use sluicegate_stack::kafka::{Kafka, Partition, Record, Write};
use sluicegate_stack::socket::{Socket, messages};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::breakable::{cluster, healed, lose, two_replicas};
use crate::pool::{Config, direct};

const OFFSET_OUT_OF_RANGE: i32 = 1;
const KEPT: usize = 5;
const LOST: usize = 5;
const NEW: usize = 10;
/// Bytes of a lost record. All of them are less than a fetch can wait for.
const LARGE: usize = 2_000;
const MIN_BYTES: u32 = 16_384;

/// The bridge has this Kafka as two clusters, which learn of the new leader at different times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_records_are_not_served_beside_those_of_the_new_leader() {
    let mut kafka = cluster().await;
    let unclean = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    let topic = &kafka.topic("unclean", 1, &unclean).await.unwrap();
    let (leader, follower) = two_replicas(&kafka, topic).await;
    write(&kafka, topic, "kept", KEPT, 301).await;
    lose(&mut kafka, topic, (leader, follower)).await;
    write(&kafka, topic, &"lost".repeat(LARGE / 4), LOST, 302).await;

    let stack = start(&kafka).await;
    let open = async |cluster| direct(&stack, (CLUSTER, cluster)).await;
    let (mut first, mut second) = (open("default").await, open("later").await);
    let mut forgetful = open("forgetful").await;
    for socket in [&mut first, &mut second] {
        assert_eq!(socket.fetch(topic, 0, 0).await.unwrap().len(), KEPT + LOST);
    }
    let mut subscribed = open("default").await;
    let delivered = |resp: &Resp| matches!(resp, Resp::KafkaDeliveryResp(at) if at.next_offset == 10);
    for socket in [&mut subscribed, &mut forgetful] {
        socket.send(subscribe(topic)).await;
        while !delivered(&socket.receive().await.1) {}
    }
    let before = held(&stack).await;

    kafka.nodes[leader - 1].process.kill();
    kafka.up_only(follower).await.unwrap();
    let is_led = |partitions: &[Partition]| partitions.iter().all(|one| one.leader == Some(follower));
    kafka.partitions_become("elect the other replica", topic, is_led).await.unwrap();
    // The new log is shorter than what was read.
    let kept = kafka.read(topic, 0);
    assert_eq!(kept.len(), KEPT);
    assert_eq!(across(&mut first, topic).await, kept);
    assert_eq!(first.fetch(topic, 0, 0).await.unwrap(), kept);
    for lost in KEPT + 1..=KEPT + LOST {
        let error = first.fetch(topic, 0, i64::try_from(lost).unwrap()).await.unwrap_err();
        assert_eq!(
            (error.code, error.earliest_offset, error.latest_offset),
            (OFFSET_OUT_OF_RANGE, Some(0), Some(5))
        );
    }

    // The new log is longer than what was read.
    write(&kafka, topic, "new", NEW, 303).await;
    let new = kafka.read(topic, 0);
    assert_eq!(new.len(), KEPT + NEW);
    for socket in [&mut second, &mut first] {
        assert_eq!(across(socket, topic).await, new);
        assert_eq!(socket.walk(topic, 0, 0).await, new);
        let past = i64::try_from(KEPT + LOST).unwrap();
        assert_eq!(socket.fetch(topic, 0, past).await.unwrap(), new[KEPT + LOST..]);
    }
    // Offset 10 is another record now.
    for socket in [&mut subscribed, &mut forgetful] {
        let error = loop {
            match socket.receive().await.1 {
                Resp::KafkaSubscriptionEvent(_) => {}
                Resp::ErrorResp(error) => break error,
                other => panic!("{other:?} from a log that has lost what was delivered"),
            }
        };
        assert_eq!((error.code, error.earliest_offset), (OFFSET_OUT_OF_RANGE, Some(0)), "{error:?}");
        assert!(error.message.contains("from offset 5 on were lost"), "{error:?}");
    }
    let after = held(&stack).await;
    assert!(after < before / 2.0, "{after} of {before} bytes are still in memory");

    kafka.up().await.unwrap();
    kafka.partitions_become("heal", topic, healed).await.unwrap();
    for socket in [&mut first, &mut second] {
        assert_eq!(socket.walk(topic, 0, 0).await, new);
    }
}

/// A bridge that keeps what it reads for longer than the test takes, and sends no pings: sockets that wait for an election
/// answer none.
async fn start(kafka: &Kafka) -> Stack {
    let bootstrap = kafka.bootstrap();
    let cluster = |more| format!("bootstrap.servers = {bootstrap:?}\n{more}");
    Config::on(Way::Direct, &bootstrap)
        .cluster("later", &cluster(""))
        // Its metadata is out of date at any time.
        .cluster("forgetful", &cluster("metadata.max.age.ms = 1"))
        .environment("SLUICEGATE_READ__CACHE_MS", "900000")
        .environment("SLUICEGATE_SESSION__PING_INTERVAL_MS", "900000")
        .own()
        .await
}

/// A fetch from the start that waits for more than what was read before.
async fn across(socket: &mut Socket, topic: &str) -> Vec<KafkaMessage> {
    let fetch = CmdKafkaFetch {
        topic: topic.to_owned(),
        min_bytes: MIN_BYTES,
        max_wait_ms: Some(1_000),
        ..Default::default()
    };
    messages(socket.ask(Req::CmdKafkaFetch(fetch)).await).unwrap()
}

/// A subscription to the whole topic.
fn subscribe(topic: &str) -> Req {
    let from = Some(kafka_source::From::Offset(0));
    let source = KafkaSource { topic: topic.to_owned(), from, ..Default::default() };
    Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources: vec![source], ..Default::default() })
}

/// Bytes of records in the bridge's memory.
async fn held(stack: &Stack) -> f64 {
    stack.bridge.count("sluicegate_read_cache_bytes", "").await.unwrap()
}

/// By a producer that has seen nothing of the topic before: `batch` is one of the test's own.
async fn write(kafka: &Kafka, topic: &str, value: &str, count: usize, batch: usize) {
    let how = Write { batch: Some(batch), ..Write::default() };
    kafka.produce(topic, 0, &vec![Record::of(value); count], how).await.unwrap();
}
