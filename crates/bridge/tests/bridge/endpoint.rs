//! Sessions over both endpoints, and the admission of gateways and clients.

use std::time::{Duration, Instant};

use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    Close, CmdKafkaFetch, CmdKafkaListOffset, CmdSession, ControlReq, PongResp, PubSubReq, PubSubResp,
    SessionResp, control_req,
};
use sluicegate_stack::raw::Raw;

use crate::support::{
    ENDPOINTS, Endpoint, Gateway, Refused, admin, all_left, close, flood, framed, ping, sessions, start,
    start_before, start_with, upgrade,
};

const SECRET: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn session_answers_pings_and_echoes_the_close() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let mut stream = gateway.open(endpoint, &[]).await.unwrap();
        stream.ask(7, ping("state")).await;
        let resp = Some(Resp::PongResp(PongResp { state: "state".into() }));
        assert_eq!(stream.next().await, Some(PubSubResp { sequence: 7, resp }), "{endpoint:?}");
        let content = Close { code: 4001, reason: "done".into() };
        let control = control_req::Control::Close(content);
        stream.ask(0, Req::Control(ControlReq { control: Some(control) })).await;
        assert_eq!(stream.next().await, Some(close(4001, "done")), "{endpoint:?}");
        assert_eq!(stream.next().await, None, "{endpoint:?}");
        let trailers = stream.receive.trailers().await.unwrap();
        match endpoint {
            Endpoint::Connect => assert_eq!(trailers, None),
            Endpoint::Post => assert_eq!(trailers.unwrap()["grpc-status"], "0"),
        }
    }
}

#[tokio::test]
async fn session_tells_the_smaller_limit_of_gateway_and_bridge() {
    let bridge = start("[limits]\nmax_request_bytes = 2048").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        for (told, expected) in
            [(None, 2048), (Some("4096"), 2048), (Some("1024"), 1024), (Some("all"), 2048)]
        {
            let headers: Vec<_> =
                told.map(|told| ("x-sluicegate-max-message-bytes", told)).into_iter().collect();
            let mut stream = gateway.open(endpoint, &headers).await.unwrap();
            stream.ask(3, Req::CmdSession(CmdSession {})).await;
            let resp =
                Some(Resp::SessionResp(SessionResp { max_message_bytes: expected, ..Default::default() }));
            assert_eq!(stream.next().await, Some(PubSubResp { sequence: 3, resp }), "{endpoint:?} {told:?}");
        }
    }
}

#[tokio::test]
async fn commands_fail_in_time_while_kafka_is_down() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let mut stream = gateway.open(endpoint, &[]).await.unwrap();
        let asked = Instant::now();
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 3, offset: 0, ..Default::default() };
        stream.ask(1, Req::CmdKafkaFetch(fetch)).await;
        let list = CmdKafkaListOffset { topic: "t".into(), partition: 3, timestamp: -1 };
        stream.ask(2, Req::CmdKafkaListOffset(list)).await;
        stream.ask(3, ping("")).await;
        for _ in 0..3 {
            let PubSubResp { sequence, resp } = stream.next().await.unwrap();
            let expected = match sequence {
                1 => "failed to fetch message, topic: t, partition: 3, err: ",
                2 => "failed to list offset, topic: t, partition: 3, err: ",
                _ => continue,
            };
            let Some(Resp::ErrorResp(error)) = resp else { panic!("{resp:?}") };
            assert!(error.message.starts_with(expected), "{}", error.message);
            assert!(error.retriable, "{}", error.message);
        }
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn only_the_secret_lets_a_gateway_in() {
    let bridge = start_with(&format!("gateway_secret = \"{SECRET}\""), "").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        gateway.open(endpoint, &[("sluicegate-gateway-secret", SECRET)]).await.unwrap();
        check(
            &gateway,
            endpoint,
            &[],
            401,
            "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret\n",
        )
        .await;
        let wrong = [("sluicegate-gateway-secret", "wrong")];
        let text = "header sluicegate-gateway-secret does not match the bridge's gateway_secret\n";
        check(&gateway, endpoint, &wrong, 401, text).await;
    }
}

#[tokio::test]
async fn unknown_cluster_and_full_bridge_are_refused() {
    let bridge = start("[limits]\nmax_sessions = 1").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let text = "unknown cluster nowhere (header sluicegate-cluster): expected one of [clusters]\n";
        check(&gateway, endpoint, &[("sluicegate-cluster", "nowhere")], 404, text).await;
    }
    let mut stream = gateway.open(Endpoint::Connect, &[("sluicegate-cluster", "default")]).await.unwrap();
    for endpoint in ENDPOINTS {
        let refused = check(
            &gateway,
            endpoint,
            &[],
            503,
            "bridge at capacity for this client (limits.max_sessions = 1)\n",
        )
        .await;
        assert_eq!(refused.headers["retry-after"], "1");
    }
    stream.ask(1, ping("")).await;
    assert_eq!(stream.next().await.unwrap().sequence, 1);
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
async fn other_paths_are_not_served() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let refused = gateway.request(Endpoint::Connect.request("/pubsub"), &[]).await.err().unwrap();
    assert_eq!(refused.status, 404);
    assert!(refused.text.contains("rewrite it to /sluicegate.v1.Bridge/Session"), "{}", refused.text);
    let refused = gateway.request(Endpoint::Post.request("/other"), &[]).await.err().unwrap();
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn client_that_leaves_is_noticed_within_a_second() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let mut stream = gateway.open(endpoint, &[]).await.unwrap();
        stream.ask(1, ping("")).await;
        assert!(stream.next().await.is_some());
        assert!(sessions(&bridge).await == 1, "{endpoint:?}");
        drop(stream);
        all_left(&bridge).await;
    }
}

#[tokio::test]
async fn client_with_hanging_commands_is_noticed_leaving() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let stream = gateway.open(endpoint, &[]).await.unwrap();
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0, ..Default::default() };
        let request = PubSubReq { sequence: 1, req: Some(Req::CmdKafkaFetch(fetch)) };
        let (stream, _) = flood(stream, framed(&request.encode_to_vec())).await;
        drop(stream);
        all_left(&bridge).await;
    }
}

#[tokio::test]
async fn drain_closes_sessions() {
    for endpoint in ENDPOINTS {
        let bridge = start("").await;
        let gateway = Gateway::connect(&bridge).await;
        let mut stream = gateway.open(endpoint, &[]).await.unwrap();
        let started = Instant::now();
        let drain = tokio::spawn(bridge.drain());
        assert_eq!(stream.next().await, Some(close(1001, "going away")), "{endpoint:?}");
        assert_eq!(stream.next().await, None);
        drop(stream);
        drop(gateway);
        drain.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(3), "{endpoint:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn newcomers_are_told_to_come_back_during_a_drain() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    let gateway = Gateway::connect(&bridge).await;
    let other = Gateway::connect(&bridge).await;
    let mut stream = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0, ..Default::default() };
    stream.ask(1, Req::CmdKafkaFetch(fetch)).await;
    stream.ask(2, ping("")).await;
    assert_eq!(stream.next().await.unwrap().sequence, 2);

    let draining = bridge.drain();
    let newcomers = async {
        for (gateway, endpoint) in [(&gateway, Endpoint::Post), (&other, Endpoint::Connect)] {
            let refused = check(gateway, endpoint, &[], 503, "the bridge is shutting down\n").await;
            assert_eq!(refused.headers["retry-after"], "1");
        }
        assert_eq!(stream.next().await.unwrap().sequence, 1);
        assert_eq!(stream.next().await, Some(close(1001, "going away")));
        drop(stream);
    };
    tokio::join!(draining, newcomers);
}

#[tokio::test]
async fn health_check_says_serving_and_needs_the_secret() {
    let bridge = start_with(&format!("gateway_secret = \"{SECRET}\""), "").await;
    let gateway = Gateway::connect(&bridge).await;
    let serving = gateway.health(&[("sluicegate-gateway-secret", SECRET)]).await;
    // HealthCheckResponse.status = 1, SERVING = 1.
    assert_eq!(serving.body, framed(&[0x08, 0x01]));
    let refused = gateway.health(&[]).await;
    assert_eq!((&refused.headers["grpc-status"], refused.body.len()), (&"16".parse().unwrap(), 0));
}

async fn check(
    gateway: &Gateway,
    endpoint: Endpoint,
    headers: &[(&str, &str)],
    status: u16,
    text: &str,
) -> Refused {
    let refused = gateway.open(endpoint, headers).await.err().expect("a refusal");
    assert_eq!((refused.status.as_u16(), &refused.text[..]), (status, text), "{endpoint:?}");
    refused
}

#[tokio::test]
async fn unknown_and_repeated_gateway_headers_are_refused() {
    let bridge = start_with(&format!("gateway_secret = \"{SECRET}\""), "").await;
    let gateway = Gateway::connect(&bridge).await;
    let secret = ("sluicegate-gateway-secret", SECRET);
    let once = |name: &str| format!("repeated header {name}: expected it once\n");
    let unknown = |name: &str| {
        format!("unknown header {name}: upgrade the bridge to the version of the gateway's filter\n")
    };
    let long = format!("sluicegate-{}", "x".repeat(200));
    for (headers, text) in [
        (vec![secret, ("sluicegate-read-only", "true")], unknown("sluicegate-read-only")),
        (vec![secret, (&long, "")], unknown(&long[..100])),
        (
            vec![secret, ("sluicegate-cluster", "default"), ("sluicegate-cluster", "default")],
            once("sluicegate-cluster"),
        ),
        (vec![secret, ("sluicegate-write", "true"), ("sluicegate-write", "true")], once("sluicegate-write")),
        (
            vec![secret, ("sluicegate-subprotocol", "a"), ("sluicegate-subprotocol", "b")],
            once("sluicegate-subprotocol"),
        ),
        (
            vec![secret, ("sluicegate-cluster-definition", ""), ("sluicegate-cluster-definition", "")],
            once("sluicegate-cluster-definition"),
        ),
        (vec![secret, secret], once("sluicegate-gateway-secret")),
        (vec![("sluicegate-gateway-secret", "wrong"), secret], once("sluicegate-gateway-secret")),
    ] {
        for endpoint in ENDPOINTS {
            check(&gateway, endpoint, &headers, 400, &text).await;
        }
        assert_eq!(gateway.health(&headers).await.headers["grpc-status"], "3");
        let refused = Raw::connect(bridge.address()).await.ask(&upgrade(&headers).bytes()).await;
        assert_eq!((refused.status, refused.text()), (400, &text[..]));
    }
    // Nobody learns without the secret what the bridge knows.
    let text = "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret\n";
    check(&gateway, Endpoint::Connect, &[("sluicegate-read-only", "true")], 401, text).await;
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(metrics.contains("sluicegate_requests_refused_total{reason=\"metadata\"} 32\n"), "{metrics}");
}
