//! Retries of reads.

use sluicegate_protocol::KafkaListOffsetResp;
use tokio::time::sleep;

use super::*;

#[tokio::test]
async fn reads_are_repeated_while_they_can_succeed_later() {
    let offset = Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: 5 });
    let answers = vec![busy(), offset, busy(), busy(), messages([40]), busy(), messages([41])];
    let (client, server) = play(answers).await;
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
        let (client, mut peer) = connected(|builder| builder.max_retries(retries)).await;
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
        let within = Duration::from_millis(400);
        let (client, mut peer) = connected(|builder| builder.retry_within(within)).await;
        tokio::spawn(async move {
            for (pause, answer) in [(wait, busy()), (wait, busy()), (Duration::ZERO, messages([0]))] {
                let (sequence, _) = peer.request().await;
                sleep(pause).await;
                peer.answer(sequence, answer).await;
            }
        });
        let fetched = client.fetch_with("orders", 0, 0, options).await;
        assert_eq!(fetched.is_ok(), retried, "{fetched:?}");
    }
}
