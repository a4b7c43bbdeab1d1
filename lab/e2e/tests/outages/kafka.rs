//! Kafka dies or hangs, and returns: sessions stay open, and every command is answered in bounded time.

use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, kafka_source};
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::http;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::{Socket, fetch, list_offset, ping};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use tokio::time::Instant;

use crate::outages::stacks::{assert_unharmed, mortal_kafka, ready};

/// Limit for a command to a broker that refuses connections: no wait is of use, but the machine may be busy.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// A command that asks nothing of Kafka.
const PING_WITHIN: Duration = Duration::from_secs(1);
/// From Kafka's return to fetches that work: the longest back-off is a second, a broker that was away for long is
/// readmitted by its controller after some more.
const BACK_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn commands_fail_at_once_while_kafka_is_down() {
    let mut kafka = mortal_kafka().await;
    let topic = topic(&kafka).await;
    // Records that were read before would be answered from memory.
    let mut stack = ready(Profile::Tunnel, &kafka, "[read]\ncache_bytes = 0\n").await;
    let mut old = Socket::open(&stack).await;
    assert_reads(&mut old, &topic).await;

    kafka.kill();
    check_commands_fail(&mut old, &topic, REFUSED_WITHIN).await;
    check_readiness(&stack, REFUSED_WITHIN).await;
    let mut new = Socket::open(&stack).await;
    check_commands_fail(&mut new, &topic, REFUSED_WITHIN).await;

    kafka.up().await.unwrap();
    stack.ready_within(BACK_WITHIN).await.unwrap();
    assert_reads(&mut old, &topic).await;
    assert_reads(&mut new, &topic).await;

    // A bridge that never saw its Kafka starts all the same.
    kafka.kill();
    stack.bridge.process.kill();
    stack.bridge.up().await.unwrap();
    let mut first = Socket::open(&stack).await;
    check_commands_fail(&mut first, &topic, REFUSED_WITHIN).await;
    check_readiness(&stack, REFUSED_WITHIN).await;
    kafka.up().await.unwrap();
    stack.ready_within(BACK_WITHIN).await.unwrap();
    assert_reads(&mut first, &topic).await;
    assert_unharmed(&stack).await;
}

#[tokio::test]
async fn frozen_broker_is_told_within_five_seconds() {
    let mut kafka = mortal_kafka().await;
    let topic = topic(&kafka).await;
    let stack = ready(Profile::Tunnel, &kafka, "").await;
    let mut socket = Socket::open(&stack).await;
    let from = Some(kafka_source::From::Timestamp(-2));
    let sources = vec![KafkaSource { topic: topic.clone(), from, ..Default::default() }];
    socket.send(Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, ..Default::default() })).await;
    let event = async |socket: &mut Socket| loop {
        if let (_, Resp::KafkaSubscriptionEvent(event)) = socket.receive().await {
            return event.event.unwrap();
        }
    };
    assert!(matches!(event(&mut socket).await, Event::CaughtUp(_)));
    kafka.freeze();
    let frozen = Instant::now();
    let told = event(&mut socket).await;
    assert!(matches!(told, Event::Retrying(_)), "{told:?}");
    assert!(frozen.elapsed() < Duration::from_secs(5), "after {:?}", frozen.elapsed());
    kafka.thaw();
    assert!(matches!(event(&mut socket).await, Event::CaughtUp(_)));
    kafka.produce(&topic, 0, &[Record::of("2")], Write::default()).await.unwrap();
    let (_, Resp::KafkaDeliveryResp(delivery)) = socket.receive().await else { panic!("no delivery") };
    assert_eq!(delivery.messages.len(), 1);
}

/// A topic of one record.
async fn topic(kafka: &Kafka) -> String {
    let topic = kafka.topic("outage", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &[Record::of("value")], Write::default()).await.unwrap();
    topic
}

async fn assert_reads(socket: &mut Socket, topic: &str) {
    let read = socket.fetch(topic, 0, 0).await.unwrap();
    assert_eq!(
        read.iter().map(|message| message.value.as_deref()).collect::<Vec<_>>(),
        [Some(&b"value"[..])]
    );
}

/// Every command of Kafka's, all sent at once, gets its own error; a ping behind them waits for none of them.
async fn check_commands_fail(socket: &mut Socket, topic: &str, within: Duration) {
    let commands = [
        ("failed to list offset", list_offset(topic, 0, -1)),
        ("failed to list offset", list_offset(topic, 0, -2)),
        ("failed to list offset", list_offset(topic, 0, 0)),
        ("failed to fetch message", fetch(topic, 0, 0)),
        ("failed to fetch message", fetch(topic, 0, 1)),
        ("failed to fetch message", fetch("never-seen", 0, 0)),
    ];
    let start = Instant::now();
    let mut open = Vec::new();
    for (what, command) in commands {
        let shown = match &command {
            Req::CmdKafkaFetch(fetch) => fetch.topic.clone(),
            _ => topic.to_owned(),
        };
        let text = format!("{what}, topic: {shown}, partition: 0, err: ");
        open.push((socket.send(command).await, text));
    }
    let pinged = socket.send(ping()).await;
    let mut ponged = false;
    while !open.is_empty() || !ponged {
        let (sequence, resp) = socket.receive().await;
        let took = start.elapsed();
        match resp {
            Resp::PongResp(_) => {
                assert_eq!(sequence, pinged);
                assert!(took < PING_WITHIN, "the pong took {took:?}");
                ponged = true;
            }
            Resp::ErrorResp(error) => {
                let at = open.iter().position(|(asked, _)| *asked == sequence).expect("an open sequence");
                let (_, text) = open.swap_remove(at);
                assert!(error.message.starts_with(&text), "{:?} instead of {text:?}", error.message);
                assert!(error.retriable, "{error:?}");
                assert!(took < within, "{:?} took {took:?}", error.message);
            }
            other => panic!("{other:?} from a Kafka that is down"),
        }
    }
}

/// The bridge lives, and says that a fetch would not work.
async fn check_readiness(stack: &Stack, within: Duration) {
    let refused = async || stack.ready().await;
    becomes("a refusal", Err("503 not ready".to_owned()), within, refused).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(stack.bridge.admin(), path).await.unwrap().status, 200, "{path}");
    }
}
