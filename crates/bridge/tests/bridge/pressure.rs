//! Clients that take and give without measure, and others beside them on the same connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::PubSubReq;

use crate::support::{ENTRANCES, Entrance, Gateway, admin, flood, framed, ping, start};

#[tokio::test]
async fn clients_that_send_without_pause_and_never_read_stop_nobody() {
    let bridge = start("[limits]\nsession_answer_bytes = 65536").await;
    let gateway = Gateway::connect(&bridge).await;
    let state = "x".repeat(4096);
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(&state)) }.encode_to_vec());
    let mut greedy = Vec::new();
    for entrance in ENTRANCES {
        for _ in 0..20 {
            let stream = gateway.open(entrance, &[]).await.unwrap();
            greedy.push(tokio::spawn(flood(stream, request.clone())));
        }
    }
    let mut taken = 0;
    for greedy in greedy.iter_mut() {
        let (stream, sent) = greedy.await.unwrap();
        taken += sent;
        // Kept open: their bytes stay where they are.
        std::mem::forget(stream);
    }
    let each = taken / 40;
    assert!((64 * 1024..1024 * 1024).contains(&each), "{each} bytes were taken of each");

    for entrance in ENTRANCES {
        let mut stream = gateway.open(entrance, &[]).await.unwrap();
        let asked = Instant::now();
        stream.ask(5, ping("")).await;
        assert_eq!(stream.next().await.unwrap().sequence, 5);
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_and_its_stream_reset() {
    let bridge = start("[session]\nping_interval_ms = 200").await;
    let gateway = Gateway::connect(&bridge).await;
    let state = "x".repeat(4096);
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(&state)) }.encode_to_vec());
    for entrance in ENTRANCES {
        let stream = gateway.open(entrance, &[]).await.unwrap();
        let (mut stream, _) = flood(stream, request.clone()).await;
        let reason = tokio::time::timeout(
            Duration::from_secs(5),
            std::future::poll_fn(|cx| stream.send.poll_reset(cx)),
        );
        assert_eq!(reason.await.expect("a reset").unwrap(), h2::Reason::CANCEL, "{entrance:?}");
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    let ended = "sluicegate_sessions_ended_total{cluster=\"default\",reason=\"stalled\"} 2";
    assert!(metrics.contains(ended), "{metrics}");
}

#[tokio::test]
async fn random_bytes_end_no_session_but_their_own() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let mut beside = gateway.open(Entrance::Connect, &[]).await.unwrap();
    // xorshift: any fixed sequence without a pattern will do.
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..300 {
        let mut stream = gateway.open(ENTRANCES[round % 2], &[]).await.unwrap();
        let len = next() % 200;
        let bytes: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[0]).collect();
        // Half of them within the framing, so that more than the first byte is judged.
        let bytes = if round % 4 < 2 { framed(&bytes) } else { Bytes::from(bytes) };
        // The session may be over before all of it is taken.
        stream.try_write(bytes).await;
    }
    beside.ask(9, ping("")).await;
    assert_eq!(beside.next().await.unwrap().sequence, 9);
}
