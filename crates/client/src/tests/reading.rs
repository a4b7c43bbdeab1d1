//! Fetches, also those of older servers, walks, and retries.

use std::time::Instant;

use sluicegate_protocol::CmdKafkaFetch;
use tokio::time::sleep;

use super::*;
use crate::{Fetched, TimestampType};

#[tokio::test]
async fn options_are_sent() {
    let (client, server) = play(vec![committed(vec![]); 3]).await;
    let all = FetchOptions::new()
        .max_wait(Duration::from_millis(250))
        .min_bytes(1)
        .max_bytes(2)
        .max_records(3)
        .filter(Filter::key().equals("k"))
        .isolation(Isolation::ReadCommitted);
    let far = FetchOptions::new().max_wait(Duration::MAX);
    client.fetch("orders", 2, 40).await.unwrap();
    client.fetch_with("orders", 2, 40, all).await.unwrap();
    client.fetch_with("orders", 2, 40, far).await.unwrap();
    let plain = CmdKafkaFetch { topic: "orders".into(), partition: 2, offset: 40, ..Default::default() };
    let full = CmdKafkaFetch {
        max_wait_ms: Some(250),
        min_bytes: 1,
        max_bytes: 2,
        max_records: 3,
        isolation: Isolation::ReadCommitted.into(),
        filters: vec![RecordFilter { equals: vec!["k".into()], ..Default::default() }],
        ..plain.clone()
    };
    let far = CmdKafkaFetch { max_wait_ms: Some(30_000), ..plain.clone() };
    assert_eq!(server.await.unwrap(), [plain, full, far].map(Req::CmdKafkaFetch));
}

#[tokio::test]
async fn max_wait_extends_the_time_limit() {
    let limit = Duration::from_millis(20);
    let (client, mut peer) = connected(|builder| builder.request_timeout(limit)).await;
    tokio::spawn(async move { while peer.message().await.is_some() {} });
    let options = FetchOptions::new().max_wait(Duration::from_millis(30));
    let after = Duration::from_millis(50);
    assert_eq!(client.fetch_with("orders", 0, 0, options.clone()).await, Err(Error::Timeout { after }));
    assert_eq!(client.multi_fetch(&[], options).await, Err(Error::Timeout { after }));
    // The server's own wait can be that long.
    let unknown = timeout(Duration::from_millis(100), client.fetch("orders", 0, 0)).await;
    assert!(unknown.is_err(), "{unknown:?}");
}

#[tokio::test]
async fn answer_has_messages_and_the_ends_of_the_log() {
    let stamped = KafkaMessage {
        offset: 41,
        timestamp_type: TimestampType::LogAppendTime.into(),
        ..KafkaMessage::default()
    };
    let answer = KafkaFetchResp {
        messages: vec![stamped.clone()],
        next_offset: 44,
        high_watermark: Some(90),
        last_stable_offset: Some(80),
        log_start_offset: Some(-1),
    };
    let want = Fetched {
        messages: vec![stamped],
        next_offset: 44,
        high_watermark: Some(90),
        last_stable_offset: Some(80),
        log_start_offset: None,
    };
    assert_eq!(fetch(Resp::KafkaFetchResp(answer), FetchOptions::new()).await, Ok(want));
}

/// Such servers also ignore the options.
#[tokio::test]
async fn answer_without_next_offset_continues_after_the_last_message() {
    let count = |count| FetchOptions::new().max_records(count);
    for (offsets, options, want, next) in [
        (&[][..], count(0), &[][..], 40),
        (&[40, 42], count(0), &[40, 42], 43),
        (&[38, 39, 40], count(0), &[40], 41),
        (&[38, 39, 40, 41, 42], count(2), &[40, 41], 42),
    ] {
        let fetched = fetch(messages(offsets.iter().copied()), options).await.unwrap();
        let got: Vec<_> = fetched.messages.iter().map(|message| message.offset).collect();
        assert_eq!((&got[..], fetched.next_offset), (want, next), "{offsets:?}");
        assert_eq!(fetched.high_watermark.or(fetched.last_stable_offset), None);
    }
}

#[tokio::test]
async fn committed_read_fails_if_the_server_does_not_support_it() {
    let options = FetchOptions::new().isolation(Isolation::ReadCommitted);
    for answer in [messages([]), messages([40])] {
        assert_eq!(fetch(answer, options.clone()).await, Err(Error::IsolationUnsupported));
    }
    let fetched = fetch(committed(vec![KafkaMessage { offset: 40, ..Default::default() }]), options).await;
    assert_eq!(fetched.unwrap().messages.len(), 1);
}

/// The answer of a server that knows isolation levels, but not the log's ends.
fn committed(messages: Vec<KafkaMessage>) -> Resp {
    Resp::KafkaFetchResp(KafkaFetchResp { messages, last_stable_offset: Some(-1), ..Default::default() })
}

/// Fetches from offset 40.
async fn fetch(answer: Resp, options: FetchOptions) -> Result<Fetched, Error> {
    let (client, _server) = play(vec![answer]).await;
    client.fetch_with("orders", 2, 40, options).await
}

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
async fn walk_continues_after_the_last_message_and_skips_offsets_without_any() {
    // Gaps are compacted records. The third answer begins before the requested offset, as some servers' do.
    let answers = vec![messages([10, 11, 14]), messages([]), messages([13, 14, 20]), messages([7])];
    let batches = [(&[10, 11, 14][..], 15), (&[], 15), (&[20], 21), (&[], 21)];
    check(10, answers, &batches, &[10, 15, 15, 21]).await;
    check(0, vec![messages([i64::MAX])], &[(&[i64::MAX], i64::MAX)], &[0]).await;
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
