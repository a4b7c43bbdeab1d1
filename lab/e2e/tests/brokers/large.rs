//! A topic of so many partitions that their broker creates them for a while.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, Reason};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use tokio::time::timeout;

use crate::brokers::cluster::{cluster, gateway};

#[tokio::test]
async fn large_topic_is_subscribed_to_as_soon_as_it_exists() {
    // Its broker needs the machine for itself.
    let _alone = cluster().await;
    let kafka = Kafka::start().await.unwrap();
    let stack = gateway(&kafka.bootstrap(), "", &[]).await;
    // It is there, without the leaders that this waits for.
    let _ = kafka.make_topic("large", CREATED, &[]).await;
    let partitions = (CREATED - SUBSCRIBED..CREATED).collect();
    let sources = vec![KafkaSource { topic: "large".to_owned(), partitions, ..Default::default() }];
    let command = CmdKafkaSubscribe { sources, ..Default::default() };
    let mut socket = Socket::open(&stack).await;
    let subscribed = timeout(CREATION, async {
        loop {
            match socket.ask(Req::CmdKafkaSubscribe(command.clone())).await {
                Resp::KafkaSubscribedResp(subscribed) => return subscribed,
                // The broker has created some of them only. A missing partition would not be `Transient`.
                Resp::ErrorResp(error) if error.reason() == Reason::Transient && error.retriable => {}
                other => panic!("{other:?} of a subscription"),
            }
        }
    });
    let subscribed = subscribed.await.expect("a subscription while the broker creates the partitions");
    assert_eq!(subscribed.topics[0].partitions.len(), usize::try_from(SUBSCRIBED).unwrap());
}

/// The time in which a broker creates them on a slow machine.
const CREATION: Duration = Duration::from_secs(180);

const CREATED: i32 = 9_000;
const SUBSCRIBED: i32 = 1_000;
