//! `Session` as a gRPC method: a client that tonic generates from `proto/`, directly and through a plain Envoy route.

#[expect(unreachable_pub, reason = "generated")]
#[rustfmt::skip]
#[path = "grpc/sluicegate.v1.rs"]
mod generated;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use sluicegate_protocol::control_req::Control as Said;
use sluicegate_protocol::control_resp::Control as Told;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    Close, CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, CmdPing, ControlReq, ControlResp,
    ErrorResp, PongResp, ProduceRecord, PubSubReq, PubSubResp, metadata,
};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_stack::{http, tools};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use self::generated::bridge_client::BridgeClient;
use crate::sessions::stacks::start;
use crate::sessions::within;

const WRITES: &str = "[write]\nclusters = [\"default\"]\n";

#[tokio::test]
async fn generated_client_runs_a_session_directly() {
    let stack = start(Way::Direct, WRITES, Vec::new()).await;
    check(stack.bridge.grpc(), &stack, |may_write, headers| {
        if may_write {
            headers.insert("sluicegate-write", "true".parse().unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn generated_client_runs_a_session_through_a_plain_route() {
    let stack = start(Way::Direct, WRITES, Vec::new()).await;
    let (gateway, admin) = (Port::pick().unwrap(), Port::pick().unwrap());
    let text = include_str!("grpc/envoy.yaml")
        .replace("GATEWAY_PORT", &gateway.number().to_string())
        .replace("ADMIN_PORT", &admin.number().to_string())
        .replace("BRIDGE_PORT", &stack.bridge.grpc().port().to_string())
        .replace("METADATA", &metadata::ALL.join(", "));
    let config = stack.folder().write("plain.yaml", &text).unwrap();
    let mut command = Command::new(tools::envoy().unwrap());
    command.arg("-c").arg(config).args(["--disable-hot-restart", "--log-level", "warning"]);
    let mut envoy = Process::spawn("Envoy", command, &stack.folder().path().join("plain.log")).unwrap();
    let ready = async || match http::get(admin.address(), "/ready").await?.status {
        200 => Ok(()),
        status => Err(format!("/ready says {status}")),
    };
    envoy.until("become ready", Duration::from_secs(30), ready).await.unwrap();
    check(gateway.address(), &stack, |may_write, headers| {
        // The gateway must override both.
        let (write, topics) = if may_write { ("false", "none") } else { ("true", "*") };
        headers.insert("sluicegate-write", write.parse().unwrap());
        headers.insert("sluicegate-topics", topics.parse().unwrap());
    })
    .await;
}

/// Adds the metadata that a writer or a reader sends.
type Say = fn(bool, &mut MetadataMap);

/// One session, as a client made of the contract sees it.
struct Session {
    requests: UnboundedSender<PubSubReq>,
    answers: Streaming<PubSubResp>,
}

impl Session {
    async fn open(address: SocketAddr, may_write: bool, say: Say) -> Self {
        let host = if may_write { "http://writers.example" } else { "http://readers.example" };
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.origin(host.parse().unwrap()).connect().await.unwrap();
        let (requests, mut queue) = unbounded_channel();
        let queue = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
        let mut request = Request::new(queue);
        say(may_write, request.metadata_mut());
        let opened = within("a session", BridgeClient::new(channel).session(request)).await;
        Self { requests, answers: opened.unwrap().into_inner() }
    }

    fn send(&self, sequence: i64, req: Option<Req>) {
        self.requests.send(PubSubReq { sequence, req }).unwrap();
    }

    async fn next(&mut self) -> Option<PubSubResp> {
        within("an answer", self.answers.message()).await.unwrap()
    }

    async fn ask(&mut self, sequence: i64, req: Req) -> Resp {
        self.send(sequence, Some(req));
        let answer = self.next().await.expect("an answer before the end");
        assert_eq!(answer.sequence, sequence);
        answer.resp.expect("an answer with content")
    }
}

fn ping(state: &'static str) -> Req {
    Req::CmdPing(CmdPing { state: state.into() })
}

fn produce(topic: &str) -> Req {
    let record = ProduceRecord { topic: topic.into(), value: Some("v".into()), ..ProduceRecord::default() };
    Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![record] })
}

#[track_caller]
fn error(resp: Resp) -> ErrorResp {
    match resp {
        Resp::ErrorResp(error) => error,
        other => panic!("{other:?}"),
    }
}

async fn check(address: SocketAddr, stack: &Stack, say: Say) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("grpc", 1, &[]).await.unwrap();
    let mut session = Session::open(address, true, say).await;
    for sequence in [0, 1, -1, i64::MAX, i64::MIN] {
        let pong = session.ask(sequence, ping("state")).await;
        assert_eq!(pong, Resp::PongResp(PongResp { state: "state".into() }));
    }
    // It asks for nothing: the next answer is the next request's.
    session.send(1, None);
    assert_eq!(error(session.ask(2, Req::CmdEmpty(CmdEmpty {})).await).message, "unknown command");

    let Resp::KafkaProduceResp(produced) = session.ask(3, produce(topic)).await else { panic!("no results") };
    assert_eq!((produced.results.len(), &produced.results[0].error), (1, &None));
    let list = CmdKafkaListOffset { topic: topic.clone(), partition: 0, timestamp: -1 };
    let Resp::KafkaListOffsetResp(end) = session.ask(4, Req::CmdKafkaListOffset(list)).await else {
        panic!("no offset")
    };
    assert_eq!(end.offset, 1);
    let fetch =
        |topic: &str| Req::CmdKafkaFetch(CmdKafkaFetch { topic: topic.into(), ..CmdKafkaFetch::default() });
    let Resp::KafkaFetchResp(fetched) = session.ask(5, fetch(topic)).await else { panic!("no messages") };
    assert_eq!(fetched.messages[0].value.as_deref(), Some(&b"v"[..]));
    assert_eq!(error(session.ask(6, fetch("no-such-topic")).await).code, 3);

    let close = Close { code: 1000, reason: "done".into() };
    let told = ControlResp { control: Some(Told::Close(close.clone())) };
    session.send(0, Some(Req::Control(ControlReq { control: Some(Said::Close(close)) })));
    assert_eq!(session.next().await, Some(PubSubResp { sequence: 0, resp: Some(Resp::Control(told)) }));
    assert_eq!(session.next().await, None);

    let mut reader = Session::open(address, false, say).await;
    assert_eq!(error(reader.ask(1, produce(topic)).await).code, 29);
    assert_eq!(stack.bridge.metrics("sluicegate_sessions{").await.unwrap().len(), 1);
}
