//! Streams of NATS.

use sluicegate_protocol::nats_source::From;
use sluicegate_protocol::nats_subscription_event::{CaughtUp, Event, Retrying, Skipped};
use sluicegate_protocol::{
    CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, ListedSequence, NatsDeliveryResp,
    NatsFetchResp, NatsListSequencesResp, NatsMessage, NatsPublishResp, NatsSource, NatsSubscribedResp,
    NatsSubscriptionEvent, Published, StreamTime, SubscribedStream,
};

use super::*;
use crate::nats::{self, SequenceQuery, Source, Update};

#[tokio::test]
async fn fetch_reads_messages_and_the_ends_of_the_stream() {
    let messages = vec![message(5), message(7)];
    let answer = NatsFetchResp {
        messages: messages.clone(),
        next_sequence: 9,
        end: Some(20),
        first_sequence: Some(-1),
    };
    let (client, server) = play(vec![Resp::NatsFetchResp(answer)]).await;
    let options =
        FetchOptions::new().max_wait(Duration::from_millis(250)).min_bytes(1).max_bytes(2).max_records(3);
    let options = options.filter(Filter::subject().starts_with("a."));
    let fetched = client.nats().fetch_with("orders", 5, options).await.unwrap();
    assert_eq!(fetched, nats::Fetched { messages, next_sequence: 9, end: Some(20), first_sequence: None });
    let want = CmdNatsFetch {
        stream: "orders".into(),
        sequence: 5,
        max_wait_ms: Some(250),
        min_bytes: 1,
        max_bytes: 2,
        max_messages: 3,
        filters: vec![RecordFilter { prefixes: vec!["a.".into()], ..Default::default() }],
    };
    assert_eq!(server.await.unwrap(), [Req::CmdNatsFetch(want)]);
}

#[tokio::test]
async fn walk_begins_at_the_first_message_and_skips_deleted_ones() {
    let (client, server) = play(vec![
        fetched(&[4, 5], 8),
        Resp::ErrorResp(busy()),
        fetched(&[8], 9),
        Resp::ErrorResp(ErrorResp { code: 10_059, ..Default::default() }),
        fetched(&[], 9),
    ])
    .await;
    let mut walk = client.nats().walk("orders", 0);
    for (sequences, position) in [(vec![4, 5], 8), (vec![8], 9)] {
        assert_eq!(sequences_of(&walk.next_batch().await.unwrap().messages), sequences);
        assert_eq!(walk.position(), position);
    }
    assert!(matches!(walk.next_batch().await, Err(Error::Command { code: 10_059, .. })));
    assert!(walk.next_batch().await.unwrap().messages.is_empty());
    let asked = server.await.unwrap().into_iter().map(|command| match command {
        Req::CmdNatsFetch(fetch) => fetch.sequence,
        other => panic!("not a fetch: {other:?}"),
    });
    assert_eq!(asked.collect::<Vec<_>>(), [0, 8, 8, 9, 9]);
}

#[tokio::test]
async fn list_sequences_has_a_result_for_each_query() {
    let query = |at| SequenceQuery { stream: "orders".into(), at };
    let queries = [query(At::Latest), query(At::Millis(5)), query(At::Earliest)];
    let found = |sequence, timestamp| ListedSequence { sequence, timestamp, error: None };
    let missing = ErrorResp { code: 10_059, ..Default::default() };
    let refused = ListedSequence { error: Some(missing), ..Default::default() };
    let failing = ListedSequence { error: Some(busy()), ..Default::default() };
    let (client, server) = play(vec![
        listed(vec![found(9, -1), failing, refused.clone()]),
        listed(vec![found(9, -1), found(-1, -1), refused]),
    ])
    .await;
    let got = client.nats().list_sequences(&queries).await.unwrap();
    let sequence = |sequence| Ok(nats::ListedSequence { sequence, timestamp: None });
    assert_eq!((&got[0], &got[1]), (&sequence(Some(9)), &sequence(None)));
    assert!(matches!(got[2], Err(Error::Command { code: 10_059, .. })), "{got:?}");
    let time = |timestamp| StreamTime { stream: "orders".into(), timestamp };
    let want = Req::CmdNatsListSequences(CmdNatsListSequences { times: vec![time(-1), time(5), time(-2)] });
    assert_eq!(server.await.unwrap(), [want.clone(), want]);
}

#[tokio::test]
async fn list_sequences_splits_long_lists() {
    let found = |sequence| ListedSequence { sequence, timestamp: 1, error: None };
    let (client, _server) =
        play(vec![listed((0..1000).map(found).collect()), listed(vec![found(1000)])]).await;
    let query = |number| SequenceQuery { stream: format!("s{number}"), at: At::Latest };
    let got = client.nats().list_sequences(&(0..1001).map(query).collect::<Vec<_>>()).await.unwrap();
    let got: Vec<_> = got.into_iter().map(|listed| listed.unwrap().sequence.unwrap()).collect();
    assert_eq!(got, (0..1001).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_message_has_a_sequence_or_an_error() {
    let written = Published { sequence: 7, ..Default::default() };
    let again =
        Published { sequence: 3, duplicate: true, duplicate_window_ms: 120_000, ..Default::default() };
    let refused = Published { error: Some(busy()), ..Default::default() };
    let results = vec![written, again, refused];
    let publishing = |results| Resp::NatsPublishResp(NatsPublishResp { results });
    let (client, server) =
        play(vec![publishing(results), Resp::ErrorResp(busy()), publishing(Vec::new())]).await;
    let messages: Vec<_> = ["", "a", "b"].map(to_publish).into();
    let got = client.nats().publish(messages.clone()).await.unwrap();
    let stored =
        |sequence, duplicate, duplicate_window| Ok(nats::Published { sequence, duplicate, duplicate_window });
    assert_eq!(got[..2], [stored(7, false, None), stored(3, true, Some(Duration::from_secs(120)))]);
    let error = got[2].clone().unwrap_err();
    assert!(error.retriable, "{error:?}");
    let whole = client.nats().publish(messages[..2].to_vec()).await.unwrap();
    assert_eq!(whole, vec![Err(error); 2]);
    let short = client.nats().publish(messages[..1].to_vec()).await;
    assert!(matches!(short, Err(Error::Protocol { .. })), "{short:?}");
    // Nothing was sent again.
    let sent = [3, 2, 1].map(|count| {
        let messages = messages[..count].to_vec();
        Req::CmdNatsPublish(CmdNatsPublish { messages, ..Default::default() })
    });
    assert_eq!(server.await.unwrap(), sent);
}

#[tokio::test]
async fn subscription_has_its_options_and_tells_what_happens() {
    let stream = || "orders".to_owned();
    let (client, server) = session(async move |mut peer: Peer| {
        let (sequence, command) = peer.request().await;
        let begun = SubscribedStream { stream: stream(), stream_id: "id".into(), next_sequence: 5 };
        let subscribed = NatsSubscribedResp { streams: vec![begun], snapshot: false };
        peer.answer(sequence, Resp::NatsSubscribedResp(subscribed)).await;
        let messages = vec![message(5), message(6)];
        let delivery = NatsDeliveryResp { messages, stream: stream(), next_sequence: 7, end: 100 };
        peer.answer(sequence, Resp::NatsDeliveryResp(delivery)).await;
        let caught_up = CaughtUp { stream: stream(), next_sequence: 7 };
        let skipped = Skipped { stream: stream(), from: 7, to: 9, cause: 1 };
        let retrying = Retrying { stream: stream(), error: Some(busy()), since: 11 };
        let events = [Event::CaughtUp(caught_up), Event::Skipped(skipped), Event::Retrying(retrying)];
        // One that this client does not know.
        for event in [None].into_iter().chain(events.map(Some)) {
            peer.answer(sequence, Resp::NatsSubscriptionEvent(NatsSubscriptionEvent { event })).await;
        }
        // The answer to another command.
        peer.answer(sequence, Resp::KafkaFetchResp(KafkaFetchResp::default())).await;
        (peer, command)
    })
    .await;
    let sources = [
        Source::new("orders").sequence(5).stream_id("id"),
        Source::new("payments").at(At::Earliest),
        Source::new("new"),
    ];
    let subscribe = Subscribe::new(sources).filter(Filter::subject().starts_with("orders.eu"));
    let subscribe = subscribe.max_batch_bytes(3).max_batch_records(4).linger(Duration::from_millis(5));
    let mut subscription = client.nats().subscribe(subscribe.skip_on_lag().window(6));

    let Some(Ok(Update::Subscribed(streams))) = subscription.next().await else { panic!() };
    assert_eq!((&*streams[0].stream, &streams[0].stream_id[..]), ("orders", &b"id"[..]));
    assert_eq!(streams[0].next_sequence, 5);
    let Some(Ok(Update::Delivery(got))) = subscription.next().await else { panic!() };
    assert_eq!((&*got.stream, sequences_of(&got.messages)), ("orders", vec![5, 6]));
    assert_eq!((got.next_sequence, got.end, got.behind()), (7, Some(100), 93));
    let want = Update::CaughtUp { stream: "orders".into(), next_sequence: 7 };
    assert_eq!(subscription.next().await, Some(Ok(want)));
    let want = Update::Skipped { stream: "orders".into(), from: 7, to: 9, cause: SkipCause::Lag };
    assert_eq!(subscription.next().await, Some(Ok(want)));
    let Some(Ok(Update::Retrying { error, since: 11, .. })) = subscription.next().await else { panic!() };
    assert!(matches!(error, Error::Command { retriable: true, .. }));
    let end = subscription.next().await;
    assert!(matches!(end, Some(Err(Error::Protocol { .. }))), "{end:?}");

    let source = |stream: &str, from| NatsSource { stream: stream.into(), from, ..Default::default() };
    let first = NatsSource { stream_id: "id".into(), ..source("orders", Some(From::Sequence(5))) };
    let want = CmdNatsSubscribe {
        sources: vec![first, source("payments", Some(From::Timestamp(-2))), source("new", None)],
        filters: vec![RecordFilter { prefixes: vec!["orders.eu".into()], ..Default::default() }],
        max_batch_bytes: 3,
        max_batch_messages: 4,
        linger_ms: 5,
        credit: Some(6),
        on_lag: OnLag::Skip.into(),
        ..Default::default()
    };
    assert_eq!(server.await.unwrap().1, Req::CmdNatsSubscribe(want));
}

fn message(sequence: i64) -> NatsMessage {
    NatsMessage { sequence, subject: "orders.eu".into(), data: "data".into(), ..Default::default() }
}

fn fetched(sequences: &[i64], next_sequence: i64) -> Resp {
    let messages = sequences.iter().copied().map(message).collect();
    Resp::NatsFetchResp(NatsFetchResp { messages, next_sequence, ..Default::default() })
}

fn sequences_of(messages: &[NatsMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.sequence).collect()
}

fn listed(results: Vec<ListedSequence>) -> Resp {
    Resp::NatsListSequencesResp(NatsListSequencesResp { results })
}

fn to_publish(message_id: &str) -> PublishMessage {
    let message_id = message_id.to_owned();
    PublishMessage { stream: "orders".into(), subject: "orders.eu".into(), message_id, ..Default::default() }
}

fn busy() -> ErrorResp {
    ErrorResp { retriable: true, ..Default::default() }
}
