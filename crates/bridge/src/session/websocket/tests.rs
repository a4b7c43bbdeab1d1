//! A session over an in-memory WebSocket, with tungstenite as the client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdPing, PubSubReq, PubSubResp};
use sluicegate_ws_session::budget::Budget;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;
use crate::session::tests::limits;
use crate::session::{End, Transport, run};

const MAX_FETCH: usize = 400_000;

/// A client connected through a pipe of `pipe` bytes.
async fn open(pipe: usize) -> (WebSocketStream<DuplexStream>, JoinHandle<End>) {
    open_on(&Budget::new(1 << 20, 1 << 20), pipe).await
}

/// The same, whose unfinished messages share `budget`.
async fn open_on(budget: &Arc<Budget>, pipe: usize) -> (WebSocketStream<DuplexStream>, JoinHandle<End>) {
    let limits = limits();
    let (client, server) = tokio::io::duplex(pipe);
    let messages = sluicegate_ws_session::Limits { max_message_bytes: limits.max_request_bytes };
    let session = Session::new(messages, Codec::Protobuf, budget, ClientKey::default());
    let (cluster, _) = Script::cluster(MAX_FETCH);
    let grant = Grant::all(&cluster);
    let transport = Transport::websocket(server, session, grant.clone());
    let running =
        async move { run(transport, Codec::Protobuf, grant.into(), &limits, Drain::default()).await };
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (client, tokio::spawn(running))
}

fn request(sequence: i64, req: Req) -> Message {
    Message::Binary(PubSubReq { sequence, req: Some(req) }.encode_to_vec().into())
}

#[tokio::test]
async fn answers_of_all_sizes_pass_pipes_of_all_sizes() {
    for (pipe, sizes) in [
        (1, &[0, 1, 100, 120, 126, 300][..]),
        (7, &[0, 125, 126, 8_100, 8_200, 20_000]),
        (5_000, &[0, 65_500, 65_536, 100_000, 300_000]),
        (1 << 20, &[0, 8_192, 65_536, 300_000]),
    ] {
        let (mut client, session) = open(pipe).await;
        for (sequence, &len) in (1..).zip(sizes) {
            let fetch = CmdKafkaFetch { topic: "0".into(), partition: len, offset: 0, ..Default::default() };
            client.send(request(sequence, Req::CmdKafkaFetch(fetch))).await.unwrap();
            let state = vec![b's'; usize::try_from(len).unwrap()].into();
            client.send(request(-sequence, Req::CmdPing(CmdPing { state }))).await.unwrap();
            client.send(Message::Ping(vec![b'p'; 125].into())).await.unwrap();
            let (mut answers, mut pongs) = (0, 0);
            while answers < 2 || pongs < 1 {
                match client.next().await.unwrap().unwrap() {
                    Message::Pong(payload) => {
                        assert_eq!(payload.len(), 125);
                        pongs += 1;
                    }
                    Message::Binary(answer) => {
                        let PubSubResp { sequence: of, resp } = PubSubResp::decode(answer).unwrap();
                        let found = match resp {
                            Some(Resp::PongResp(pong)) => (of, pong.state.len()),
                            Some(Resp::KafkaFetchResp(mut fetched)) => {
                                let value = fetched.messages.pop().unwrap().value;
                                (-of, value.map_or(0, |value| value.len()))
                            }
                            other => panic!("{other:?}"),
                        };
                        assert_eq!(found, (-sequence, usize::try_from(len).unwrap()), "pipe of {pipe}");
                        answers += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        client.close(None).await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(None)))));
        assert!(client.next().await.is_none());
        drop(client);
        assert_eq!(session.await.unwrap().kind().label(), "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_messages_keep_the_session_alive_if_each_finishes_in_time() {
    let (client, session) = open(1 << 20).await;
    let mut client = client.into_inner();
    // A few bytes every 20 seconds: one frame is always unfinished, so no pong can come in between.
    let message = PubSubReq { sequence: 1, req: Some(Req::CmdPing(CmdPing { state: vec![0; 4].into() })) };
    let message = message.encode_to_vec();
    let len = u8::try_from(message.len()).unwrap();
    let frame = [&[0x82, 0x80 | len, 0, 0, 0, 0], &message[..]].concat();
    assert_eq!(frame.len() % 4, 1);
    let frames = frame.repeat(20);
    let (finished, rest) = frames.split_at(frames.len() - frame.len() + 8);
    for bytes in finished.chunks(4) {
        client.write_all(bytes).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!session.is_finished());
    }
    // The last frame is too slow.
    for byte in &rest[..3] {
        client.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(session.await.unwrap(), End::Unfinished(Duration::from_secs(90)));
}

/// However lively its client is: it answers all pings.
#[tokio::test(start_paused = true)]
async fn message_that_is_never_whole_gives_its_memory_back() {
    let budget = Budget::new(1 << 20, 1 << 20);
    let (mut client, _session) = open_on(&budget, 1 << 20).await;
    let began = Instant::now();
    let unfinished = Frame::message(vec![0; 800], OpCode::Data(Data::Binary), false);
    client.send(Message::Frame(unfinished)).await.unwrap();
    let close = loop {
        match client.next().await.unwrap().unwrap() {
            Message::Ping(_) => assert_eq!(budget.used(), 800),
            Message::Close(close) => break close.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "message not finished within 90s"));
    // Not later than its Close, though its connection stands.
    assert_eq!((began.elapsed().as_secs(), budget.used()), (90, 0));
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_without_pause_and_never_reads_is_held_up_and_closed() {
    let (client, session) = open(16 * 1024).await;
    let mut client = client.into_inner();
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let mut sent = 0;
    while let Ok(Ok(())) = timeout(Duration::from_secs(1), client.write_all(&ping)).await {
        sent += ping.len();
    }
    assert!(sent < 1 << 18, "{sent} bytes were taken");
    assert_eq!(session.await.unwrap(), End::Stalled);
}

#[test]
fn unsent_close_ends_the_input() {
    let (cluster, _) = Script::cluster(MAX_FETCH);
    for (told, want) in [(true, Some(Bytes::from_static(b"request"))), (false, None)] {
        let step = vec![Output::Closing { told }, Output::ToBridge(b"request".to_vec())];
        assert_eq!(requests(step, &cluster.metrics), want);
    }
}
