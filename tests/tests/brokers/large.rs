//! A topic of so many partitions that their broker creates them for a while.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;

use crate::cluster::{cluster, gateway};

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
    let mut socket = Socket::open(&stack).await;
    match socket.ask(Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, ..Default::default() })).await {
        Resp::KafkaSubscribedResp(subscribed) => {
            assert_eq!(subscribed.topics[0].partitions.len(), usize::try_from(SUBSCRIBED).unwrap());
        }
        other => panic!("{other:?} of a subscription"),
    }
}

const CREATED: i32 = 9_000;
const SUBSCRIBED: i32 = 1_000;
