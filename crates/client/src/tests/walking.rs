//! Reading a partition in order.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ErrorResp, KafkaFetchResp};

use super::server::{Peer, messages, session};
use crate::{Error, FetchOptions};

#[tokio::test]
async fn walk_continues_after_the_last_message() {
    let (client, server) = session(async |peer: Peer| {
        // Gaps are compacted records. The third answer begins before the requested offset, as some servers' do.
        let answers = [messages([10, 11, 14]), messages([]), messages([13, 14, 20]), messages([7])];
        play(peer, answers).await
    })
    .await;
    let mut walk = client.walk("orders", 0, 10);
    for (want, position) in [(&[10, 11, 14][..], 15), (&[], 15), (&[20], 21), (&[], 21)] {
        let offsets: Vec<_> = walk.next_batch().await.unwrap().messages.iter().map(|m| m.offset).collect();
        assert_eq!((&offsets[..], walk.position()), (want, position));
    }
    assert_eq!(server.await.unwrap(), [10, 15, 15, 21]);
}

#[tokio::test]
async fn walk_fetches_with_its_options() {
    let (client, server) = session(async |mut peer: Peer| {
        let mut asked = Vec::new();
        for offset in [0, 1] {
            let (sequence, Req::CmdKafkaFetch(fetch)) = peer.request().await else { panic!("not a fetch") };
            asked.push(fetch.max_records);
            peer.answer(sequence, messages([offset])).await;
        }
        asked
    })
    .await;
    let mut walk = client.walk("orders", 0, 0).with_options(FetchOptions::new().max_records(7));
    for _ in 0..2 {
        walk.next_batch().await.unwrap();
    }
    assert_eq!(server.await.unwrap(), [7, 7]);
}

#[tokio::test]
async fn walk_skips_offsets_without_messages() {
    let (client, server) = session(async |peer: Peer| {
        let empty = |next_offset| {
            Resp::KafkaFetchResp(KafkaFetchResp { messages: Vec::new(), next_offset, ..Default::default() })
        };
        play(peer, [messages([4]), empty(90), empty(7), messages([90])]).await
    })
    .await;
    let mut walk = client.walk("orders", 0, 4);
    for position in [5, 90, 90, 91] {
        walk.next_batch().await.unwrap();
        assert_eq!(walk.position(), position);
    }
    assert_eq!(server.await.unwrap(), [4, 5, 90, 90]);
}

#[tokio::test]
async fn failed_fetch_keeps_the_position() {
    let (client, server) = session(async |peer: Peer| {
        let error = ErrorResp { code: 29, ..Default::default() };
        play(peer, [Resp::ErrorResp(error), messages([3])]).await
    })
    .await;
    let mut walk = client.walk("orders", 0, 3);
    assert!(matches!(walk.next_batch().await, Err(Error::Command { code: 29, .. })));
    assert_eq!(walk.next_batch().await.unwrap().messages.len(), 1);
    assert_eq!(server.await.unwrap(), [3, 3]);
}

#[tokio::test]
async fn walk_pauses_at_the_log_end() {
    let (client, _server) = session(async |peer: Peer| play(peer, [messages([]), messages([])]).await).await;
    let mut walk = client.walk("orders", 0, 0);
    let start = Instant::now();
    walk.next_batch().await.unwrap();
    walk.next_batch().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn walk_survives_the_greatest_offset() {
    let (client, _server) = session(async |peer: Peer| play(peer, [messages([i64::MAX])]).await).await;
    let mut walk = client.walk("orders", 0, 0);
    walk.next_batch().await.unwrap();
    assert_eq!(walk.position(), i64::MAX);
}

/// Answers one fetch with each of `answers`, then returns the requested offsets.
async fn play(mut peer: Peer, answers: impl IntoIterator<Item = Resp>) -> Vec<i64> {
    let mut asked = Vec::new();
    for answer in answers {
        let (sequence, Req::CmdKafkaFetch(fetch)) = peer.request().await else { panic!("not a fetch") };
        asked.push(fetch.offset);
        peer.answer(sequence, answer).await;
    }
    asked
}
