//! `Session` as a gRPC method: a client that tonic generates from `proto/`, through a plain Envoy route.

#[expect(unreachable_pub, reason = "generated")]
#[rustfmt::skip]
mod generated;

use std::net::SocketAddr;
use std::time::Duration;

use sluicegate_protocol::control_req::Control as Said;
use sluicegate_protocol::control_resp::Control as Told;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    Close, CmdEmpty, CmdKafkaFetch, CmdKafkaProduce, CmdPing, ControlReq, ControlResp, ErrorResp, PongResp,
    ProduceRecord, PubSubReq, PubSubResp, metadata,
};
use sluicegate_stack::envoy::Envoy;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::port::Port;
use sluicegate_stack::way::Way;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use self::generated::bridge_client::BridgeClient;
use crate::pool::standard;

/// One session, as a client made of the contract sees it.
struct Session {
    requests: UnboundedSender<PubSubReq>,
    answers: Streaming<PubSubResp>,
}

impl Session {
    async fn open(address: SocketAddr, may_write: bool) -> Self {
        let host = if may_write { "http://writers.example" } else { "http://readers.example" };
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.origin(host.parse().unwrap()).connect().await.unwrap();
        let (requests, mut queue) = unbounded_channel();
        let queue = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
        let mut request = Request::new(queue);
        // The gateway overrides both.
        let (write, topics) = if may_write { ("false", "none") } else { ("true", "*") };
        request.metadata_mut().insert("sluicegate-write", write.parse().unwrap());
        request.metadata_mut().insert("sluicegate-topics", topics.parse().unwrap());
        let opened = timeout(PATIENCE, BridgeClient::new(channel).session(request)).await;
        Self { requests, answers: opened.expect("a session").unwrap().into_inner() }
    }

    fn send(&self, sequence: i64, req: Option<Req>) {
        self.requests.send(PubSubReq { sequence, req }).unwrap();
    }

    async fn next(&mut self) -> Option<PubSubResp> {
        timeout(PATIENCE, self.answers.message()).await.expect("an answer").unwrap()
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
    Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![record], ..CmdKafkaProduce::default() })
}

#[track_caller]
fn error(resp: Resp) -> ErrorResp {
    match resp {
        Resp::ErrorResp(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn generated_client_runs_a_session_through_a_plain_route() {
    let (kafka, stack) = standard(Way::Direct).await;
    let topic = &kafka.topic("grpc", 1, &[]).await.unwrap();
    let (gateway, admin) = (Port::pick().unwrap(), Port::pick().unwrap());
    let text = include_str!("grpc/envoy.yaml")
        .replace("GATEWAY_PORT", &gateway.number().to_string())
        .replace("ADMIN_PORT", &admin.number().to_string())
        .replace("BRIDGE_PORT", &stack.bridge.grpc().port().to_string())
        .replace("METADATA", &metadata::ALL.join(", "));
    let folder = Folder::new("grpc").unwrap();
    let envoy = Envoy::start_with(text, gateway, admin, folder.path()).await.unwrap();
    let mut session = Session::open(envoy.gateway(), true).await;
    for sequence in [0, 1, -1, i64::MAX, i64::MIN] {
        let pong = session.ask(sequence, ping("state")).await;
        assert_eq!(pong, Resp::PongResp(PongResp { state: "state".into() }));
    }
    // It asks for nothing: the next answer is the next request's.
    session.send(1, None);
    assert_eq!(error(session.ask(2, Req::CmdEmpty(CmdEmpty {})).await).message, "unknown command");

    let Resp::KafkaProduceResp(produced) = session.ask(3, produce(topic)).await else { panic!("no results") };
    assert_eq!((produced.results.len(), &produced.results[0].error), (1, &None));
    let fetch = Req::CmdKafkaFetch(CmdKafkaFetch { topic: topic.into(), ..CmdKafkaFetch::default() });
    let Resp::KafkaFetchResp(fetched) = session.ask(4, fetch).await else { panic!("no messages") };
    assert_eq!(fetched.messages[0].value.as_deref(), Some(&b"v"[..]));

    let close = Close { code: 1000, reason: "done".into() };
    let told = ControlResp { control: Some(Told::Close(close.clone())) };
    session.send(0, Some(Req::Control(ControlReq { control: Some(Said::Close(close)) })));
    assert_eq!(session.next().await, Some(PubSubResp { sequence: 0, resp: Some(Resp::Control(told)) }));
    assert_eq!(session.next().await, None);

    let mut reader = Session::open(envoy.gateway(), false).await;
    assert_eq!(error(reader.ask(1, produce(topic)).await).code, 29);
}

/// Far longer than anything takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
