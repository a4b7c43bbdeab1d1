//! Reading a partition in order.

use std::time::Instant;

use super::*;

/// Walks from an offset, and checks the offsets and the position of each batch, and the offsets that are asked for.
async fn check(from: i64, answers: Vec<Resp>, batches: &[(&[i64], i64)], asked: &[i64]) {
    let (client, server) = play(answers).await;
    let mut walk = client.walk("orders", 0, from).with_options(FetchOptions::new().max_records(7));
    for (want, position) in batches {
        let offsets: Vec<_> = walk.next_batch().await.unwrap().messages.iter().map(|m| m.offset).collect();
        assert_eq!((&offsets[..], walk.position()), (*want, *position));
    }
    let offset = |command| match command {
        Req::CmdKafkaFetch(fetch) => (fetch.offset, fetch.max_records),
        other => panic!("not a fetch: {other:?}"),
    };
    let got: Vec<_> = server.await.unwrap().into_iter().map(offset).collect();
    assert_eq!(got, asked.iter().map(|offset| (*offset, 7)).collect::<Vec<_>>());
}

#[tokio::test]
async fn walk_continues_after_the_last_message() {
    // Gaps are compacted records. The third answer begins before the requested offset, as some servers' do.
    let answers = vec![messages([10, 11, 14]), messages([]), messages([13, 14, 20]), messages([7])];
    let batches = [(&[10, 11, 14][..], 15), (&[], 15), (&[20], 21), (&[], 21)];
    check(10, answers, &batches, &[10, 15, 15, 21]).await;
    check(0, vec![messages([i64::MAX])], &[(&[i64::MAX], i64::MAX)], &[0]).await;
}

#[tokio::test]
async fn walk_skips_offsets_without_messages() {
    let empty =
        |next_offset| Resp::KafkaFetchResp(KafkaFetchResp { next_offset, ..KafkaFetchResp::default() });
    let answers = vec![messages([4]), empty(90), empty(7), messages([90])];
    check(4, answers, &[(&[4], 5), (&[], 90), (&[], 90), (&[90], 91)], &[4, 5, 90, 90]).await;
}

#[tokio::test]
async fn failed_fetch_keeps_the_position() {
    let error = ErrorResp { code: 29, ..Default::default() };
    let (client, _server) = play(vec![Resp::ErrorResp(error), messages([3])]).await;
    let mut walk = client.walk("orders", 0, 3);
    assert!(matches!(walk.next_batch().await, Err(Error::Command { code: 29, .. })));
    assert_eq!((walk.next_batch().await.unwrap().messages.len(), walk.position()), (1, 4));
}

#[tokio::test]
async fn walk_pauses_at_the_log_end() {
    let start = Instant::now();
    check(0, vec![messages([]), messages([])], &[(&[], 0), (&[], 0)], &[0, 0]).await;
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}
