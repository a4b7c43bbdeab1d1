//! Sessions whose server, streams or messages are not as usual.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sluicegate_protocol::nats_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdNatsSubscribe, NatsFetchResp, NatsSource, Reason, nats_source};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use sluicegate_tests::directly;
use tokio::time::Instant;

use super::{Case, fetch, fetched, message, open, publish, source, stack};
use crate::sessions::within;

directly! {
    messages_up_to_the_servers_limit_are_carried
    session_outlives_its_server
    purged_deleted_and_recreated_streams_are_told_apart
    id_of_a_stream_is_the_same_at_every_bridge
    frozen_server_is_told_within_five_seconds
}

async fn messages_up_to_the_servers_limit_are_carried(way: Way) {
    let limits = "[limits]\nmax_request_bytes = 4194304\n";
    let case = Case::start_with(way, limits, "", Vec::new()).await;
    case.create("s").await;
    let mut socket = case.open().await;
    // The server's limit is 1 MiB with headers.
    let (fits, large) = (vec![b'x'; (1 << 20) - 1000], vec![b'x'; (1 << 20) + 1]);
    let results = publish(&mut socket, vec![message("s", "a", fits, ""), message("s", "a", large, "")]).await;
    assert_eq!(results[0].sequence, 1, "{:?}", results[0].error);
    assert_eq!(results[1].error.as_ref().unwrap().reason(), Reason::TooLarge);
    case.streams.write("s.a", [Bytes::from(vec![b'y'; 1 << 20])]).await.unwrap();
    let sizes = async |socket: &mut Socket, sequence| {
        let got = fetched(socket, fetch("s", sequence)).await;
        got.messages.iter().map(|message| message.data.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&mut socket, 1).await, [(1 << 20) - 1000]);
    assert_eq!(sizes(&mut socket, 2).await, [1 << 20]);
}

async fn session_outlives_its_server(way: Way) {
    let mut case = Case::start(way).await;
    case.create("s").await;
    case.write("s", ["1", "2"]).await;
    let mut socket = case.open().await;
    let from = nats_source::From::Sequence(1);
    let command = CmdNatsSubscribe { sources: vec![source("s", from)], ..Default::default() };
    socket.send(Req::CmdNatsSubscribe(command)).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        if let (_, Resp::NatsDeliveryResp(delivery)) = socket.receive().await {
            got.extend(delivery.messages.iter().map(|message| message.sequence));
        }
    }
    case.server.process.kill();
    let retrying = async {
        loop {
            if let (_, Resp::NatsSubscriptionEvent(event)) = socket.receive().await
                && let Some(Event::Retrying(retrying)) = event.event
            {
                return retrying;
            }
        }
    };
    let retrying = within("that it retries", retrying).await;
    let error = retrying.error.unwrap();
    assert_eq!((&*retrying.stream, error.reason()), ("s", Reason::Unreachable));
    assert!(!error.message.contains("127.0.0.1"), "{error:?}");
    case.server.up().await.unwrap();
    case.write("s", ["3"]).await;
    while got.len() < 3 {
        if let (_, Resp::NatsDeliveryResp(delivery)) = socket.receive().await {
            got.extend(delivery.messages.iter().map(|message| message.sequence));
        }
    }
    assert_eq!(got, [1, 2, 3]);
    let again = publish(&mut case.open().await, vec![message("s", "a", "4", "four")]).await;
    assert_eq!(again[0].sequence, 4, "{again:?}");
}

async fn id_of_a_stream_is_the_same_at_every_bridge(way: Way) {
    let case = Case::start(way).await;
    let other = stack(way, &case.server, "", Vec::new()).await;
    let subscribe = async |stack: &Stack, stream_id: Bytes| {
        let source = NatsSource { stream_id, ..source("s", nats_source::From::Sequence(1)) };
        let mut socket = open(stack).await;
        let sources = vec![source];
        socket.send(Req::CmdNatsSubscribe(CmdNatsSubscribe { sources, ..Default::default() })).await;
        let Resp::NatsSubscribedResp(subscribed) = socket.receive().await.1 else { panic!("not subscribed") };
        let data = loop {
            match socket.receive().await.1 {
                Resp::NatsDeliveryResp(delivery) => break delivery.messages[0].data.clone(),
                Resp::NatsSubscriptionEvent(_) => {}
                other => panic!("{other:?} of a subscription"),
            }
        };
        (subscribed.streams[0].stream_id.clone(), data)
    };
    let mut before = Bytes::new();
    for age in ["old", "new", "newest"] {
        case.create("s").await;
        case.write("s", [age]).await;
        let (id, data) = subscribe(&case.stack, Bytes::new()).await;
        assert!(id.len() == 16 && id != before, "{id:?} after {before:?}");
        assert_eq!(data, age);
        // The other bridge knows the stream before.
        assert_eq!(subscribe(&other, id.clone()).await, (id.clone(), data));
        before = id;
        case.streams.call("STREAM.DELETE.s", &json!({})).await.unwrap();
    }
}

async fn frozen_server_is_told_within_five_seconds(way: Way) {
    let mut case = Case::start(way).await;
    case.create("s").await;
    let mut socket = case.open().await;
    let command =
        CmdNatsSubscribe { sources: vec![source("s", nats_source::From::Sequence(1))], ..Default::default() };
    socket.send(Req::CmdNatsSubscribe(command)).await;
    let event = async |socket: &mut Socket| loop {
        if let (_, Resp::NatsSubscriptionEvent(event)) = socket.receive().await {
            return event.event.unwrap();
        }
    };
    assert!(matches!(event(&mut socket).await, Event::CaughtUp(_)));
    case.write("s", ["1"]).await;
    let (_, Resp::NatsDeliveryResp(_)) = socket.receive().await else { panic!("no delivery") };
    case.server.process.freeze();
    let frozen = Instant::now();
    let told = within("that it retries", event(&mut socket)).await;
    assert!(matches!(told, Event::Retrying(_)), "{told:?}");
    assert!(frozen.elapsed() < Duration::from_secs(5), "after {:?}", frozen.elapsed());
    case.server.process.thaw();
    assert!(matches!(within("that it goes on", event(&mut socket)).await, Event::CaughtUp(_)));
    case.write("s", ["2"]).await;
    let (_, Resp::NatsDeliveryResp(delivery)) = socket.receive().await else { panic!("no delivery") };
    assert_eq!(delivery.messages[0].sequence, 2);
}

async fn purged_deleted_and_recreated_streams_are_told_apart(way: Way) {
    let case = Case::start(way).await;
    case.create("s").await;
    case.write("s", ["1", "2", "3", "4", "5"]).await;
    case.streams.call("STREAM.MSG.DELETE.s", &json!({"seq": 4})).await.unwrap();
    let mut socket = case.open().await;
    let subscribe = async |sequence, stream_id: Bytes| {
        let source = NatsSource { stream_id, ..source("s", nats_source::From::Sequence(sequence)) };
        let command = CmdNatsSubscribe { sources: vec![source], ..Default::default() };
        let mut socket = case.open().await;
        socket.send(Req::CmdNatsSubscribe(command)).await;
        match socket.receive().await.1 {
            Resp::NatsSubscribedResp(subscribed) => Ok((socket, subscribed.streams[0].stream_id.clone())),
            Resp::ErrorResp(error) => Err(error),
            other => panic!("{other:?} of a subscription"),
        }
    };
    let sequences = |fetched: NatsFetchResp| -> Vec<i64> {
        fetched.messages.iter().map(|message| message.sequence).collect()
    };
    assert_eq!(sequences(fetched(&mut socket, fetch("s", 3)).await), [3, 5]);
    let (mut live, id) = subscribe(6, Bytes::new()).await.unwrap();
    case.streams.call("STREAM.PURGE.s", &json!({})).await.unwrap();
    case.write("s", ["6"]).await;
    let (mut late, _) = subscribe(1, id.clone()).await.unwrap();
    let mut skipped = None;
    let mut got = Vec::new();
    while got.is_empty() {
        match late.receive().await.1 {
            Resp::NatsSubscriptionEvent(event) => {
                if let Some(Event::Skipped(event)) = event.event {
                    skipped = Some((event.from, event.to));
                }
            }
            Resp::NatsDeliveryResp(delivery) => got = delivery.messages,
            other => panic!("{other:?} of a subscription"),
        }
    }
    assert_eq!((skipped, got[0].sequence), (Some((1, 6)), 6));

    case.streams.call("STREAM.DELETE.s", &json!({})).await.unwrap();
    case.create("s").await;
    case.write("s", ["new"; 9]).await;
    let ended = async {
        loop {
            if let (_, Resp::ErrorResp(error)) = live.receive().await {
                return error;
            }
        }
    };
    let ended = within("the end of the subscription", ended).await;
    assert_eq!(ended.reason(), Reason::Recreated);
    assert!(ended.message.contains("stream s has been deleted and created again"), "{ended:?}");
    assert_eq!(subscribe(7, id).await.err().unwrap().reason(), Reason::Recreated);
    assert_eq!(sequences(fetched(&mut socket, fetch("s", 8)).await), [8, 9]);

    case.streams.call("STREAM.DELETE.s", &json!({})).await.unwrap();
    let gone = async || match socket.ask(Req::CmdNatsFetch(fetch("s", 10))).await {
        Resp::ErrorResp(error) if error.reason() == Reason::NotFound => Ok(()),
        other => Err(format!("{other:?} of a deleted stream")),
    };
    until("the stream to be gone", Duration::from_secs(10), gone).await;
}
