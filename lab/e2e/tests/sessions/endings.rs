//! Sessions that the bridge closes, with a code and a reason.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, KafkaFetchResp, PubSubResp};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{Raw, Upgrade, close};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use sluicegate_tests::through_nginx;
use tokio::net::TcpStream;

use crate::sessions::peer::{Peer, request};
use crate::sessions::stacks::start;

async fn drain_answers_commands_in_flight_and_closes_with_1001(way: Way) {
    let mut stack = start(way, "[read]\nwait_ms = 2000\n", Vec::new()).await;
    let topic = Kafka::shared().await.unwrap().topic("drained", 1, &[]).await.unwrap();
    let mut idle = Raw::open(stack.gateway()).await;
    let mut busy = Peer::open(&stack).await;
    let fetch = CmdKafkaFetch { topic, partition: 0, offset: 0, ..Default::default() };
    busy.send(request(7, Req::CmdKafkaFetch(fetch))).await;
    // The fetch is with the bridge once what was sent behind it has its answer.
    busy.is_idle().await;

    stack.bridge.process.terminate();
    idle.is_closed(&close(1001, "going away"), "an idle session").await;
    drop(idle);
    is_told_to_try_again(&stack).await;
    let (high_watermark, last_stable_offset, log_start_offset) = (Some(0), Some(0), Some(0));
    let ends = KafkaFetchResp { high_watermark, last_stable_offset, log_start_offset, ..Default::default() };
    let empty = Resp::KafkaFetchResp(ends);
    assert_eq!(busy.answer().await, PubSubResp { sequence: 7, resp: Some(empty) });
    let told = busy.is_closed().await.expect("a close with a code");
    assert_eq!((u16::from(told.code), told.reason.as_str()), (1001, "going away"));
    // No session is left: the bridge waits neither for `close_timeout_ms` nor for `drain_timeout_ms`, 5 s and 10 s.
    let status = stack.bridge.process.wait(Duration::from_secs(3)).await.unwrap();
    assert!(status.success(), "{status}");
    let log = stack.bridge.process.log_tail();
    assert!(!log.contains("cut off") && !log.contains("panicked"), "{log}");

    match way {
        Way::Tunnel | Way::Relay => is_told_to_try_again(&stack).await,
        Way::Nginx => {
            let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
            assert_eq!(response.status, 502, "{response:?}");
        }
        Way::Apisix => panic!("it has no sessions"),
        Way::Direct => assert!(TcpStream::connect(stack.gateway()).await.is_err(), "somebody listens"),
    }
    stack.bridge.up().await.unwrap();
    Peer::open(&stack).await.is_idle().await;
}

async fn is_told_to_try_again(stack: &Stack) {
    let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    assert!(response.text().contains("bridge"), "{response:?}");
    // Envoy answers gRPC requests with status 200 and `grpc-status` if it cannot reach their upstream.
    assert!(!response.headers.keys().any(|name| name.as_str().contains("grpc")), "{response:?}");
}

in_every_way! {
    drain_answers_commands_in_flight_and_closes_with_1001
}

through_nginx! {
    drain_answers_commands_in_flight_and_closes_with_1001
}
