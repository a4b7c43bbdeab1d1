//! Clients that read: through the gateway, and bare ones.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::Message as NatsMessage;
use futures_util::StreamExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaSubscribe, CmdNatsFetch, KafkaSource, Snapshot};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::socket::Socket;

use super::{Log, Read, System, Took};
use crate::Failure;

/// Walks the log through the gateway, with one fetch in flight.
pub(crate) async fn walk(url: &str, system: System, log: &Log) -> Result<Read, Failure> {
    let mut socket = Socket::open_with(url).await;
    let (mut read, mut took) = Read::default();
    for _ in 0..log.rounds {
        let mut offset = match system {
            System::Kafka => 0,
            System::Nats => 1,
        };
        while offset < log.end {
            let asked = Instant::now();
            let answer = socket.ask(fetch(system, log, offset)).await;
            took.push(asked.elapsed());
            for found in offsets(answer)? {
                if found != offset {
                    return Err(format!("offset {found} where {offset} was expected").into());
                }
                offset += 1;
                read += 1;
            }
        }
    }
    Ok((read, took))
}

fn fetch(system: System, log: &Log, offset: i64) -> Req {
    let (topic, stream, decode) = (log.topic.clone(), log.topic.clone(), log.decodes);
    match system {
        System::Kafka => Req::CmdKafkaFetch(CmdKafkaFetch { topic, offset, decode, ..Default::default() }),
        System::Nats => Req::CmdNatsFetch(CmdNatsFetch { stream, sequence: offset, ..Default::default() }),
    }
}

/// The offset of each message.
fn offsets(answer: Resp) -> Result<Vec<i64>, Failure> {
    match answer {
        Resp::KafkaFetchResp(answer) => Ok(answer.messages.iter().map(|message| message.offset).collect()),
        Resp::NatsFetchResp(answer) => Ok(answer.messages.iter().map(|message| message.sequence).collect()),
        other => Err(format!("a fetch was answered by {other:?}").into()),
    }
}

/// Takes the snapshot of a table through the gateway, which has as many keys as the log's end says.
pub(crate) async fn hold(url: &str, log: &Log) -> Result<Read, Failure> {
    let mut socket = Socket::open_with(url).await;
    let source = KafkaSource { topic: log.topic.clone(), ..Default::default() };
    let snapshot = Snapshot::LatestPerKey.into();
    let command = CmdKafkaSubscribe { sources: vec![source], snapshot, ..Default::default() };
    socket.send(Req::CmdKafkaSubscribe(command)).await;
    let mut read = 0;
    loop {
        match socket.receive().await.1 {
            Resp::KafkaDeliveryResp(delivery) => read += delivery.messages.len() as u64,
            Resp::KafkaSubscriptionEvent(event) => {
                if let Some(Event::SnapshotEnd(_)) = event.event {
                    break;
                }
            }
            Resp::KafkaSubscribedResp(_) => {}
            other => return Err(format!("a table was answered by {other:?}").into()),
        }
    }
    match i64::try_from(read) {
        Ok(count) if count == log.end => Ok((read, Took::new())),
        _ => Err(format!("{read} of {} keys", log.end).into()),
    }
}

/// Reads a stream over a connection and through an ordered pull consumer of its own.
///
/// Calls JetStream's API itself: async-nats' consumers add channels and timers to each message, and would be slower.
pub(crate) async fn pull(server: SocketAddr, log: &Log) -> Result<Read, Failure> {
    let Log { topic: stream, end, rounds, .. } = log;
    let streams = Streams::connect(server).await?;
    let client = streams.client();
    let mut read = 0;
    for _ in 0..*rounds {
        let inbox = client.new_inbox();
        let mut deliveries = client.subscribe(inbox.clone()).await?;
        let consumer = inbox.replace('.', "-");
        let config = json!({
            "name": consumer, "deliver_policy": "all", "ack_policy": "none", "max_deliver": 1,
            "mem_storage": true, "num_replicas": 1, "inactive_threshold": 30_000_000_000_u64,
        });
        let request = json!({ "stream_name": stream, "config": config });
        streams.call(&format!("CONSUMER.CREATE.{stream}.{consumer}"), &request).await?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let request = json!({ "batch": BATCH, "expires": 30_000_000_000_u64 }).to_string();
        let ask = || client.publish_with_reply(subject.clone(), inbox.clone(), request.clone().into());
        // One request ahead: the server never waits for the client.
        ask().await?;
        let (mut next, mut left) = (1, 0);
        while next < *end {
            if left == 0 {
                ask().await?;
                left = BATCH;
            }
            let message = deliveries.next().await.ok_or("the connection ended")?;
            if sequence(&message) != Some(next) {
                return Err(format!("{message:?} where sequence {next} was expected").into());
            }
            (next, left) = (next + 1, left - 1);
            read += 1;
        }
        streams.call(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &json!({})).await?;
    }
    Ok((read, Took::new()))
}

/// From the subject for acknowledgements: `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…`.
fn sequence(message: &NatsMessage) -> Option<i64> {
    message.reply.as_ref()?.split('.').nth(5)?.parse().ok()
}

/// librdkafka consumers that read a topic from the broker, each on a thread of its own.
pub(crate) fn consume(bootstrap: &str, log: &Log) -> Result<Vec<Read>, Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..log.clients).map(|_| scope.spawn(|| consume_alone(bootstrap, log))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a consumer's thread ended")?).collect()
    })
}

fn consume_alone(bootstrap: &str, log: &Log) -> Result<Read, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // `assign` needs a group; nothing is committed.
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        // By default, a consumer whose queue was full pauses for 1 s.
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut read = 0;
    for _ in 0..log.rounds {
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&log.topic, 0, Offset::Offset(0))?;
        consumer.assign(&from)?;
        let mut offset = 0;
        while offset < log.end {
            let message = consumer.poll(PATIENCE).ok_or("no message came")??;
            offset = message.offset() + 1;
            read += 1;
        }
    }
    Ok((read, Took::new()))
}

/// Messages of a request to JetStream. Larger batches are not faster.
const BATCH: u32 = 1_000;
/// A silent broker ends the measurement after this.
const PATIENCE: Duration = Duration::from_secs(20);
