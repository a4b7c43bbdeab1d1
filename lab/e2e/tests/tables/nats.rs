//! Tables of streams: a subject is the key.

use std::collections::BTreeMap;

use serde_json::json;
use sluicegate_protocol::nats_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdNatsSubscribe, NatsMessage, NatsSource, Snapshot, nats_source};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::tables::stacks::{NATS_REST, shared};

/// A session with the table of a stream.
struct Holder {
    socket: Socket,
    held: BTreeMap<String, String>,
    next: i64,
    id: Vec<u8>,
}

impl Holder {
    async fn open(stack: &Stack, source: NatsSource) -> (Self, bool) {
        let mut socket = Socket::open_at(&format!("ws://{}/nats", stack.gateway())).await;
        let snapshot = Snapshot::LatestPerKey.into();
        let command = CmdNatsSubscribe { sources: vec![source], snapshot, ..Default::default() };
        socket.send(Req::CmdNatsSubscribe(command)).await;
        let Resp::NatsSubscribedResp(subscribed) = socket.receive().await.1 else { panic!("no table") };
        let stream = &subscribed.streams[0];
        let (next, id) = (stream.next_sequence, stream.stream_id.to_vec());
        (Self { socket, held: BTreeMap::new(), next, id }, subscribed.snapshot)
    }

    /// Takes the next message. Gives an event.
    async fn take(&mut self) -> Option<Event> {
        match self.socket.receive().await.1 {
            Resp::NatsDeliveryResp(delivery) => {
                self.next = delivery.next_sequence;
                delivery.messages.into_iter().for_each(|message| self.put(message));
                None
            }
            Resp::NatsSubscriptionEvent(event) => event.event,
            other => panic!("{other:?} of a table"),
        }
    }

    fn put(&mut self, message: NatsMessage) {
        if message.headers.iter().any(|header| header.key == "KV-Operation") {
            self.held.remove(&message.subject);
        } else {
            let data = String::from_utf8(message.data.to_vec()).unwrap();
            self.held.insert(message.subject, data);
        }
    }

    async fn becomes(&mut self, want: &[(&str, &str)]) {
        let want: BTreeMap<String, String> =
            want.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        while self.held != want {
            self.take().await;
        }
    }
}

#[tokio::test]
async fn subjects_have_their_last_message_until_it_is_deleted() {
    let (_, stack) = shared(Way::Tunnel).await;
    let server = Streams::shared().await.unwrap();
    server.create("prices", json!({})).await.unwrap();
    for (subject, value) in [("prices.a", "1"), ("prices.b", "1"), ("prices.a", "2"), ("prices.c", "1")] {
        server.write(subject, [value.into()]).await.unwrap();
    }
    let remove = |subject: &str| {
        server.write_raw(subject.as_bytes(), b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", b"").unwrap();
    };
    remove("prices.c");
    server.write("prices.d", ["1".into()]).await.unwrap();
    let source = NatsSource { stream: "prices".into(), ..Default::default() };
    let (mut holder, _) = Holder::open(&stack, source.clone()).await;
    while !matches!(holder.take().await, Some(Event::SnapshotEnd(_))) {}
    holder.becomes(&[("prices.a", "2"), ("prices.b", "1"), ("prices.d", "1")]).await;
    remove("prices.a");
    server.write("prices.b", ["2".into()]).await.unwrap();
    holder.becomes(&[("prices.b", "2"), ("prices.d", "1")]).await;
    let get = async |subject: &str| {
        let path = format!("{NATS_REST}/streams/prices/table/{subject}");
        ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await
    };
    assert_eq!(get("prices.b").await.json()["data"], 2);
    assert_eq!(get("prices.a").await.status, 404);
    // A client that comes back goes on.
    let from = Some(nats_source::From::Sequence(holder.next));
    let (mut back, snapshot) =
        Holder::open(&stack, NatsSource { from, stream_id: holder.id.into(), ..source }).await;
    assert!(!snapshot);
    server.write("prices.d", ["2".into()]).await.unwrap();
    back.becomes(&[("prices.d", "2")]).await;
}
