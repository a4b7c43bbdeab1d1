//! Kafka dies or hangs, and returns: sessions stay open, and every command is answered in bounded time.

use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, kafka_source};
use sluicegate_stack::http;
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::socket::{Socket, fetch, ping};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, timeout};

use crate::breakable;
use crate::outages::assert_unharmed;
use crate::pool::Config;

/// Limit for a command to a broker that refuses connections: no wait is of use, but the machine may be busy.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// From Kafka's return to fetches that work: the longest back-off is a second, a broker that was away for long is
/// readmitted by its controller after some more.
const BACK_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn commands_fail_at_once_while_kafka_is_down() {
    let mut kafka = breakable::kafka().await;
    let topic = &kafka.topic("outage", 1, &[]).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("value")], Write::default()).await.unwrap();
    // Records that were read before would be answered from memory.
    let config = Config::on(Way::Tunnel, &kafka.bootstrap()).settings("[read]\ncache_bytes = 0");
    let mut stack = config.own().await;
    let mut old = Socket::open(&stack).await;
    assert_eq!(old.fetch(topic, 0, 0).await.unwrap().len(), 1);

    kafka.kill();
    fails(&mut old, topic).await;
    is_not_ready(&stack).await;
    fails(&mut Socket::open(&stack).await, topic).await;
    kafka.up().await.unwrap();
    stack.ready_within(BACK_WITHIN).await.unwrap();
    assert_eq!(old.fetch(topic, 0, 0).await.unwrap().len(), 1);

    // A bridge that never saw its Kafka starts all the same.
    kafka.kill();
    stack.bridge.process.kill();
    stack.bridge.up().await.unwrap();
    let mut first = Socket::open(&stack).await;
    fails(&mut first, topic).await;
    is_not_ready(&stack).await;
    kafka.up().await.unwrap();
    stack.ready_within(BACK_WITHIN).await.unwrap();
    assert_eq!(first.fetch(topic, 0, 0).await.unwrap().len(), 1);

    // A broker that hangs is told within five seconds.
    let from = Some(kafka_source::From::Timestamp(-2));
    let sources = vec![KafkaSource { topic: topic.clone(), from, ..Default::default() }];
    first.send(Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, ..Default::default() })).await;
    let event = async |socket: &mut Socket| loop {
        if let (_, Resp::KafkaSubscriptionEvent(event)) = socket.receive().await {
            return event.event.unwrap();
        }
    };
    assert!(matches!(event(&mut first).await, Event::CaughtUp(_)));
    kafka.freeze();
    let told = timeout(Duration::from_secs(5), event(&mut first)).await.expect("an event within 5 s");
    assert!(matches!(told, Event::Retrying(_)), "{told:?}");
    kafka.thaw();
    assert!(matches!(event(&mut first).await, Event::CaughtUp(_)));
    assert_unharmed(&stack).await;
}

/// A fetch is refused soon, and a ping behind it does not wait for that.
async fn fails(socket: &mut Socket, topic: &str) {
    let asked = Instant::now();
    let fetched = socket.send(fetch(topic, 0, 0)).await;
    let pinged = socket.send(ping()).await;
    for _ in 0..2 {
        let (sequence, resp) = socket.receive().await;
        let took = asked.elapsed();
        match resp {
            Resp::PongResp(_) => assert!(sequence == pinged && took < Duration::from_secs(1), "{took:?}"),
            Resp::ErrorResp(error) => {
                let about = format!("failed to fetch message, topic: {topic}, partition: 0, err: ");
                assert!(error.message.starts_with(&about) && error.retriable, "{error:?}");
                assert!(sequence == fetched && took < REFUSED_WITHIN, "{took:?}");
            }
            other => panic!("{other:?} from a Kafka that is down"),
        }
    }
}

/// The bridge lives, and says that a fetch would not work.
async fn is_not_ready(stack: &Stack) {
    let refused = async || stack.ready().await;
    becomes("a refusal", Err("503 not ready".to_owned()), REFUSED_WITHIN, refused).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(stack.bridge.admin(), path).await.unwrap().status, 200, "{path}");
    }
}
