//! When a session ends whose client is silent, does not read, or disconnects.

use std::time::{Duration, Instant};

use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::raw::{BINARY, CLOSE, FIN, PING, PONG, Raw, close, masked, request};
use sluicegate_stack::waiting::becomes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::pong;
use crate::support::{admin, all_left, open, ping, sessions, start, start_before, upgrade};

/// However lively its client is: here, it pings all the time.
#[tokio::test]
async fn message_that_is_never_whole_gives_its_memory_back() {
    let settings =
        "[limits]\nmax_request_bytes = 1024\nmax_assembly_bytes = 1024\n[session]\nping_interval_ms = 200";
    let bridge = start(settings).await;
    let unfinished = masked(BINARY & !FIN, &[0; 800]);
    let mut holder = open(&bridge, &[]).await;
    let began = Instant::now();
    holder.write(&unfinished).await;
    let closed = loop {
        assert!(began.elapsed() < Duration::from_secs(5), "it is still open");
        holder.try_write(masked(PING, b"")).await;
        match holder.frame().await {
            frame if frame.first == CLOSE => break frame,
            frame => assert!([PING, PONG].contains(&frame.first), "{frame:?}"),
        }
    };
    assert_eq!(closed, close(1008, "message not finished within 600ms"));
    let took = began.elapsed();
    assert!((600..2000).contains(&took.as_millis()), "{took:?}");
    // Not later than its Close, though its connection stands.
    let mut next = open(&bridge, &[]).await;
    next.write([&unfinished[..], &masked(PING, b"there")].concat()).await;
    assert_eq!(next.frame().await, pong(b"there"));
    drop((holder, next));
    all_left(&bridge).await;
    let (_, metrics) = admin(&bridge, "/metrics").await;
    let ended = "sluicegate_sessions_ended_total{cluster=\"default\",reason=\"unfinished\"} 1\n";
    assert!(metrics.contains(ended), "{metrics}");
}

#[tokio::test]
async fn client_that_leaves_is_noticed_within_a_second() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    for asks in [false, true] {
        let mut client = open(&bridge, &[]).await;
        if asks {
            let fetch = CmdKafkaFetch { topic: "t".into(), partition: 0, offset: 0, ..Default::default() };
            client.write(request(1, Req::CmdKafkaFetch(fetch))).await;
        }
        client.write(request(2, ping(""))).await;
        assert_eq!(client.answer().await.sequence, 2);
        assert_eq!(sessions(&bridge).await, 1);
        drop(client);
        all_left(&bridge).await;
    }
}

/// Its client need not close the connection.
#[tokio::test]
async fn session_ends_with_the_closing_handshake() {
    let bridge = start("").await;
    let mut first = open(&bridge, &[]).await;
    first.write(masked(CLOSE, b"\x03\xe8")).await;
    assert_eq!(first.closed().await, (1000, String::new()));
    all_left(&bridge).await;

    let mut second = open(&bridge, &[]).await;
    let began = Instant::now();
    let answer = async {
        second.is_closed(&close(1001, "going away"), "a drained session").await;
        second.write(masked(CLOSE, b"\x03\xe9")).await;
    };
    tokio::join!(bridge.drain(), answer);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn client_that_does_not_answer_the_close_is_given_up() {
    let bridge = start("[session]\nclose_timeout_ms = 300").await;
    let mut client = open(&bridge, &[]).await;
    let sent = Instant::now();
    client.write([0x82, 0x01, 0]).await;
    assert_eq!(client.closed().await, (1002, "frame without a mask".into()));
    all_left(&bridge).await;
    assert!(sent.elapsed() >= Duration::from_millis(300), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn client_that_answers_no_ping_is_closed() {
    let bridge = start("[session]\nping_interval_ms = 200").await;
    let mut client = open(&bridge, &[]).await;
    assert_eq!(client.frame().await.first, PING);
    client.write(masked(PONG, b"")).await;
    for _ in 0..2 {
        assert_eq!(client.frame().await.first, PING);
    }
    assert_eq!(client.closed().await, (1011, "no answer to ping".into()));
}

#[tokio::test]
async fn clients_that_send_without_pause_and_never_read_stop_nobody() {
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
        let client = Raw::over(socket.connect(bridge.address()).await.unwrap());
        let mut client = client.upgraded(&upgrade(&[])).await;
        let requests = masked(PING, &[b'x'; 125]).repeat(100);
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
    let mut beside = open(&bridge, &[]).await;
    let asked = Instant::now();
    beside.write(request(5, ping(""))).await;
    assert_eq!(beside.answer().await.sequence, 5);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    // The session ends after three intervals without progress; the system closes the connection after four.
    becomes("open sessions", 1, Duration::from_secs(10), async || sessions(&bridge).await).await;
}
