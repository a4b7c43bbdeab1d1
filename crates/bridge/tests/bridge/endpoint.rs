//! Sessions over all endpoints, and the admission of clients.

use std::time::{Duration, Instant};

use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdSession, PubSubReq, PubSubResp, SessionResp};
use sluicegate_stack::raw::{Raw, request};

use crate::http::{check_problem, rest, send};
use crate::pressure::PADDED;
use crate::refusals::one;
use crate::support::{
    ENDPOINTS, Endpoint, Gateway, SECRET, all_left, close, fetch, flood, framed, open, ping, sessions, start,
    start_hanging, start_secret, upgrade,
};

#[tokio::test]
async fn session_tells_the_smaller_limit_of_gateway_and_bridge() {
    let bridge = start("[limits]\nmax_request_bytes = 2048").await;
    let gateway = Gateway::connect(&bridge).await;
    let told = |limit| ("x-sluicegate-max-message-bytes", limit);
    let limit_of = |max_message_bytes| {
        let resp = Some(Resp::SessionResp(SessionResp { max_message_bytes, ..Default::default() }));
        PubSubResp { sequence: 3, resp }
    };
    for endpoint in ENDPOINTS {
        for (headers, expected) in
            [(&[][..], 2048), (&[told("4096")], 2048), (&[told("1024")], 1024), (&[told("all")], 2048)]
        {
            let mut stream = gateway.open(endpoint, headers).await.unwrap();
            stream.ask(3, Req::CmdSession(CmdSession::default())).await;
            assert_eq!(stream.next().await, Some(limit_of(expected)), "{endpoint:?} {headers:?}");
        }
    }
    // The header is for gateways that run sessions: here the client would speak for itself.
    let mut client = open(&bridge, &[told("1024")]).await;
    client.write(request(3, Req::CmdSession(CmdSession::default()))).await;
    assert_eq!(client.answer().await, limit_of(2048));
}

#[tokio::test]
async fn greedy_client_leaves_sessions_to_others() {
    let bridge = start("[limits]\nmax_sessions = 100").await;
    let gateway = Gateway::connect(&bridge).await;
    let as_client = |address: String| {
        let gateway = &gateway;
        async move { gateway.open(Endpoint::Connect, &[("sluicegate-client", &address)]).await }
    };
    let (mut open, mut other) = (Vec::new(), Vec::new());
    while let Ok(session) = as_client("203.0.113.1".into()).await {
        open.push(session);
    }
    assert_eq!(open.len(), 75);
    // The networks of one site.
    for network in 0..100 {
        other.extend(as_client(format!("2001:db8:1:{network:x}::1")).await.ok());
    }
    assert!(other.len() < 20, "{}", other.len());
    other.push(as_client("203.0.113.2".into()).await.expect("a newcomer's session"));
    drop((open, other));
    all_left(&bridge).await;
}

#[tokio::test]
async fn client_that_leaves_is_noticed_within_a_second() {
    let (bridge, _kafka) = start_hanging("").await;
    let gateway = Gateway::connect(&bridge).await;
    let hanging = PubSubReq { sequence: 1, req: Some(fetch()) }.encode_to_vec();
    for hangs in [false, true] {
        for endpoint in ENDPOINTS {
            let mut stream = gateway.open(endpoint, &PADDED).await.unwrap();
            stream.is_open().await;
            if hangs {
                // Until the bridge reads no more.
                stream = flood(stream, framed(&hanging)).await;
            }
            assert_eq!(sessions(&bridge).await, 1, "{endpoint:?}");
            drop(stream);
            all_left(&bridge).await;
        }
        let mut client = open(&bridge, &[]).await;
        if hangs {
            client.write(request(1, fetch())).await;
        }
        client.write(request(2, ping(""))).await;
        assert_eq!(client.answer().await.sequence, 2);
        assert_eq!(sessions(&bridge).await, 1);
        drop(client);
        all_left(&bridge).await;
    }
}

#[tokio::test]
async fn drain_ends_what_runs_and_tells_newcomers_to_come_back() {
    let (bridge, kafka) = start_hanging("").await;
    let (gateway, other) = (Gateway::connect(&bridge).await, Gateway::connect(&bridge).await);
    let mut newcomer = Raw::connect(bridge.address()).await;
    let mut streams = Vec::new();
    for endpoint in ENDPOINTS {
        let mut stream = gateway.open(endpoint, &[]).await.unwrap();
        stream.ask(1, fetch()).await;
        stream.ask(2, ping("")).await;
        assert_eq!(stream.next().await.unwrap().sequence, 2);
        streams.push(stream);
    }
    let mut client = open(&bridge, &[]).await;
    client.write([request(1, fetch()), request(2, ping(""))].concat()).await;
    assert_eq!(client.answer().await.sequence, 2);

    let started = Instant::now();
    let draining = bridge.drain();
    let others = async {
        let mut refused = vec![newcomer.ask(&upgrade(&[]).bytes()).await];
        for (gateway, endpoint) in [(&gateway, Endpoint::Post), (&other, Endpoint::Connect)] {
            refused.push(gateway.open(endpoint, &[]).await.err().unwrap());
        }
        for refused in refused {
            assert_eq!((refused.status, refused.text()), (503, "the bridge is shutting down\n"));
            assert_eq!(refused.headers["retry-after"], "1");
        }
        let refused = send(&gateway, rest("OPTIONS", "/topics")).await;
        check_problem(&refused, 503, "the bridge is shutting down, try again");
        let told = (&refused.headers["retry-after"], &refused.headers["sluicegate-answered"]);
        assert_eq!(told, (&one(), &one()));
        drop(kafka);
        for mut stream in streams {
            assert_eq!(stream.next().await.unwrap().sequence, 1);
            assert_eq!(stream.next().await, Some(close(1001, "going away")));
            assert_eq!(stream.next().await, None);
        }
        assert_eq!(client.answer().await.sequence, 1);
        assert_eq!(client.closed().await, (1001, "going away".into()));
        drop((gateway, other, client));
    };
    tokio::join!(draining, others);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn health_check_says_serving_and_needs_the_secret() {
    let bridge = start_secret("").await;
    let gateway = Gateway::connect(&bridge).await;
    let serving = gateway.health(&[SECRET]).await;
    // HealthCheckResponse.status = 1, SERVING = 1.
    assert_eq!(serving.body, framed(&[0x08, 0x01]));
    for (headers, status) in [(&[][..], "16"), (&[SECRET, SECRET], "3")] {
        let refused = gateway.health(headers).await;
        assert_eq!((refused.headers["grpc-status"].to_str().unwrap(), refused.body.len()), (status, 0));
    }
}
