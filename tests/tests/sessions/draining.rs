//! A bridge that is asked to stop ends its sessions in order.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, KafkaFetchResp, PubSubResp};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::Kafka;

use crate::in_both_profiles;
use crate::peer::{Peer, request};
use crate::raw::{Raw, Upgrade, close};
use crate::stacks::start;

async fn a_drain_answers_what_is_in_flight_closes_with_1001_and_lets_nobody_in(profile: Profile) {
    let mut stack = start(profile, "[read]\nwait_ms = 2000\n", Vec::new()).await;
    let topic = Kafka::shared().await.unwrap().topic("drained", 1, &[]).await.unwrap();
    let mut idle = Raw::open(&stack).await;
    let mut busy = Peer::open(&stack).await;
    let fetch = CmdKafkaFetch { topic, partition: 0, offset: 0 };
    busy.send(request(7, Req::CmdKafkaFetch(fetch))).await;
    // The fetch is with the bridge once what was sent behind it has its answer.
    busy.is_idle().await;

    stack.bridge.process.terminate();
    idle.is_closed(&close(1001, "going away"), "an idle session").await;
    let response = Raw::connect(stack.envoy.gateway()).await.ask(&Upgrade::default().bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    assert!(response.body.contains("bridge"), "{response:?}");
    let empty = Resp::KafkaFetchResp(KafkaFetchResp::default());
    assert_eq!(busy.answer().await, PubSubResp { sequence: 7, resp: Some(empty) });
    let told = busy.is_closed().await.expect("a close with a code");
    assert_eq!((u16::from(told.code), told.reason.as_str()), (1001, "going away"));
    // All sessions are over, so what is left of the ten seconds' grace is not used.
    let status = stack.bridge.process.wait(Duration::from_secs(5)).await.unwrap();
    assert!(status.success(), "{status}");
    let log = stack.bridge.process.log_tail();
    assert!(!log.contains("cut off") && !log.contains("panicked"), "{log}");

    let response = Raw::connect(stack.envoy.gateway()).await.ask(&Upgrade::default().bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    stack.bridge.up().await.unwrap();
    Peer::open(&stack).await.is_idle().await;
}

in_both_profiles! {
    a_drain_answers_what_is_in_flight_closes_with_1001_and_lets_nobody_in,
}
