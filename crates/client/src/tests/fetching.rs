//! Fetches, their options and answers, also those of older servers.

use sluicegate_protocol::CmdKafkaFetch;

use super::*;
use crate::TimestampType;

#[tokio::test]
async fn options_are_sent() {
    let (client, server) = play(vec![committed(vec![]); 3]).await;
    let all = FetchOptions::new()
        .max_wait(Duration::from_millis(250))
        .min_bytes(1)
        .max_bytes(2)
        .max_records(3)
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
    assert_eq!(client.fetch_with("orders", 0, 0, options).await, Err(Error::Timeout { after }));
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
    let fetched = fetch(Resp::KafkaFetchResp(answer), FetchOptions::new()).await.unwrap();
    assert_eq!(fetched.messages, [stamped]);
    assert_eq!(fetched.messages[0].timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(fetched.next_offset, 44);
    let ends = (fetched.high_watermark, fetched.last_stable_offset, fetched.log_start_offset);
    assert_eq!(ends, (Some(90), Some(80), None));
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
        assert_eq!(fetch(answer, options).await, Err(Error::IsolationUnsupported));
    }
    let fetched = fetch(committed(vec![KafkaMessage { offset: 40, ..Default::default() }]), options).await;
    assert_eq!(fetched.unwrap().messages.len(), 1);
}

/// The answer of a server that knows isolation levels, but not the log's ends.
fn committed(messages: Vec<KafkaMessage>) -> Resp {
    Resp::KafkaFetchResp(KafkaFetchResp { messages, last_stable_offset: Some(-1), ..Default::default() })
}

/// Fetches from offset 40.
async fn fetch(answer: Resp, options: FetchOptions) -> Result<crate::Fetched, Error> {
    let (client, _server) = play(vec![answer]).await;
    client.fetch_with("orders", 2, 40, options).await
}
