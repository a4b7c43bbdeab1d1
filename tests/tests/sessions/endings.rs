//! Sessions that the bridge closes, with a code and a reason.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, KafkaFetchResp, PubSubResp};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::on_the_endpoint;
use sluicegate_tests::raw::{BINARY, CLOSE, Raw, Upgrade, close, masked};
use sluicegate_tests::stack::Stack;
use sluicegate_tests::waiting::until;
use sluicegate_tests::way::Way;
use tokio::net::TcpStream;

use crate::PATIENCE;
use crate::peer::{Peer, ping, pong, request};
use crate::stacks::start;

async fn drain_answers_commands_in_flight_and_closes_with_1001(way: Way) {
    let mut stack = start(way, "[read]\nwait_ms = 2000\n", Vec::new()).await;
    let topic = Kafka::shared().await.unwrap().topic("drained", 1, &[]).await.unwrap();
    let mut idle = Raw::open(stack.gateway()).await;
    let mut busy = Peer::open(&stack).await;
    let fetch = CmdKafkaFetch { topic, partition: 0, offset: 0 };
    busy.send(request(7, Req::CmdKafkaFetch(fetch))).await;
    // The fetch is with the bridge once what was sent behind it has its answer.
    busy.is_idle().await;

    stack.bridge.process.terminate();
    idle.is_closed(&close(1001, "going away"), "an idle session").await;
    is_told_to_try_again(&stack).await;
    let empty = Resp::KafkaFetchResp(KafkaFetchResp::default());
    assert_eq!(busy.answer().await, PubSubResp { sequence: 7, resp: Some(empty) });
    let told = busy.is_closed().await.expect("a close with a code");
    assert_eq!((u16::from(told.code), told.reason.as_str()), (1001, "going away"));
    // All sessions are over, so what is left of the ten seconds' grace is not used.
    let status = stack.bridge.process.wait(Duration::from_secs(5)).await.unwrap();
    assert!(status.success(), "{status}");
    let log = stack.bridge.process.log_tail();
    assert!(!log.contains("cut off") && !log.contains("panicked"), "{log}");

    match way {
        Way::Tunnel | Way::Internal => is_told_to_try_again(&stack).await,
        Way::Relay => {
            let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
            assert_eq!(response.status, 502, "{response:?}");
        }
        Way::Apisix => panic!("it has no sessions"),
        Way::Direct => assert!(TcpStream::connect(stack.gateway()).await.is_err(), "somebody listens"),
    }
    stack.bridge.up().await.unwrap();
    Peer::open(&stack).await.is_idle().await;
}

/// Limits of the bridge's that are lower than the filter's.
async fn limits_of_the_bridge_refuse_an_upgrade_and_end_one_session(profile: Profile) {
    let stack = start(profile, "[limits]\nmax_sessions = 2\nmax_request_bytes = 2048\n", Vec::new()).await;
    let mut bystander = Peer::open(&stack).await;
    let mut raw = Raw::open(stack.gateway()).await;
    let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    assert_eq!(response.text().trim(), "bridge at capacity (limits.max_sessions = 2)");

    let large = ping(8, &[b's'; 3000]);
    raw.write([masked(BINARY, &ping(7, b"small")), masked(BINARY, &large)].concat()).await;
    assert_eq!(raw.answer().await, pong(7, b"small"));
    let told = raw.frame().await;
    assert_eq!((told.first, &told.payload[..2]), (CLOSE, &1009_u16.to_be_bytes()[..]), "{told:?}");
    let reason = String::from_utf8(told.payload[2..].to_vec()).unwrap();
    assert!(reason.contains("2048") && reason.contains(&large.len().to_string()), "{reason}");
    raw.is_at_the_end("after the bridge's close").await;
    bystander.is_idle().await;
    // There is room again.
    until("a place for a session", PATIENCE, async || {
        let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
        if response.status == 101 { Ok(()) } else { Err(format!("{response:?}")) }
    })
    .await;
}

async fn is_told_to_try_again(stack: &Stack) {
    let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    assert!(response.text().contains("bridge"), "{response:?}");
}

on_the_endpoint! {
    drain_answers_commands_in_flight_and_closes_with_1001
}

in_both_profiles! {
    drain_answers_commands_in_flight_and_closes_with_1001
    limits_of_the_bridge_refuse_an_upgrade_and_end_one_session
}
