//! A session on streams of a real nats-server. The crate `nats` tests reads and writes in detail, `live` kills everything
//! under subscribers.

use bytes::Bytes;
use serde_json::json;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, ErrorResp, Header,
    NatsSource, PublishMessage, Published, Reason, StreamTime, nats_source,
};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;

use crate::pool::{NATS_SESSION, standard};

#[tokio::test]
async fn messages_are_published_found_fetched_and_delivered() {
    let (_, stack) = standard(Way::Tunnel).await;
    let (streams, stream) = (Streams::shared().await.unwrap(), "of-sessions");
    streams.create(stream, json!({})).await.unwrap();
    let url = format!("ws://{}{NATS_SESSION}", stack.gateway());
    let mut socket = Socket::open_at(&url).await;
    let headers = vec![Header { key: "h".into(), value: Some("v".into()) }];
    let message = |subject: &str, data: &'static str, id: &str| PublishMessage {
        stream: stream.to_owned(),
        subject: format!("{stream}.{subject}"),
        data: Bytes::from_static(data.as_bytes()),
        message_id: id.to_owned(),
        ..Default::default()
    };
    let first = PublishMessage { headers: headers.clone(), ..message("a", "1", "one") };
    // Through another stream's name, a message would circumvent the grant.
    let crossed = PublishMessage { stream: "elsewhere".into(), ..message("a", "x", "") };
    let results = publish(&mut socket, vec![first.clone(), message("b.c", "", ""), crossed]).await;
    assert_eq!(results.iter().map(|result| result.sequence).collect::<Vec<_>>(), [1, 2, 0]);
    assert_eq!(results[0].duplicate_window_ms, 120_000);
    assert!(results[2].error.is_some(), "{results:?}");
    let again = publish(&mut socket, vec![first]).await;
    assert_eq!((again[0].sequence, again[0].duplicate), (1, true));

    let fetch = |sequence| {
        let command =
            CmdNatsFetch { stream: stream.to_owned(), sequence, max_wait_ms: Some(0), ..Default::default() };
        Req::CmdNatsFetch(command)
    };
    let Resp::NatsFetchResp(got) = socket.ask(fetch(0)).await else { panic!("no messages") };
    assert_eq!((got.next_sequence, got.end, got.first_sequence), (3, Some(3), Some(1)));
    let [one, two] = &got.messages[..] else { panic!("{got:?}") };
    assert_eq!((one.sequence, &*one.subject, &one.data[..]), (1, "of-sessions.a", &b"1"[..]));
    assert!(one.headers.contains(&headers[0]) && one.timestamp > 1_700_000_000_000, "{one:?}");
    assert_eq!((two.sequence, &*two.subject, two.data.len()), (2, "of-sessions.b.c", 0));
    let beyond = error(socket.ask(fetch(9)).await);
    assert_eq!(beyond.reason(), Reason::OffsetOutOfRange);
    assert_eq!((beyond.earliest_offset, beyond.latest_offset), (Some(1), Some(3)));

    let time = |timestamp| StreamTime { stream: stream.to_owned(), timestamp };
    let times = vec![time(-1), time(-2), time(-3), time(two.timestamp + 1)];
    let list = Req::CmdNatsListSequences(CmdNatsListSequences { times });
    let Resp::NatsListSequencesResp(listed) = socket.ask(list).await else { panic!("no sequences") };
    assert_eq!(listed.results.iter().map(|listed| listed.sequence).collect::<Vec<_>>(), [3, 1, 2, -1]);
    let kafka = error(socket.ask(Req::CmdKafkaFetch(CmdKafkaFetch::default())).await);
    assert!(kafka.message.contains("the cluster is of NATS: expected cmd_nats_fetch"), "{kafka:?}");

    let mut reader = Socket::open_at(&url).await;
    let from = Some(nats_source::From::Sequence(2));
    let sources = vec![NatsSource { stream: stream.to_owned(), from, ..Default::default() }];
    let subscribe = Req::CmdNatsSubscribe(CmdNatsSubscribe { sources, ..Default::default() });
    let Resp::NatsSubscribedResp(subscribed) = reader.ask(subscribe).await else { panic!("not subscribed") };
    assert_eq!(subscribed.streams[0].stream_id.len(), 16);
    publish(&mut socket, vec![message("a", "3", "")]).await;
    let mut delivered = Vec::new();
    while delivered.len() < 2 {
        if let Resp::NatsDeliveryResp(delivery) = reader.receive().await.1 {
            delivered.extend(delivery.messages.iter().map(|message| message.sequence));
        }
    }
    assert_eq!(delivered, [2, 3]);
}

async fn publish(socket: &mut Socket, messages: Vec<PublishMessage>) -> Vec<Published> {
    match socket.ask(Req::CmdNatsPublish(CmdNatsPublish { messages })).await {
        Resp::NatsPublishResp(answer) => answer.results,
        other => panic!("{other:?} of a publish"),
    }
}

#[track_caller]
fn error(resp: Resp) -> ErrorResp {
    match resp {
        Resp::ErrorResp(error) => error,
        other => panic!("{other:?} instead of an error"),
    }
}
