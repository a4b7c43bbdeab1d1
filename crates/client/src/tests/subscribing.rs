//! Subscriptions.

use sluicegate_protocol::kafka_source::From;
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, Retrying, Skipped, SnapshotEnd};
use sluicegate_protocol::{KafkaDeliveryResp, KafkaSource};

use super::server::head;
use super::*;
use crate::{Delivery, Subscription};

#[tokio::test]
async fn command_has_what_is_asked_for() {
    let (client, server) = session(async |mut peer: Peer| peer.request().await.1).await;
    let subscribe = Subscribe::new([
        Source::new("a").at(At::Millis(5)).partitions([1, 2]).next(2, 9).topic_id("id"),
        Source::new("b").offset(7),
        Source::new("c"),
    ]);
    let any = Filter::header("h").equals("x").starts_with("y");
    let subscribe =
        subscribe.filter(Filter::key().equals("k")).filter(any).isolation(Isolation::ReadCommitted);
    let part = Filter::value("/a").is("x").is(1.5).starts_with("y").above(5).below(u64::MAX);
    let subscribe = subscribe.filter(part).filter(Filter::value("/b").missing());
    let subscribe = subscribe.max_batch_bytes(3).max_batch_records(4).linger(Duration::from_millis(5));
    let _subscription = client.subscribe(subscribe.skip_on_lag().decode().window(6));
    let source = |topic: &str, from| KafkaSource { topic: topic.into(), from, ..Default::default() };
    let first = KafkaSource {
        partitions: vec![1, 2],
        next: vec![PartitionNext { partition: 2, offset: 9 }],
        topic_id: "id".into(),
        ..source("a", Some(From::Timestamp(5)))
    };
    let header = RecordFilter {
        header: Some("h".into()),
        equals: vec!["x".into()],
        prefixes: vec!["y".into()],
        ..Default::default()
    };
    let part = RecordFilter {
        pointer: Some("/a".into()),
        equals: vec!["\"x\"".into(), "1.5".into()],
        prefixes: vec!["y".into()],
        above: Some("5".into()),
        below: Some("18446744073709551615".into()),
        ..Default::default()
    };
    let missing = RecordFilter { pointer: Some("/b".into()), missing: true, ..Default::default() };
    let want = CmdKafkaSubscribe {
        sources: vec![first, source("b", Some(From::Offset(7))), source("c", None)],
        isolation: Isolation::ReadCommitted.into(),
        filters: vec![RecordFilter { equals: vec!["k".into()], ..Default::default() }, header, part, missing],
        max_batch_bytes: 3,
        max_batch_records: 4,
        linger_ms: 5,
        credit: Some(6),
        on_lag: OnLag::Skip.into(),
        decode: true,
        ..Default::default()
    };
    assert_eq!(server.await.unwrap(), Req::CmdKafkaSubscribe(want));
}

#[tokio::test]
async fn updates_are_what_the_server_tells() {
    let topic = || "t".to_owned();
    let (client, _server) = session(async move |mut peer: Peer| {
        let (sequence, _) = subscribed(&mut peer).await;
        peer.answer(sequence, delivery(0, &[5, 6])).await;
        let caught_up = CaughtUp { topic: topic(), partition: 0, next_offset: 7, open_transaction: None };
        let skipped = Skipped { topic: topic(), partition: 0, from: 7, to: 9, cause: 1 };
        let error = Some(ErrorResp { message: "no leader".into(), retriable: true, ..Default::default() });
        let retrying = Retrying { topic: topic(), partition: 0, error, since: 11 };
        let events = [Event::CaughtUp(caught_up), Event::Skipped(skipped), Event::Retrying(retrying)];
        // One that this client does not know.
        for event in [None].into_iter().chain(events.map(Some)) {
            peer.answer(sequence, Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event })).await;
        }
        peer.answer_pings().await;
    })
    .await;
    let mut subscription = client.subscribe(of_t());
    let Some(Ok(Update::Subscribed(topics))) = subscription.next().await else { panic!() };
    assert_eq!((&topics[0].topic[..], &topics[0].topic_id[..]), ("t", &b"id"[..]));
    assert_eq!(topics[0].partitions, [(0, 0), (1, 0)]);
    let Some(Ok(Update::Delivery(got))) = subscription.next().await else { panic!() };
    let places = (offsets(&got), got.next_offset, got.high_watermark, got.behind());
    assert_eq!(places, (vec![5, 6], 7, Some(100), 93));
    let want = Update::CaughtUp { topic: "t".into(), partition: 0, next_offset: 7, blocked_until: None };
    assert_eq!(subscription.next().await, Some(Ok(want)));
    let want = Update::Skipped { topic: "t".into(), partition: 0, from: 7, to: 9, cause: SkipCause::Lag };
    assert_eq!(subscription.next().await, Some(Ok(want)));
    let Some(Ok(Update::Retrying { error, since: 11, .. })) = subscription.next().await else { panic!() };
    assert!(matches!(error, Error::Command { retriable: true, .. }));
}

#[tokio::test]
async fn subscription_that_is_not_read_delays_no_other_command() {
    let window: u32 = 2000;
    let (client, server) = session(async move |mut peer: Peer| {
        let (sequence, _) = subscribed(&mut peer).await;
        let (mut credit, mut offset, mut most) = (u64::from(window), 0, 0);
        // 1,000 messages as credit allows, and pings meanwhile.
        while offset < 1000 {
            if credit > 0 {
                let Resp::KafkaDeliveryResp(answer) = delivery(0, &[offset]) else { unreachable!() };
                let bytes = crate::subscription::cost(&answer.messages);
                (credit, offset) = (credit.saturating_sub(bytes), offset + 1);
                peer.answer(sequence, Resp::KafkaDeliveryResp(answer)).await;
                continue;
            }
            match peer.request().await {
                (ping, Req::CmdPing(state)) => {
                    most = offset;
                    peer.pong(ping, state.state).await;
                }
                (_, Req::CmdCredit(more)) => credit += more.bytes,
                other => panic!("unexpected: {other:?}"),
            }
        }
        most
    })
    .await;
    let mut subscription = client.subscribe(of_t().window(window));
    subscription.next().await;
    for _ in 0..100 {
        client.ping("alive?").await.unwrap();
    }
    let read = read(&mut subscription, 1000).await;
    assert_eq!(read, (0..1000).collect::<Vec<_>>());
    let sent = server.await.unwrap();
    assert!((10..1000).contains(&sent), "{sent} of 1000 messages were sent before any was read");
}

#[tokio::test]
async fn answers_beyond_the_room_are_read_again() {
    let (client, mut peer) = connected(|builder| builder.max_message_bytes(2000)).await;
    let server = tokio::spawn(async move {
        let (sequence, _) = subscribed(&mut peer).await;
        // Without regard for credit. The ping proves that the client has them.
        for offset in 0..100 {
            peer.answer(sequence, delivery(0, &[offset])).await;
        }
        let (ping, state) = peer.ping().await;
        peer.pong(ping, state).await;
        loop {
            match peer.request().await {
                (_, Req::CmdCredit(_)) => {}
                (_, Req::CmdUnsubscribe(end)) => {
                    assert_eq!(end.subscription, sequence);
                    break;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        let (sequence, begin) = subscribed(&mut peer).await;
        for offset in begin[0]..100 {
            peer.answer(sequence, delivery(0, &[offset])).await;
            // The client takes what it has: it grants credit for each message.
            peer.request().await;
        }
        begin[0]
    });
    let mut subscription = client.subscribe(of_t().window(1));
    subscription.next().await;
    client.ping("").await.unwrap();
    assert_eq!(read(&mut subscription, 100).await, (0..100).collect::<Vec<_>>());
    let again = server.await.unwrap();
    assert!((1..100).contains(&again), "{again}");
}

#[tokio::test]
async fn lasting_errors_end_the_subscription() {
    let error = ErrorResp { code: 29, message: "denied".into(), ..Default::default() };
    let (client, _server) = session(async move |mut peer: Peer| {
        for answers in [vec![], vec![delivery(0, &[0])]] {
            let (sequence, _) = peer.request().await;
            for answer in answers.into_iter().chain([Resp::ErrorResp(error.clone())]) {
                peer.answer(sequence, answer).await;
            }
        }
        peer.answer_pings().await;
    })
    .await;
    for deliveries in [0, 1] {
        let mut subscription = client.subscribe(of_t());
        assert_eq!(read(&mut subscription, deliveries).await.len(), deliveries);
        let end = subscription.next().await;
        assert!(matches!(end, Some(Err(Error::Command { code: 29, .. }))), "{end:?}");
        assert_eq!(subscription.next().await, None);
    }
    client.ping("").await.unwrap();
}

#[tokio::test]
async fn subscription_ends_where_the_gateway_refuses_it() {
    let (listener, url) = listener().await;
    let server = tokio::spawn(async move {
        drop(accept(&listener).await);
        refuse(&listener, "401 Unauthorized", r#"{"detail":"the token is for another audience"}"#).await;
    });
    let mut subscription = Client::connect(&url).await.unwrap().subscribe(of_t());
    assert!(matches!(subscription.next().await, Some(Ok(Update::Reconnecting { .. }))));
    let Some(Err(Error::Reconnect { detail, retriable: false })) = subscription.next().await else {
        panic!()
    };
    let why = "the server answered HTTP 401: the token is for another audience";
    assert_eq!(detail, format!("open a WebSocket at {url}: {why}"));
    assert_eq!(subscription.next().await, None);
    server.await.unwrap();
}

#[tokio::test]
async fn subscription_outlives_its_client_and_unsubscribes_when_dropped() {
    let (client, server) = session(async |mut peer: Peer| {
        let (sequence, _) = subscribed(&mut peer).await;
        peer.answer(sequence, delivery(0, &[0])).await;
        let (_, Req::CmdUnsubscribe(end)) = peer.request().await else { panic!("not its end") };
        assert_eq!(end.subscription, sequence);
        peer.message().await
    })
    .await;
    let mut subscription = client.subscribe(of_t());
    drop(client);
    assert_eq!(read(&mut subscription, 1).await, [0]);
    drop(subscription);
    assert!(matches!(server.await.unwrap(), Some(Message::Close(_))));
}

#[tokio::test]
async fn pauses_do_not_grow_while_records_arrive() {
    let (client, _server) = session(async |mut peer: Peer| {
        for offset in 0..6 {
            let (sequence, _) = subscribed(&mut peer).await;
            peer.answer(sequence, delivery(0, &[offset])).await;
            peer.answer(sequence, busy()).await;
        }
        peer.message().await
    })
    .await;
    let mut subscription = client.subscribe(of_t());
    let mut pauses = Vec::new();
    while pauses.len() < 6 {
        if let Update::Reconnecting { pause, .. } = subscription.next().await.unwrap().unwrap() {
            pauses.push(pause);
        }
    }
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(100)), "{pauses:?}");
}

#[tokio::test]
async fn closed_client_ends_its_subscriptions() {
    let (client, _server) = session(async |mut peer: Peer| {
        subscribed(&mut peer).await;
        // The Close, and the codec's answer.
        while peer.message().await.is_some() {}
    })
    .await;
    let mut subscription = client.subscribe(of_t());
    subscription.next().await;
    client.close().await.unwrap();
    let end = subscription.next().await;
    assert!(matches!(end, Some(Err(Error::Closed { code: 1000, .. }))), "{end:?}");
}

#[tokio::test]
async fn silent_connection_is_checked_and_replaced() {
    let (client, server) = session(async |mut peer: Peer| {
        subscribed(&mut peer).await;
        let (ping, state) = peer.ping().await;
        peer.pong(ping, state).await;
        // Stays silent from then on.
        peer.ping().await;
        peer
    })
    .await;
    let mut subscription = client.subscribe(of_t());
    subscription.next().await;
    tokio::time::pause();
    let next = subscription.next().await;
    assert!(matches!(next, Some(Ok(Update::Reconnecting { error: Error::Timeout { .. }, .. }))), "{next:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn table_is_complete_from_the_end_of_each_snapshot_on() {
    let (client, _server) = session(async |mut peer: Peer| {
        let (sequence, _) = peer.request().await;
        let begin = Resp::KafkaSubscribedResp(KafkaSubscribedResp { snapshot: true, ..Default::default() });
        let event = Some(Event::SnapshotEnd(SnapshotEnd::default()));
        let end = Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event });
        for answer in [begin.clone(), end.clone(), begin, end] {
            peer.answer(sequence, answer).await;
        }
        peer.message().await
    })
    .await;
    let mut table = client.table("t");
    for is_complete in [false, true, false, true] {
        table.next().await.unwrap().unwrap();
        assert_eq!(table.is_complete(), is_complete);
    }
}

/// All of topic `t`.
pub(super) fn of_t() -> Subscribe {
    Subscribe::new([Source::new("t").at(At::Earliest)])
}

/// Answers a subscription of topic `t` with two partitions. Returns its sequence and where they begin.
async fn subscribed(peer: &mut Peer) -> (i64, Vec<i64>) {
    let (sequence, Req::CmdKafkaSubscribe(command)) = peer.request().await else { panic!("no subscription") };
    let begin = |partition| {
        let next = command.sources[0].next.iter().find(|next| next.partition == partition);
        next.copied().unwrap_or(PartitionNext { partition, offset: 0 })
    };
    let partitions = vec![begin(0), begin(1)];
    let begins = partitions.iter().map(|next| next.offset).collect();
    let topics = vec![SubscribedTopic { topic: "t".into(), topic_id: Bytes::from_static(b"id"), partitions }];
    peer.answer(sequence, Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false })).await;
    (sequence, begins)
}

pub(super) fn delivery(partition: i32, offsets: &[i64]) -> Resp {
    let message = |&offset: &i64| KafkaMessage { offset, value: Some("value".into()), ..Default::default() };
    let next_offset = offsets.last().map_or(0, |last| last.saturating_add(1));
    let messages = offsets.iter().map(message).collect();
    let topic = "t".to_owned();
    Resp::KafkaDeliveryResp(KafkaDeliveryResp {
        messages,
        topic,
        partition,
        next_offset,
        high_watermark: 100,
    })
}

/// The offsets of the next `count` messages.
async fn read(subscription: &mut Subscription, count: usize) -> Vec<i64> {
    let mut read = Vec::new();
    while read.len() < count {
        if let Update::Delivery(delivery) = subscription.next().await.unwrap().unwrap() {
            read.extend(offsets(&delivery));
        }
    }
    read
}

fn offsets(delivery: &Delivery) -> Vec<i64> {
    delivery.messages.iter().map(|message| message.offset).collect()
}

/// Answers the next upgrade with this status.
async fn refuse(listener: &TcpListener, status: &str, body: &str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    head(&mut stream).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn subscription_outlasts_temporary_errors_and_refusals() {
    let (listener, url) = listener().await;
    let server = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        let (sequence, _) = subscribed(&mut peer).await;
        peer.answer(sequence, delivery(0, &[0, 1])).await;
        peer.answer(sequence, busy()).await;
        // The connection is as good as before.
        assert_eq!(subscribed(&mut peer).await.1, [2, 0]);
        drop(peer);
        refuse(&listener, "503 Service Unavailable", "").await;
        assert_eq!(subscribed(&mut accept(&listener).await).await.1, [2, 0]);
    });
    let mut subscription = Client::connect(url).await.unwrap().subscribe(of_t());
    let mut failures = Vec::new();
    while failures.len() < 3 {
        if let Update::Reconnecting { error, .. } = subscription.next().await.unwrap().unwrap() {
            failures.push(error);
        }
    }
    let [Error::Command { .. }, Error::Lost { .. }, Error::Reconnect { retriable: true, .. }] = &failures[..]
    else {
        panic!("{failures:?}")
    };
    server.await.unwrap();
}
