//! Clients that flood or do not read, and other clients on the same connection.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, PubSubReq};

use crate::http::rest;
use crate::support::{
    self, ENDPOINTS, Endpoint, Gateway, close, flood, framed, metric, ping, start, start_hanging,
};

/// HTTP/2's library ends a connection for DATA frames that are short and not read: here for 41,000 of 8 bytes.
#[tokio::test]
async fn unread_streams_of_tiny_messages_end_no_other() {
    let limits = "socket.timeout.ms = 60000\nsocket.connection.setup.timeout.ms = 60000\n[limits]\n\
                  max_streams = 310\nconnection_window_bytes = 20316160\nmax_commands_per_session = 1";
    let (bridge, _kafka) = start_hanging(limits).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut bystander = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    let fetch = Req::CmdKafkaFetch(CmdKafkaFetch::default());
    let tiny = framed(&PubSubReq { sequence: 0, req: Some(fetch) }.encode_to_vec());
    assert_eq!(tiny.len(), 8);
    let mut streams = Vec::new();
    for at in 0..300 {
        let mut stream = gateway.open(ENDPOINTS[at % 2], &[]).await.unwrap();
        stream.ask(1, support::fetch()).await;
        streams.push(stream);
    }
    // They wait behind the command that runs.
    for _ in 0..300 {
        for stream in &mut streams {
            stream.write(tiny.clone()).await;
        }
        bystander.is_open().await;
    }
    // A stream that goes on ends alone.
    let (greedy, others) = streams.split_first_mut().unwrap();
    for _ in 0..1000 {
        greedy.try_write(tiny.clone()).await;
    }
    let reason = "too many waiting requests (limits: 1000, 4194304 bytes), read answers before sending more";
    assert_eq!(greedy.next().await, Some(close(1008, reason)));
    for other in others.iter_mut().chain([&mut bystander]) {
        other.is_open().await;
    }
}

/// The same for plain HTTP: bodies that nobody asked for.
#[tokio::test]
async fn bodies_of_reads_in_tiny_frames_end_no_other() {
    let limits = "socket.timeout.ms = 60000\nsocket.connection.setup.timeout.ms = 60000\n[limits]\n\
                  max_streams = 310\nconnection_window_bytes = 20316160";
    let (bridge, _kafka) = start_hanging(limits).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut bystander = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    let mut reads = Vec::new();
    for _ in 0..300 {
        let read = rest("GET", "/topics/t/partitions/0/records?offset=0").map(|_| ());
        reads.push(gateway.begin(read, false).await);
    }
    for _ in 0..300 {
        for (_, body) in &mut reads {
            body.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
        bystander.is_open().await;
    }
}

#[tokio::test]
async fn client_that_takes_nothing_has_its_stream_reset() {
    let bridge = start("[session]\nping_interval_ms = 200").await;
    let gateway = Gateway::connect(&bridge).await;
    let state = "x".repeat(4096);
    let request = framed(&PubSubReq { sequence: 1, req: Some(ping(&state)) }.encode_to_vec());
    for endpoint in ENDPOINTS {
        let stream = gateway.open(endpoint, &PADDED).await.unwrap();
        let mut stream = flood(stream, request.clone()).await;
        let reset = std::future::poll_fn(|cx| stream.send.poll_reset(cx));
        let reason = tokio::time::timeout(Duration::from_secs(5), reset);
        assert_eq!(reason.await.expect("a reset").unwrap(), h2::Reason::CANCEL, "{endpoint:?}");
    }
    let ended = "sluicegate_sessions_ended_total{cluster=\"default\",reason=\"stalled\"}";
    assert_eq!(metric(&bridge, ended).await, 2);
}

/// The header of a filter that pads its writes: the bridge holds it back by not reading.
pub(crate) const PADDED: [(&str, &str); 1] = [("sluicegate-padded", "true")];
