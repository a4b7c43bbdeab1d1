//! Retries of reads.

use std::time::Duration;

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ErrorResp, KafkaListOffsetResp};
use tokio::time::sleep;

use super::server::{Peer, accept, listener, messages, session};
use crate::{At, Client, Error, FetchOptions};

#[tokio::test]
async fn reads_are_repeated_while_they_can_succeed_later() {
    let (client, server) = session(async |mut peer: Peer| {
        let offset = Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: 5 });
        let mut asked = Vec::new();
        for answer in [busy(), offset, busy(), busy(), messages([40]), busy(), messages([41])] {
            let (sequence, command) = peer.request().await;
            asked.push(command);
            peer.answer(sequence, answer).await;
        }
        asked
    })
    .await;
    assert_eq!(client.list_offset("orders", 0, At::Latest).await, Ok(Some(5)));
    assert_eq!(client.fetch("orders", 0, 40).await.unwrap().messages.len(), 1);
    assert_eq!(client.walk("orders", 0, 41).next_batch().await.unwrap().messages.len(), 1);
    let asked = server.await.unwrap();
    for same in [0..2, 2..5, 5..7] {
        let first = &asked[same.start];
        assert!(asked[same].iter().all(|command| command == first), "{asked:?}");
    }
}

#[tokio::test]
async fn retries_end_with_the_error() {
    for retries in [0, 1] {
        let (listener, url) = listener().await;
        let connecting = tokio::spawn(Client::builder(url).max_retries(retries).connect());
        let mut peer = accept(&listener).await;
        let client = connecting.await.unwrap().unwrap();
        let server = tokio::spawn(async move {
            for _ in 0..=retries {
                let (sequence, _) = peer.request().await;
                peer.answer(sequence, busy()).await;
            }
            peer.ping().await;
        });
        let failed = client.fetch("orders", 0, 0).await;
        assert!(matches!(failed, Err(Error::Command { code: 6, retriable: true, .. })), "{failed:?}");
        // The next request is no retry.
        assert!(client.ping("").await.is_err());
        server.await.unwrap();
    }
}

#[tokio::test]
async fn waits_do_not_use_up_the_time_for_retries() {
    let wait = Duration::from_millis(500);
    // The servers wait before each of their answers but the last.
    for (options, retried) in [(FetchOptions::new(), false), (FetchOptions::new().max_wait(wait), true)] {
        let (listener, url) = listener().await;
        let within = Duration::from_millis(400);
        let connecting = tokio::spawn(Client::builder(url).retry_within(within).connect());
        let mut peer = accept(&listener).await;
        let client = connecting.await.unwrap().unwrap();
        tokio::spawn(async move {
            for _ in 0..2 {
                let (sequence, _) = peer.request().await;
                sleep(wait).await;
                peer.answer(sequence, busy()).await;
            }
            let (sequence, _) = peer.request().await;
            peer.answer(sequence, messages([0])).await;
        });
        let fetched = client.fetch_with("orders", 0, 0, options).await;
        assert_eq!(fetched.is_ok(), retried, "{fetched:?}");
    }
}

fn busy() -> Resp {
    Resp::ErrorResp(ErrorResp { code: 6, retriable: true, ..Default::default() })
}
