//! Single commands.

use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CALL_PATH, CmdKafkaFetch, CmdKafkaProduce, ProduceRecord, PubSubReq, PubSubResp};

use crate::support::{Gateway, ping, start, start_before, start_with};

#[tokio::test]
async fn a_call_is_answered_with_its_sequence() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let request = PubSubReq { sequence: 4, req: Some(ping("s")) };
    let (answer, trailers) = gateway.call(CALL_PATH, &[], &request.encode_to_vec()).await;
    let answer = PubSubResp::decode(answer.unwrap()).unwrap();
    assert_eq!(answer.sequence, 4);
    assert!(matches!(answer.resp, Some(Resp::PongResp(_))));
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_failed_command_is_an_answer_and_an_unknown_one_is_named() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
    for (req, expected) in [(Some(Req::CmdKafkaFetch(fetch)), "failed to fetch"), (None, "unknown command")] {
        let request = PubSubReq { sequence: 1, req };
        let (answer, _) = gateway.call(CALL_PATH, &[], &request.encode_to_vec()).await;
        let resp = PubSubResp::decode(answer.unwrap()).unwrap().resp;
        let Some(Resp::ErrorResp(error)) = resp else { panic!("{resp:?}") };
        assert!(error.message.starts_with(expected), "{}", error.message);
    }
}

#[tokio::test]
async fn what_would_grow_when_it_is_decoded_is_refused_before() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let records = vec![ProduceRecord::default(); 1001];
    let many = Req::CmdKafkaProduce(CmdKafkaProduce { records });
    let many = PubSubReq { sequence: 1, req: Some(many) }.encode_to_vec();
    let group = [&[0x7B, 0x7C], &many[..]].concat();
    for (message, expected) in [(many, "1001%20records"), (group, "wrong%20command")] {
        let (_, trailers) = gateway.call(CALL_PATH, &[], &message).await;
        assert_eq!(trailers["grpc-status"], "3");
        let message = trailers["grpc-message"].to_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_call_writes_only_to_clusters_that_are_named() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let produce = CmdKafkaProduce { records: vec![ProduceRecord::default()] };
    let request = PubSubReq { sequence: 1, req: Some(Req::CmdKafkaProduce(produce)) };
    let (answer, _) = gateway.call(CALL_PATH, &[], &request.encode_to_vec()).await;
    let resp = PubSubResp::decode(answer.unwrap()).unwrap().resp;
    let Some(Resp::ErrorResp(error)) = resp else { panic!("{resp:?}") };
    assert_eq!(error.message, "failed to produce, err: the bridge does not write to this cluster");
}

#[tokio::test]
async fn refusals_are_grpc_statuses() {
    let bridge = start_with("gateway_secret = \"correct-horse-battery-staple\"", "").await;
    let gateway = Gateway::connect(&bridge).await;
    let (_, headers) = gateway.call(CALL_PATH, &[], &[]).await;
    assert_eq!(headers["grpc-status"], "16");
    let secret = ("sluicegate-gateway-secret", "correct-horse-battery-staple");
    let (_, headers) = gateway.call(CALL_PATH, &[secret, ("sluicegate-cluster", "x")], &[]).await;
    assert_eq!(headers["grpc-status"], "5");
}

#[tokio::test]
async fn a_call_too_many_is_not_taken_for_a_lost_connection() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "[limits]\nmax_calls = 1").await;
    let gateway = Gateway::connect(&bridge).await;
    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
    let fetch = PubSubReq { sequence: 1, req: Some(Req::CmdKafkaFetch(fetch)) }.encode_to_vec();
    let call = || gateway.call(CALL_PATH, &[], &fetch);
    let (answer, refused) = tokio::select! { first = call() => first, second = call() => second };
    assert_eq!((answer, &refused["grpc-status"]), (None, &"8".parse().unwrap()));
}

#[tokio::test]
async fn grpc_health_says_serving() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let (answer, _) = gateway.call("/grpc.health.v1.Health/Check", &[], &[]).await;
    // HealthCheckResponse.status = 1, SERVING = 1.
    assert_eq!(&answer.unwrap()[..], [0x08, 0x01]);
}
