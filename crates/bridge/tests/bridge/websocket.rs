//! WebSocket clients at the bridge itself.

use std::time::{Duration, Instant};

use bytes::Buf;
use prost::Message as _;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaProduce, ErrorResp, PongResp, ProduceRecord, PubSubReq, PubSubResp,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::raw::{Raw, frame, upgrade};
use crate::support::{admin, ping, sessions, start, start_before, start_with};

const SECRET: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn a_session_answers_commands_and_pings_and_echoes_the_close() {
    let bridge = start("").await;
    let mut client = Raw::connect(&bridge).await;
    client.send(upgrade("/any/path?and=query", "")).await;
    let response = client.response().await;
    assert_eq!(response.status, 101);
    assert_eq!(response.headers["upgrade"], "websocket");
    assert_eq!(response.headers["connection"], "upgrade");
    assert_eq!(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!response.headers.contains_key("sec-websocket-protocol"));
    client.ask(7, ping("state")).await;
    let resp = Some(Resp::PongResp(PongResp { state: "state".into() }));
    assert_eq!(client.answer().await, PubSubResp { sequence: 7, resp });
    client.send(frame(0x89, b"are you there")).await;
    assert_eq!(client.frame().await, Some((0x8A, b"are you there".to_vec())));
    client.send(frame(0x88, b"\x0f\xa1done")).await;
    assert_eq!(client.closed().await, (4001, "done".into()));
    drop(client);
    nobody_is_left(&bridge).await;
}

#[tokio::test]
async fn frames_that_come_with_the_upgrade_are_the_sessions() {
    let bridge = start("").await;
    let mut client = Raw::connect(&bridge).await;
    client.send([upgrade("/", "").as_bytes(), &frame(0x89, b"early")].concat()).await;
    assert_eq!(client.response().await.status, 101);
    assert_eq!(client.frame().await, Some((0x8A, b"early".to_vec())));
}

#[tokio::test]
async fn another_implementation_agrees() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let bridge = start("").await;
    let url = format!("ws://{}/", bridge.address());
    let (mut client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    // Of every form of a frame's length, to and fro.
    for len in [0, 100, 1000, 100_000] {
        let request = PubSubReq { sequence: 1, req: Some(ping(&"x".repeat(len))) };
        client.send(Message::Binary(request.encode_to_vec().into())).await.unwrap();
        let Some(Ok(Message::Binary(answer))) = client.next().await else { panic!("an answer") };
        let Some(Resp::PongResp(pong)) = PubSubResp::decode(answer).unwrap().resp else { panic!("a pong") };
        assert_eq!(pong.state.len(), len);
    }
    client.close(None).await.unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(None)))));
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn only_a_websocket_handshake_gets_its_101() {
    let bridge = start("").await;
    let good = upgrade("/", "");
    let without = |line: &str| good.replace(&format!("{line}\r\n"), "");
    let with = |line: &str, other: &str| good.replace(line, other);
    let expected = "a WebSocket upgrade is expected here\n";
    let key = "Sec-WebSocket-Key is not 16 bytes in base64\n";
    let version = "Sec-WebSocket-Version 13 is expected\n";
    for (request, status, text) in [
        ("GET / HTTP/1.1\r\nHost: bridge\r\n\r\n".into(), 400, expected),
        (without("Upgrade: websocket"), 400, expected),
        (without("Connection: Upgrade"), 400, expected),
        (with("GET", "POST"), 400, expected),
        (with("Upgrade: websocket", "Upgrade: h2c"), 400, expected),
        (without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, key),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, key),
        (upgrade("/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, key),
        (without("Sec-WebSocket-Version: 13"), 400, version),
        (with("Version: 13", "Version: 8"), 400, version),
        (without("Host: bridge"), 400, "expected exactly one Host header\n"),
        (upgrade("/", "Host: other\r\n"), 400, "expected exactly one Host header\n"),
        (upgrade("/", "Content-Length: 3\r\n") + "abc", 400, "a WebSocket upgrade must not have a body\n"),
        (upgrade("/", "Transfer-Encoding: chunked\r\n"), 400, "a WebSocket upgrade must not have a body\n"),
        (
            with("HTTP/1.1", "HTTP/1.0"),
            505,
            "expected HTTP/2 for application/grpc, or HTTP/1.1 for a WebSocket upgrade\n",
        ),
        (
            upgrade("/", "sluicegate-cluster: nowhere\r\n"),
            404,
            "unknown cluster nowhere (header sluicegate-cluster): expected one of [clusters]\n",
        ),
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(&request).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text()), (status, text), "{request}");
        assert_eq!(response.headers.contains_key("sec-websocket-version"), text == version, "{request}");
        assert!(client.try_response().await.is_none(), "{request}");
    }
    for request in [
        with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: x, upgrade"),
        with("websocket", "WebSocket"),
        upgrade("/", "Content-Length: 0\r\n"),
        upgrade("/", "sluicegate-cluster: default\r\n"),
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(&request).await;
        assert_eq!(client.response().await.status, 101, "{request}");
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    for (reason, count) in [("handshake", 12), ("body", 2), ("version", 1), ("cluster", 1)] {
        let line = format!("sluicegate_requests_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn with_a_secret_the_gateway_has_to_know_it_and_judges_the_page() {
    let bridge = start_with(&format!("gateway_secret = \"{SECRET}\""), "").await;
    for (headers, text) in [
        ("", "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret\n"),
        (
            "sluicegate-gateway-secret: wrong\r\n",
            "header sluicegate-gateway-secret does not match the bridge's gateway_secret\n",
        ),
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(upgrade("/", headers)).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text()), (401, text));
    }
    let secret = format!("sluicegate-gateway-secret: {SECRET}\r\nOrigin: https://example.com\r\n");
    let mut client = Raw::open(&bridge, &secret).await;
    client.ask(1, ping("")).await;
    assert_eq!(client.answer().await.sequence, 1);
}

#[tokio::test]
async fn without_one_only_pages_of_this_machine_may_ask() {
    let bridge = start("").await;
    for origin in ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]"] {
        Raw::open(&bridge, &format!("Origin: {origin}\r\n")).await;
    }
    for origins in [
        "Origin: https://example.com\r\n",
        "Origin: null\r\n",
        "Origin: http://localhost\r\nOrigin: null\r\n",
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(upgrade("/", origins)).await;
        let response = client.response().await;
        assert_eq!(response.status, 403, "{origins}");
        assert!(response.text().starts_with("Origin not allowed: "), "{}", response.text());
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(metrics.contains("sluicegate_requests_refused_total{reason=\"origin\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn a_subprotocol_is_agreed_to_where_both_sides_name_it() {
    let bridge = start("").await;
    for (headers, agreed) in [
        ("sluicegate-subprotocol: b\r\nSec-WebSocket-Protocol: a, b\r\n", Some("b")),
        (
            "sluicegate-subprotocol: b\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n",
            Some("b"),
        ),
        ("sluicegate-subprotocol: b\r\nSec-WebSocket-Protocol: a\r\n", None),
        ("sluicegate-subprotocol: b\r\n", None),
        ("Sec-WebSocket-Protocol: a, b\r\n", None),
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(upgrade("/", headers)).await;
        let response = client.response().await;
        assert_eq!(response.status, 101);
        let told = response.headers.get("sec-websocket-protocol").map(|name| name.to_str().unwrap());
        assert_eq!(told, agreed, "{headers}");
    }
}

#[tokio::test]
async fn a_session_writes_only_where_the_gateway_says_so() {
    let bridge = start("").await;
    let produce = || Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![ProduceRecord::default()] });
    let elsewhere = "failed to produce, err: the bridge does not write to this cluster";
    for (headers, message) in [
        ("", "failed to produce, err: this route does not let clients write"),
        ("sluicegate-write: false\r\n", "failed to produce, err: this route does not let clients write"),
        ("sluicegate-write: true\r\n", elsewhere),
    ] {
        let mut client = Raw::open(&bridge, headers).await;
        client.ask(3, produce()).await;
        let PubSubResp { sequence: 3, resp: Some(Resp::ErrorResp(error)) } = client.answer().await else {
            panic!("an error")
        };
        assert_eq!(error.message, message, "{headers}");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_or_a_limit_is_closed_with_its_code() {
    let bridge = start("[limits]\nmax_request_bytes = 1024\nmax_assembly_bytes = 1024").await;
    for (bytes, code, reason) in [
        (vec![0x82, 0x05, 0], 1002, "frame without a mask"),
        (frame(0xC2, b""), 1002, "reserved bits set"),
        (frame(0x88, b"\x03\xed"), 1002, "close code that must not be sent"),
        (frame(0x81, b"\xFF"), 1007, "text that is not UTF-8"),
        (frame(0x82, &[0; 1025]), 1009, "message over the limit of 1024 bytes"),
    ] {
        let mut client = Raw::open(&bridge, "").await;
        client.send(bytes).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
    }
    let mut first = Raw::open(&bridge, "").await;
    first.send([frame(0x02, &[0; 800]), frame(0x89, b"there")].concat()).await;
    assert_eq!(first.frame().await, Some((0x8A, b"there".to_vec())));
    let mut second = Raw::open(&bridge, "").await;
    second.send([frame(0x02, &[0; 800]), frame(0x89, b"there")].concat()).await;
    assert_eq!(second.frame().await, Some((0x8A, b"there".to_vec())));
    first.send(frame(0x89, b"there")).await;
    let evicted = "unfinished message dropped: too many from this address, try again later";
    assert_eq!(first.closed().await, (1013, evicted.to_owned()));
    drop((first, second));
    nobody_is_left(&bridge).await;
    let mut third = Raw::open(&bridge, "").await;
    third.send([frame(0x02, &[0; 800]), frame(0x89, b"there")].concat()).await;
    assert_eq!(third.frame().await, Some((0x8A, b"there".to_vec())));
    let (_, metrics) = admin(&bridge, "/metrics").await;
    for (reason, count) in [("protocol", 3), ("not_utf8", 1), ("message_too_big", 1), ("evicted", 1)] {
        let line =
            format!("sluicegate_client_faults_total{{cluster=\"default\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn a_message_that_is_never_whole_takes_memory_from_others_for_a_while_only() {
    let settings =
        "[limits]\nmax_request_bytes = 1024\nmax_assembly_bytes = 1024\n[session]\nping_interval_ms = 200";
    let bridge = start(settings).await;
    // Fragmented, and a byte at a time: both are as lively as can be.
    for trickles in [false, true] {
        let mut holder = Raw::open(&bridge, "").await;
        let held = if trickles {
            [frame(0x02, &[0; 700]), frame(0x80, &[0; 324])].concat()
        } else {
            frame(0x02, &[0; 800])
        };
        let mut more = held.get(..if trickles { 800 } else { held.len() }).unwrap().to_vec();
        let began = Instant::now();
        let mut trickle = 800..;
        let (code, reason) = loop {
            assert!(began.elapsed() < Duration::from_secs(5), "it is still open");
            holder.send(&more).await;
            more = match (trickles, timeout(Duration::from_millis(20), holder.frame()).await) {
                (_, Ok(Some((0x88, close)))) => break ((&close[..2]).get_u16(), close[2..].to_vec()),
                (true, Err(_)) => {
                    trickle.next().and_then(|at| held.get(at..=at)).unwrap_or_default().to_vec()
                }
                (false, Err(_)) => frame(0x89, b""),
                (false, Ok(Some((0x8A, _)))) => Vec::new(),
                (_, Ok(other)) => panic!("{other:?}"),
            };
        };
        assert_eq!(
            (code, String::from_utf8(reason).unwrap()),
            (1008, "message not finished within 600ms".to_owned())
        );
        let took = began.elapsed();
        assert!((600..2000).contains(&took.as_millis()), "{took:?}");
        // Not later than its Close, though its connection stands.
        let mut next = Raw::open(&bridge, "").await;
        next.send([frame(0x02, &[0; 800]), frame(0x89, b"there")].concat()).await;
        assert_eq!(next.frame().await, Some((0x8A, b"there".to_vec())));
        drop((holder, next));
        nobody_is_left(&bridge).await;
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    let ended = "sluicegate_sessions_ended_total{cluster=\"default\",reason=\"unfinished\"} 2\n";
    assert!(metrics.contains(ended), "{metrics}");
}

#[tokio::test]
async fn frames_mean_the_same_wherever_they_are_cut() {
    let bridge = start("").await;
    let request = |sequence| PubSubReq { sequence, req: Some(ping("state")) }.encode_to_vec();
    let (first, second) = (request(1), request(2));
    let (head, tail) = second.split_at(4);
    let wire = [
        frame(0x82, &first),
        frame(0x02, head),
        frame(0x89, b"between"),
        frame(0x80, tail),
        frame(0x81, "späte".as_bytes()),
        frame(0x82, b"\xFF"),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let cuts = (0..=wire.len()).map(|cut| [wire.get(..cut).unwrap(), wire.get(cut..).unwrap()].to_vec());
    for pieces in cuts.chain([wire.chunks(1).collect()]) {
        let mut client = Raw::open(&bridge, "").await;
        for piece in &pieces {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        let pong = |sequence| {
            let resp = Some(Resp::PongResp(PongResp { state: "state".into() }));
            (0x82, PubSubResp { sequence, resp }.encode_to_vec())
        };
        let wrong = ErrorResp { message: "wrong command".into(), ..Default::default() };
        let wrong = PubSubResp { sequence: 0, resp: Some(Resp::ErrorResp(wrong)) };
        for want in [pong(1), (0x8A, b"between".to_vec()), pong(2), (0x82, wrong.encode_to_vec())] {
            assert_eq!(client.frame().await, Some(want), "{:?}", pieces.first());
        }
        assert_eq!(client.closed().await, (1000, "bye".into()), "{:?}", pieces.first());
    }
}

#[tokio::test]
async fn random_bytes_end_no_session_but_their_own() {
    let bridge = start("").await;
    let mut beside = Raw::open(&bridge, "").await;
    // xorshift: any fixed sequence without a pattern will do.
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..400 {
        let len = next() % 300;
        let bytes: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[0]).collect();
        let mut client = match round % 4 {
            // As a connection's first bytes, as a session's, within a frame, and within a message.
            0 => Raw::connect(&bridge).await,
            _ => Raw::open(&bridge, "").await,
        };
        let bytes = match round % 4 {
            0 | 1 => bytes,
            2 => [&[0x82 ^ next().to_le_bytes()[0] & 0x7F, 0xFE], &bytes[..]].concat(),
            _ => frame(0x82, &bytes),
        };
        // The session may be over before all of it is taken.
        let _ = client.io.write_all(&bytes).await;
        let _ = client.io.shutdown().await;
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), client.io.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "round {round} does not end: {}", bytes.escape_ascii());
    }
    beside.ask(9, ping("")).await;
    assert_eq!(beside.answer().await.sequence, 9);
    assert_eq!(sessions(&bridge).await, 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_within_a_second() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    for asks in [false, true] {
        let mut client = Raw::open(&bridge, "").await;
        if asks {
            let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
            client.ask(1, Req::CmdKafkaFetch(fetch)).await;
        }
        client.ask(2, ping("")).await;
        assert_eq!(client.answer().await.sequence, 2);
        assert_eq!(sessions(&bridge).await, 1);
        drop(client);
        nobody_is_left(&bridge).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_close_after_the_close_is_given_up() {
    let bridge = start("[session]\nclose_timeout_ms = 300").await;
    let mut client = Raw::open(&bridge, "").await;
    let asked = Instant::now();
    client.send(frame(0x88, b"\x03\xe8")).await;
    assert_eq!(client.closed().await, (1000, String::new()));
    nobody_is_left(&bridge).await;
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let bridge = start("[session]\nping_interval_ms = 200").await;
    let mut client = Raw::open(&bridge, "").await;
    assert_eq!(client.frame().await, Some((0x89, Vec::new())));
    client.send(frame(0x8A, b"")).await;
    for _ in 0..2 {
        assert_eq!(client.frame().await, Some((0x89, Vec::new())));
    }
    assert_eq!(client.closed().await, (1011, "no answer to ping".into()));
}

#[tokio::test]
async fn clients_that_send_without_pause_and_never_read_stop_nobody_and_are_given_up() {
    const GREEDY: usize = 8;
    let bridge = start(
        "[limits]\nsession_answer_bytes = 65536\n[read]\nmax_bytes = 65536\n[session]\nping_interval_ms = 1000",
    )
    .await;
    let mut greedy = Vec::new();
    for _ in 0..GREEDY {
        let socket = TcpSocket::new_v4().unwrap();
        // As much as a client takes without being asked.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = Raw::over(socket.connect(bridge.address()).await.unwrap());
        client.upgrade("").await;
        let requests = frame(0x89, &[b'x'; 125]).repeat(100);
        greedy.push(tokio::spawn(async move {
            let pause = Duration::from_millis(500);
            let mut sent = 0;
            while let Ok(Ok(())) = timeout(pause, client.io.write_all(&requests)).await {
                sent += requests.len();
            }
            (client, sent)
        }));
    }
    let mut held = Vec::new();
    for client in greedy {
        let (client, sent) = client.await.unwrap();
        // Twice what the system buffers.
        assert!(sent < 32 << 20, "{sent} bytes were taken");
        held.push(client);
    }
    let mut beside = Raw::open(&bridge, "").await;
    let asked = Instant::now();
    beside.ask(5, ping("")).await;
    assert_eq!(beside.answer().await.sequence, 5);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    // The session ends after three intervals without progress; the system closes the connection after four.
    let left = "sluicegate_sessions{cluster=\"default\"} 1\n";
    let by = Instant::now() + Duration::from_secs(10);
    while !admin(&bridge, "/metrics").await.1.contains(left) {
        assert!(Instant::now() < by, "{}", admin(&bridge, "/metrics").await.1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_drain_closes_sessions_and_tells_newcomers_to_come_back() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    let mut client = Raw::open(&bridge, "").await;
    let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0 };
    client.ask(1, Req::CmdKafkaFetch(fetch)).await;
    client.ask(2, ping("")).await;
    assert_eq!(client.answer().await.sequence, 2);
    let mut newcomer = Raw::connect(&bridge).await;

    let draining = bridge.drain();
    let others = async {
        newcomer.send(upgrade("/", "")).await;
        let refused = newcomer.response().await;
        assert_eq!((refused.status, refused.text()), (503, "the bridge is shutting down\n"));
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(client.answer().await.sequence, 1);
        assert_eq!(client.closed().await, (1001, "going away".into()));
        drop(client);
    };
    tokio::join!(draining, others);
}

#[tokio::test]
async fn a_session_counts_among_sessions_and_no_longer_among_connections() {
    let bridge = start("[limits]\nmax_connections = 1\nmax_sessions = 2").await;
    let mut first = Raw::open(&bridge, "").await;
    let _second = Raw::open(&bridge, "").await;
    let mut third = Raw::connect(&bridge).await;
    third.send(upgrade("/", "")).await;
    let refused = third.response().await;
    assert_eq!((refused.status, refused.text()), (503, "bridge at capacity (limits.max_sessions = 2)\n"));
    assert_eq!(refused.headers["retry-after"], "1");
    first.ask(1, ping("")).await;
    assert_eq!(first.answer().await.sequence, 1);
}

async fn nobody_is_left(bridge: &Bridge) {
    let left = Instant::now();
    while sessions(bridge).await != 0 {
        assert!(left.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
