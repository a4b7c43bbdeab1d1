//! Streams of a real nats-server, through every way in.
//!
//! The bridge's `nats` tests reads and writes in detail, `live` kills everything under subscribers.

mod outages;

use bytes::Bytes;
use serde_json::json;
use sluicegate_protocol::metadata::WRITE;
use sluicegate_protocol::nats_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdCredit, CmdKafkaFetch, CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, Header,
    NatsFetchResp, NatsSource, PublishMessage, Published, Reason, RecordFilter, StreamTime, nats_source,
};
use sluicegate_stack::envoy::{instead, writing};
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::sessions::json::peer::JsonPeer;
use crate::sessions::within;

in_every_way! {
    messages_are_published_found_and_fetched
    messages_are_delivered_as_they_are_published
    waiting_fetch_sees_a_message_at_once
    commands_in_json_have_the_words_of_nats
    commands_that_are_not_granted_or_of_kafka_are_refused
}

/// A server, and a gateway whose clients can write to it.
struct Case {
    server: Nats,
    streams: Streams,
    stack: Stack,
}

impl Case {
    async fn start(way: Way) -> Self {
        let edits = if way.is_envoy() { vec![writing()] } else { Vec::new() };
        Self::start_with(way, "", "", edits).await
    }

    /// With this in the configurations of bridge and server.
    async fn start_with(way: Way, bridge: &str, server: &str, envoy_edits: Vec<(String, String)>) -> Self {
        let server = Nats::jetstream(server).await.unwrap();
        let streams = Streams::connect(server.client()).await.unwrap();
        let stack = stack(way, &server, bridge, envoy_edits).await;
        Self { server, streams, stack }
    }

    async fn open(&self) -> Socket {
        open(&self.stack).await
    }

    async fn create(&self, stream: &str) {
        self.streams.create(stream, json!({})).await.unwrap();
    }

    async fn write(&self, stream: &str, data: impl IntoIterator<Item = &'static str>) {
        let data = data.into_iter().map(|data| Bytes::from_static(data.as_bytes()));
        self.streams.write(&format!("{stream}.a"), data).await.unwrap();
    }
}

/// A gateway in front of a server, with this in the configuration of its bridge.
async fn stack(way: Way, server: &Nats, bridge: &str, envoy_edits: Vec<(String, String)>) -> Stack {
    let cluster = format!("[clusters.default]\nkind = \"nats\"\nservers = \"nats://{}\"\n", server.client());
    let bridge = BridgeConfig::Text(format!("[write]\nclusters = [\"default\"]\n{bridge}\n{cluster}"));
    Stack::start(Setup { bridge, envoy_edits, ..Setup::new(way, "") }).await.unwrap()
}

async fn open(stack: &Stack) -> Socket {
    let mut request = stack.url().into_client_request().unwrap();
    // Has an effect only without a gateway.
    request.headers_mut().insert(WRITE, "true".parse().unwrap());
    Socket::open_with(request).await
}

fn fetch(stream: &str, sequence: i64) -> CmdNatsFetch {
    CmdNatsFetch { stream: stream.to_owned(), sequence, max_wait_ms: Some(0), ..Default::default() }
}

async fn fetched(socket: &mut Socket, command: CmdNatsFetch) -> NatsFetchResp {
    match socket.ask(Req::CmdNatsFetch(command)).await {
        Resp::NatsFetchResp(fetched) => fetched,
        other => panic!("{other:?} of a fetch"),
    }
}

fn message(stream: &str, subject: &str, data: impl Into<Bytes>, id: &str) -> PublishMessage {
    let (stream, subject) = (stream.to_owned(), format!("{stream}.{subject}"));
    PublishMessage { stream, subject, data: data.into(), message_id: id.to_owned(), ..Default::default() }
}

async fn publish(socket: &mut Socket, messages: Vec<PublishMessage>) -> Vec<Published> {
    match socket.ask(Req::CmdNatsPublish(CmdNatsPublish { messages })).await {
        Resp::NatsPublishResp(answer) => answer.results,
        other => panic!("{other:?} of a publish"),
    }
}

fn source(stream: &str, from: nats_source::From) -> NatsSource {
    NatsSource { stream: stream.to_owned(), from: Some(from), ..Default::default() }
}

async fn messages_are_published_found_and_fetched(way: Way) {
    let case = Case::start(way).await;
    case.create("s").await;
    let mut socket = case.open().await;
    let headers = vec![Header { key: "h".into(), value: Some("v".into()) }];
    let first = PublishMessage { headers: headers.clone(), ..message("s", "a", "1", "one") };
    let foreign = PublishMessage { subject: "t.a".into(), ..message("s", "", "x", "") };
    let results = publish(&mut socket, vec![first.clone(), message("s", "b.c", "", ""), foreign]).await;
    assert_eq!(results.iter().map(|result| result.sequence).collect::<Vec<_>>(), [1, 2, 0]);
    assert_eq!(results[0].duplicate_window_ms, 120_000);
    assert_eq!(results[2].error.as_ref().unwrap().reason(), Reason::InvalidRecord);
    let again = publish(&mut socket, vec![first]).await;
    assert_eq!((again[0].sequence, again[0].duplicate), (1, true));

    let got = fetched(&mut socket, fetch("s", 0)).await;
    assert_eq!((got.next_sequence, got.end, got.first_sequence), (3, Some(3), Some(1)));
    let [one, two] = &got.messages[..] else { panic!("{got:?}") };
    assert_eq!((one.sequence, &*one.subject, &one.data[..]), (1, "s.a", &b"1"[..]));
    assert!(one.headers.contains(&headers[0]) && one.timestamp > 1_700_000_000_000, "{one:?}");
    assert_eq!((two.sequence, &*two.subject, two.data.len()), (2, "s.b.c", 0));
    let one_message = CmdNatsFetch { max_messages: 1, ..fetch("s", 2) };
    assert_eq!(fetched(&mut socket, one_message).await.next_sequence, 3);
    assert!(fetched(&mut socket, fetch("s", 3)).await.messages.is_empty());

    let time = |stream: &str, timestamp| StreamTime { stream: stream.to_owned(), timestamp };
    let times =
        vec![time("s", -1), time("s", -2), time("s", -3), time("s", two.timestamp + 1), time("t", -1)];
    let listed = match socket.ask(Req::CmdNatsListSequences(CmdNatsListSequences { times })).await {
        Resp::NatsListSequencesResp(listed) => listed.results,
        other => panic!("{other:?} of a list"),
    };
    assert_eq!(listed.iter().map(|listed| listed.sequence).collect::<Vec<_>>(), [3, 1, 2, -1, 0]);
    assert_eq!(listed[2].timestamp, two.timestamp);
    let missing = listed[4].error.as_ref().unwrap();
    assert_eq!((missing.reason(), missing.code), (Reason::NotFound, 10059));
    match socket.ask(Req::CmdNatsFetch(fetch("s", 9))).await {
        Resp::ErrorResp(error) => {
            assert_eq!(error.reason(), Reason::OffsetOutOfRange);
            assert_eq!((error.earliest_offset, error.latest_offset), (Some(1), Some(3)));
            assert!(error.message.starts_with("failed to fetch message, stream: s, err: "), "{error:?}");
        }
        other => panic!("{other:?} of a sequence beyond the end"),
    }
}

async fn messages_are_delivered_as_they_are_published(way: Way) {
    let case = Case::start(way).await;
    for stream in ["s", "t"] {
        case.create(stream).await;
    }
    case.write("s", ["1", "2", "3"]).await;
    let (mut reader, mut writer) = (case.open().await, case.open().await);
    let filters = vec![RecordFilter { prefixes: vec!["s.a".into(), "t.".into()], ..Default::default() }];
    let sources = ["s", "t"].map(|stream| source(stream, nats_source::From::Timestamp(-2))).into();
    let command = CmdNatsSubscribe { sources, filters, credit: Some(1), ..Default::default() };
    let subscription = reader.send(Req::CmdNatsSubscribe(command)).await;
    for number in 0..20 {
        let stream = if number % 2 == 0 { "s" } else { "t" };
        let subject = if number % 4 == 2 { "filtered" } else { "a" };
        publish(&mut writer, vec![message(stream, subject, "x", "")]).await;
    }
    let (mut got, mut streams) = ([Vec::new(), Vec::new()], 0);
    while got.iter().map(Vec::len).sum::<usize>() < 3 + 5 + 10 {
        let (sequence, resp) = reader.receive().await;
        assert_eq!(sequence, subscription);
        match resp {
            Resp::NatsSubscribedResp(subscribed) => {
                streams = subscribed.streams.iter().filter(|stream| stream.stream_id.len() == 16).count();
            }
            Resp::NatsDeliveryResp(delivery) => {
                let of = usize::from(delivery.stream == "t");
                got[of].extend(delivery.messages.iter().map(|message| message.sequence));
                let credit = CmdCredit { subscription, bytes: 1000 };
                reader.send(Req::CmdCredit(credit)).await;
            }
            Resp::NatsSubscriptionEvent(event) => {
                assert!(matches!(event.event, Some(Event::CaughtUp(_))), "{event:?}");
            }
            other => panic!("{other:?} of a subscription"),
        }
    }
    assert_eq!(streams, 2);
    assert_eq!(got, [vec![1, 2, 3, 4, 6, 8, 10, 12], (1..=10).collect()]);
}

async fn waiting_fetch_sees_a_message_at_once(way: Way) {
    let case = Case::start(way).await;
    case.create("s").await;
    let (mut reader, mut writer) = (case.open().await, case.open().await);
    let waiting = CmdNatsFetch { max_wait_ms: Some(30_000), ..fetch("s", 1) };
    let asked = reader.send(Req::CmdNatsFetch(waiting)).await;
    reader.send(sluicegate_stack::socket::ping()).await;
    // The fetch waits when the ping, which came after it, is answered.
    assert_ne!(reader.receive().await.0, asked);
    publish(&mut writer, vec![message("s", "a", "x", "")]).await;
    let (sequence, resp) = within("the message", reader.receive()).await;
    assert_eq!(sequence, asked);
    assert!(matches!(resp, Resp::NatsFetchResp(fetched) if fetched.messages.len() == 1));
    // A read after an acknowledgement sees the message.
    for number in 2..100 {
        publish(&mut writer, vec![message("s", "a", "x", "")]).await;
        assert_eq!(fetched(&mut reader, fetch("s", number)).await.messages.len(), 1, "{number}");
    }
}

async fn commands_in_json_have_the_words_of_nats(way: Way) {
    let case = Case::start(way).await;
    case.create("s").await;
    let mut peer = JsonPeer::open(&case.stack).await;
    let one = json!({"stream": "s", "subject": "s.a", "data": {"n": 1}, "message_id": "one"});
    let answer = peer.ask(json!({"id": 1, "publish": {"messages": [one]}})).await;
    let written = json!({"sequence": 1, "duplicate": false, "duplicate_window_ms": 120_000});
    assert_eq!(answer, json!({"id": 1, "results": [written]}));
    let answer = peer.ask(json!({"id": 2, "fetch": {"stream": "s", "sequence": 0, "max_wait_ms": 0}})).await;
    assert_eq!((&answer["next"], &answer["end"]), (&json!(2), &json!(2)), "{answer}");
    assert_eq!(answer["messages"][0]["data"], json!({"n": 1}));
    let answer = peer.ask(json!({"id": 3, "fetch": {"topic": "s", "partition": 0, "offset": 0}})).await;
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("expected one of `stream`, `sequence`"),
        "{answer}"
    );
    let subscribe = json!({"id": 4, "subscribe": {"stream": "s", "from": "earliest"}});
    let answer = peer.ask(subscribe.clone()).await;
    assert_eq!(answer["subscribed"][0]["next"], 1, "{answer}");
    let answer = peer.answer_with("messages", &subscribe).await;
    assert_eq!((&answer["messages"][0]["subject"], &answer["next"]), (&json!("s.a"), &json!(2)), "{answer}");
}

async fn commands_that_are_not_granted_or_of_kafka_are_refused(way: Way) {
    let route = r#"{"path": "/pubsub", "cluster": "default", "write": true, "topics": ["granted"]}"#;
    let edits = if way.is_envoy() { vec![instead("", &[route])] } else { Vec::new() };
    let case = Case::start_with(way, "", "", edits).await;
    for stream in ["granted", "other"] {
        case.create(stream).await;
    }
    let mut socket = case.open().await;
    let kafka = CmdKafkaFetch { topic: "granted".into(), ..Default::default() };
    match socket.ask(Req::CmdKafkaFetch(kafka)).await {
        Resp::ErrorResp(error) => {
            assert_eq!((error.reason(), error.code), (Reason::InvalidCommand, 0));
            assert!(error.message.contains("the cluster is of NATS: expected cmd_nats_fetch"), "{error:?}");
        }
        other => panic!("{other:?} of Kafka's command"),
    }
    // A message that reaches the granted stream's subject through another stream's name would circumvent the grant.
    let crossed = PublishMessage { stream: "other".into(), ..message("granted", "a", "x", "") };
    let crossed = publish(&mut socket, vec![crossed, message("granted", "a", "x", "")]).await;
    assert!(crossed[0].error.is_some() && crossed[1].error.is_none(), "{crossed:?}");
    if way.is_envoy() {
        match socket.ask(Req::CmdNatsFetch(fetch("other", 0))).await {
            Resp::ErrorResp(error) => {
                assert_eq!((error.reason(), error.code), (Reason::Denied, 0));
                assert!(error.message.contains("does not let clients use stream other"), "{error:?}");
            }
            other => panic!("{other:?} of a stream that is not granted"),
        }
        let denied = publish(&mut socket, vec![message("other", "a", "x", "")]).await;
        assert_eq!(denied[0].error.as_ref().unwrap().reason(), Reason::Denied);
    }
    assert_eq!(case.streams.read("other").await.unwrap().len(), 0);
}
