//! Commands and their answers.

use sluicegate_protocol::CmdKafkaListOffset;

use super::*;
use crate::Written;

/// Pings at the same time.
fn pings(client: Client, states: Vec<Bytes>) -> Vec<JoinHandle<Result<Bytes, Error>>> {
    let client = Arc::new(client);
    let ping = |state| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.ping(state).await })
    };
    states.into_iter().map(ping).collect()
}

#[tokio::test]
async fn answers_in_any_order_reach_their_commands() {
    let (client, _server) = session(async |mut peer: Peer| {
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(peer.ping().await);
        }
        for (sequence, state) in asked.into_iter().rev() {
            peer.pong(sequence, state).await;
        }
        peer.message().await;
    })
    .await;
    let pings = pings(client, (0..8).map(|n| Bytes::from(vec![n])).collect());
    for (n, ping) in (0_u8..).zip(pings) {
        assert_eq!(ping.await.unwrap().unwrap(), [n][..]);
    }
}

#[tokio::test]
async fn list_offset_sends_the_timestamp() {
    for (at, timestamp, offset, want) in [
        (At::Earliest, -2, 5, Some(5)),
        (At::Latest, -1, 9, Some(9)),
        (At::Millis(1_700_000_000_000), 1_700_000_000_000, 7, Some(7)),
        (At::Millis(i64::MAX), i64::MAX, -1, None),
    ] {
        let (client, server) = play(vec![Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset })]).await;
        assert_eq!(client.list_offset("orders", 3, at).await.unwrap(), want, "{at:?}");
        let asked = CmdKafkaListOffset { topic: "orders".into(), partition: 3, timestamp };
        assert_eq!(server.await.unwrap(), [Req::CmdKafkaListOffset(asked)]);
    }
}

#[tokio::test]
async fn rejected_command_keeps_the_session() {
    let (client, _server) = session(async |mut peer: Peer| {
        let (sequence, _) = peer.request().await;
        let error = ErrorResp {
            code: 1,
            message: "OFFSET_OUT_OF_RANGE".into(),
            reason: Reason::OffsetOutOfRange.into(),
            earliest_offset: Some(0),
            latest_offset: Some(9),
            trace_id: "4bf9".into(),
            ..Default::default()
        };
        peer.answer(sequence, Resp::ErrorResp(error)).await;
        peer.answer_pings().await;
    })
    .await;
    let want = Error::Command {
        code: 1,
        message: "OFFSET_OUT_OF_RANGE".to_owned(),
        retriable: false,
        retry_after: None,
        reason: Reason::OffsetOutOfRange,
        earliest_offset: Some(0),
        latest_offset: Some(9),
        trace_id: "4bf9".into(),
    };
    assert_eq!(client.fetch("orders", 0, 99).await, Err(want));
    client.ping("").await.unwrap();
}

#[tokio::test]
async fn each_record_has_a_place_or_an_error() {
    fn record(value: &'static str) -> ProduceRecord {
        ProduceRecord { value: Some(value.into()), ..Default::default() }
    }
    let full = ErrorResp {
        retriable: true,
        retry_after_ms: 100,
        message: "full".into(),
        trace_id: "4bf9".into(),
        reason: Reason::QueueFull.into(),
        ..Default::default()
    };
    let written = Produced { partition: 1, offset: 2, timestamp: 3, ..Produced::default() };
    let again = Produced { offset: -1, ..written.clone() };
    let refused = Produced { error: Some(full.clone()), ..Default::default() };
    let results = vec![written, again, refused];
    let (client, _server) = session(async move |mut peer: Peer| {
        assert_eq!(peer.write(results.clone()).await, ["a", "b", "c"].map(record));
        let (sequence, _) = peer.request().await;
        peer.answer(sequence, Resp::ErrorResp(full.clone())).await;
        // Nothing is sent again.
        assert_eq!(peer.write(results).await, [record("e")]);
    })
    .await;
    let outcomes = client.produce(["a", "b", "c"].map(record).into()).await.unwrap();
    let (is_duplicate, duplicate_window) = (false, None);
    let place = |offset| Ok(Written { partition: 1, offset, timestamp: 3, is_duplicate, duplicate_window });
    assert_eq!(outcomes[..2], [place(Some(2)), place(None)]);
    let error = outcomes[2].clone().unwrap_err();
    assert_eq!((error.retriable, error.reason, &*error.trace_id), (true, Reason::QueueFull, "4bf9"));
    assert_eq!(error.retry_after, Some(Duration::from_millis(100)));

    let whole = client.produce(vec![record("d"); 2]).await.unwrap();
    assert_eq!(whole, vec![Err(error); 2]);
    // Three results for one record violate the protocol.
    assert!(matches!(client.produce(vec![record("e")]).await, Err(Error::Protocol { .. })));
}

/// Nobody knows whether it was written.
#[tokio::test]
async fn write_without_an_answer_is_not_repeated_and_a_late_one_is_dropped() {
    let limit = Duration::from_millis(50);
    let (client, mut peer) = connected(|builder| builder.request_timeout(limit)).await;
    let produced = client.produce(vec![ProduceRecord::default()]).await;
    assert_eq!(produced, Err(Error::Timeout { after: limit }));
    assert_eq!(peer.write(vec![Produced::default()]).await, [ProduceRecord::default()]);
    tokio::spawn(peer.answer_pings());
    assert_eq!(client.ping("answered").await.unwrap(), "answered");
}

#[tokio::test]
async fn wrong_kind_of_answer_fails_its_command_only() {
    let (client, _server) = session(async |mut peer: Peer| {
        let (sequence, _) = peer.request().await;
        peer.answer(sequence, Resp::PongResp(PongResp::default())).await;
        peer.answer_pings().await;
    })
    .await;
    assert!(matches!(client.fetch("orders", 0, 0).await, Err(Error::Protocol { .. })));
    client.ping("").await.unwrap();
}

/// The server is asked once, and only if a request may be too large.
#[tokio::test]
async fn request_over_the_limit_is_refused_before_it_is_sent() {
    let (client, _server) = session(async |mut peer: Peer| {
        let (small, state) = peer.ping().await;
        peer.pong(small, state).await;
        peer.tell_limits(Resp::SessionResp(SessionResp { max_message_bytes: 2000, ..Default::default() }))
            .await;
        peer.answer_pings().await;
    })
    .await;
    client.ping(vec![0; 1000]).await.unwrap();
    assert_eq!(client.ping(vec![0; 3000]).await, Err(Error::TooLarge { bytes: 3009, max: 2000 }));
    assert_eq!(client.ping(vec![0; 1992]).await, Err(Error::TooLarge { bytes: 2001, max: 2000 }));
    client.ping(vec![0; 1991]).await.unwrap();
    let value = Some(vec![0; 2000].into());
    let record = ProduceRecord { topic: "t".into(), value, ..Default::default() };
    assert_eq!(client.produce(vec![record]).await, Err(Error::TooLarge { bytes: 2015, max: 2000 }));
}

/// As `produce` promises.
#[tokio::test]
async fn small_write_does_not_overtake_one_that_asks_for_the_limit() {
    let record = |size| ProduceRecord { value: Some(vec![0; size].into()), ..Default::default() };
    let (client, _server) = session(async move |mut peer: Peer| {
        peer.tell_limits(Resp::SessionResp(SessionResp { max_message_bytes: 4000, ..Default::default() }))
            .await;
        for size in [2000, 1] {
            assert_eq!(peer.write(vec![Produced::default()]).await, [record(size)]);
        }
    })
    .await;
    let (large, small) = tokio::join!(client.produce(vec![record(2000)]), client.produce(vec![record(1)]));
    assert_eq!((large.unwrap().len(), small.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn max_in_flight_is_kept_and_dropped_commands_free_their_places() {
    let (client, mut peer) = connected(|builder| builder.max_in_flight(2)).await;
    let pings = pings(client, ["a", "b", "c"].map(Bytes::from).into());
    peer.ping().await;
    peer.ping().await;
    assert!(timeout(Duration::from_millis(50), peer.message()).await.is_err(), "a third request was sent");
    pings[0].abort();
    assert_eq!(peer.ping().await.1, "c");
}

#[tokio::test]
async fn websocket_pings_are_answered_while_idle() {
    let (_client, server) = session(async |mut peer: Peer| {
        peer.send(Message::Ping("alive?".into())).await;
        peer.message().await
    })
    .await;
    assert_eq!(server.await.unwrap(), Some(Message::Pong("alive?".into())));
}

#[tokio::test]
async fn answers_are_read_while_requests_wait() {
    const MIB: usize = 1024 * 1024;
    let (client, _server) = session(async |mut peer: Peer| {
        // More than any socket buffer holds, for commands that were never sent.
        for _ in 0..16 {
            peer.pong(i64::MAX, vec![0; MIB].into()).await;
        }
        peer.answer_pings().await;
    })
    .await;
    for ping in pings(client, vec![vec![1; MIB].into(); 16]) {
        assert_eq!(ping.await.unwrap().map(|state| state.len()), Ok(MIB));
    }
}
