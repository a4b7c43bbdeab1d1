//! Single commands as gRPC-Web, over both versions of HTTP.

use bytes::{Buf, Bytes};
use prost::Message;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CALL_PATH, CmdKafkaFetch, PubSubReq, PubSubResp};

use crate::raw::Raw;
use crate::support::{Gateway, framed, ping, start, start_before, start_with};

const SECRET: &str = "correct-horse-battery-staple";

/// The messages of an answer's body, and its trailers.
fn parts(mut body: &[u8]) -> (Vec<Bytes>, Vec<(String, String)>) {
    let mut messages = Vec::new();
    loop {
        let flag = body.get_u8();
        let len = usize::try_from(body.get_u32()).unwrap();
        let (message, rest) = body.split_at(len);
        body = rest;
        if flag == 0 {
            messages.push(Bytes::copy_from_slice(message));
            continue;
        }
        assert_eq!((flag, body), (0x80, &[][..]), "trailers are the last");
        let text = std::str::from_utf8(message).unwrap();
        let lines = text.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap());
        return (messages, lines.map(|(name, value)| (name.into(), value.into())).collect());
    }
}

/// The answer to a call of `body`: at most one message, and its trailers.
async fn call(bridge: &Bridge, headers: &str, body: &[u8]) -> (Option<PubSubResp>, Vec<(String, String)>) {
    let mut client = Raw::connect(bridge).await;
    let head = format!(
        "POST {CALL_PATH} HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/grpc-web+proto\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.send([head.as_bytes(), body].concat()).await;
    let response = client.response().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["content-type"], "application/grpc-web+proto");
    assert!(!response.headers.contains_key("grpc-status"));
    let (messages, trailers) = parts(&response.body);
    assert!(messages.len() <= 1);
    (messages.into_iter().next().map(|message| PubSubResp::decode(message).unwrap()), trailers)
}

fn status(trailers: &[(String, String)]) -> (&str, &str) {
    let value = |of: &str| trailers.iter().find(|(name, _)| name == of).map_or("", |(_, value)| value);
    (value("grpc-status"), value("grpc-message"))
}

fn asking(req: Req) -> Bytes {
    framed(&PubSubReq { sequence: 4, req: Some(req) }.encode_to_vec())
}

#[tokio::test]
async fn a_call_is_answered_with_its_trailers_behind_it() {
    let bridge = start("").await;
    let (answer, trailers) = call(&bridge, "", &asking(ping("s"))).await;
    assert!(matches!(answer, Some(PubSubResp { sequence: 4, resp: Some(Resp::PongResp(_)) })));
    assert_eq!(status(&trailers), ("0", ""));

    // A large one, in pieces.
    let (answer, trailers) = call(&bridge, "", &asking(ping(&"s".repeat(1_000_000)))).await;
    let Some(Resp::PongResp(pong)) = answer.unwrap().resp else { panic!("a pong") };
    assert_eq!(pong.state.len(), 1_000_000);
    assert_eq!(status(&trailers), ("0", ""));

    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
    let (answer, trailers) = call(&bridge, "", &asking(Req::CmdKafkaFetch(fetch))).await;
    let Some(Resp::ErrorResp(error)) = answer.unwrap().resp else { panic!("an error") };
    assert!(error.message.starts_with("failed to fetch message, topic: t"), "{}", error.message);
    assert_eq!(status(&trailers), ("0", ""));
}

#[tokio::test]
async fn http_2_and_every_spelling_of_the_type_carry_the_same() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for kind in
        ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web+proto; charset=utf-8"]
    {
        let message = PubSubReq { sequence: 4, req: Some(ping("s")) }.encode_to_vec();
        let body = gateway.body(CALL_PATH, &[("content-type", kind)], &message).await;
        let (messages, trailers) = parts(&body);
        assert_eq!(PubSubResp::decode(messages[0].clone()).unwrap().sequence, 4, "{kind}");
        assert_eq!(status(&trailers), ("0", ""), "{kind}");
    }
}

#[tokio::test]
async fn errors_stand_in_the_body_too() {
    let bridge = start_with(&format!("gateway_secret = \"{SECRET}\""), "").await;
    let secret = format!("sluicegate-gateway-secret: {SECRET}\r\n");
    let elsewhere = format!("{secret}sluicegate-cluster: nowhere\r\n");
    let good = asking(ping("s"));
    let too_large = asking(ping(&"s".repeat(2_000_000)));
    for (headers, body, code, text) in [
        ("", &good[..], "16", "header sluicegate-gateway-secret is missing"),
        (&elsewhere, &good[..], "5", "no cluster nowhere is configured"),
        (&secret, &framed(b"\xFF\xFF")[..], "3", "wrong command"),
        (&secret, &too_large[..], "11", "decoded message length too large"),
        (&secret, &good[..good.len() - 1], "13", ""),
        (&secret, &good[..3], "13", ""),
        (&secret, b"", "13", ""),
        (&secret, b"\x01\0\0\0\0", "13", ""),
    ] {
        let (answer, trailers) = call(&bridge, headers, body).await;
        assert_eq!(answer, None);
        let (told, message) = status(&trailers);
        assert_eq!(told, code, "{message}");
        assert!(message.replace("%20", " ").contains(text), "{message}");
    }
}

#[tokio::test]
async fn without_a_secret_only_pages_of_this_machine_may_call() {
    let bridge = start("").await;
    let (answer, trailers) = call(&bridge, "Origin: http://localhost:3000\r\n", &asking(ping(""))).await;
    assert_eq!((answer.unwrap().sequence, status(&trailers).0), (4, "0"));
    let (answer, trailers) = call(&bridge, "Origin: https://example.com\r\n", &asking(ping(""))).await;
    assert_eq!((answer, status(&trailers).0), (None, "7"));
}

#[tokio::test]
async fn a_call_too_many_says_so() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "[limits]\nmax_calls = 1").await;
    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
    let fetch = asking(Req::CmdKafkaFetch(fetch));
    let (answer, trailers) = tokio::select! {
        first = call(&bridge, "", &fetch) => first,
        second = call(&bridge, "", &fetch) => second,
    };
    assert_eq!((answer, status(&trailers).0), (None, "8"));
}
