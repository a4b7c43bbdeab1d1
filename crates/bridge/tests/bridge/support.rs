//! A bridge on free ports, and an HTTP/2 client that speaks to it as a gateway does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use prost::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use sluicegate_bridge::Bridge;
use sluicegate_bridge::config::Config;
use sluicegate_protocol::control_resp::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    Close, CmdKafkaFetch, CmdPing, ControlResp, PubSubReq, PubSubResp, SESSION_PATH, grpc, metadata,
};
use sluicegate_stack::http::client::Response;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::waiting::becomes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A bridge with `more` behind a minimal configuration. Nothing listens where its cluster should be.
pub(crate) async fn start(more: &str) -> Bridge {
    start_with("", more).await
}

/// The same, with `keys` of the configuration's root.
pub(crate) async fn start_with(keys: &str, more: &str) -> Bridge {
    start_before(closed_port().await, keys, more).await
}

/// A bridge that knows its gateways by [`SECRET`].
pub(crate) async fn start_secret(more: &str) -> Bridge {
    start_with(&format!("gateway_secret = {:?}", SECRET.1), more).await
}

pub(crate) const SECRET: (&str, &str) = (metadata::GATEWAY_SECRET, "correct-horse-battery-staple");

/// A bridge whose broker accepts connections and never answers.
pub(crate) async fn start_hanging(more: &str) -> (Bridge, TcpListener) {
    let kafka = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (start_before(kafka.local_addr().unwrap(), "", more).await, kafka)
}

/// A cluster with the topic `t`.
pub(crate) fn mock(partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", partitions, 1).unwrap();
    mock
}

/// A bridge to `mock`.
pub(crate) async fn start_on(mock: &MockCluster<'static, DefaultProducerContext>, more: &str) -> Bridge {
    start_before(mock.bootstrap_servers().parse().unwrap(), "", more).await
}

pub(crate) const WRITES: &str = "[write]\nclusters = [\"default\"]\n";

/// The same, with `kafka` as its cluster's only broker.
pub(crate) async fn start_before(kafka: SocketAddr, keys: &str, more: &str) -> Bridge {
    let cluster = format!("[clusters.default]\nbootstrap.servers = \"{kafka}\"");
    Bridge::start(config(&format!("{keys}\n{cluster}\n{more}"))).await.expect("free ports")
}

/// A configuration with free ports and this text.
pub(crate) fn config(text: &str) -> Config {
    let text = format!("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{text}");
    Config::load(&text, std::iter::empty()).expect("a configuration")
}

/// An address that refuses connections.
pub(crate) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A gateway's connection.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: SendRequest<Bytes>,
}

impl Gateway {
    pub(crate) async fn connect(bridge: &Bridge) -> Self {
        Self::over(TcpStream::connect(bridge.address()).await.unwrap()).await
    }

    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::with_window(64 * 1024, io).await
    }

    /// A connection whose streams have a window of so many bytes.
    pub(crate) async fn with_window(
        bytes: u32,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        // A gateway's windows: what streams hold that nobody reads must leave room for the others.
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(bytes).initial_connection_window_size(64 * 1024 * 1024);
        let (http, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(connection);
        let mut http = http.ready().await.unwrap();
        // RFC 8441: the server's SETTINGS say that it takes an extended CONNECT.
        while !http.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
            http = http.ready().await.unwrap();
        }
        Self { http }
    }

    /// Whether the bridge takes further requests on this connection.
    pub(crate) async fn takes_requests(&self) -> bool {
        self.http.clone().ready().await.is_ok()
    }

    /// Opens a session in the way of `endpoint`.
    #[expect(clippy::result_large_err, reason = "few are opened")]
    pub(crate) async fn open(
        &self,
        endpoint: Endpoint,
        headers: &[(&str, &str)],
    ) -> Result<Stream, Response> {
        let request = with(endpoint.request(SESSION_PATH), headers);
        let (response, send) = self.begin(request, false).await;
        let response = response.await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(whole(response).await);
        }
        assert_eq!(response.headers()["content-type"], "application/grpc");
        Ok(Stream { send, receive: response.into_body(), unread: BytesMut::new() })
    }

    /// Sends the headers of a request.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut http = self.http.clone().ready().await.unwrap();
        http.send_request(request, is_whole).unwrap()
    }

    /// Sends a whole request, and takes the whole response.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response {
        let (parts, body) = request.into_parts();
        let (response, mut send) = self.begin(Request::from_parts(parts, ()), body.is_empty()).await;
        if !body.is_empty() {
            send.send_data(body, true).unwrap();
        }
        whole(response.await.unwrap()).await
    }

    /// gRPC's health check; the status is a header if it is refused.
    pub(crate) async fn health(&self, headers: &[(&str, &str)]) -> Response {
        let request = Endpoint::Post.request("/grpc.health.v1.Health/Check").map(|()| framed(b""));
        self.send(with(request, headers)).await
    }
}

/// A response with its body.
async fn whole(response: http::Response<RecvStream>) -> Response {
    let (parts, mut receive) = response.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = receive.data().await {
        match chunk {
            Ok(chunk) => {
                receive.flow_control().release_capacity(chunk.len()).unwrap();
                body.extend_from_slice(&chunk);
            }
            // RFC 9113, section 8.1: behind a whole response, to a request of which the rest is not needed.
            Err(error) => {
                assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
                break;
            }
        }
    }
    Response { status: parts.status.as_u16(), headers: parts.headers, body: body.into() }
}

/// `request` with more headers.
pub(crate) fn with<B>(mut request: Request<B>, headers: &[(&str, &str)]) -> Request<B> {
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// The way in which a session is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Connect,
    Post,
}

pub(crate) const ENDPOINTS: [Endpoint; 2] = [Endpoint::Connect, Endpoint::Post];

impl Endpoint {
    pub(crate) fn request(self, path: &str) -> Request<()> {
        let uri = format!("http://bridge{path}");
        match self {
            Self::Connect => {
                let websocket = Protocol::from_static("websocket");
                Request::builder().method(Method::CONNECT).uri(uri).extension(websocket).body(()).unwrap()
            }
            Self::Post => {
                let request = Request::builder().method(Method::POST).uri(uri);
                request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
            }
        }
    }
}

/// An open session.
pub(crate) struct Stream {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
    unread: BytesMut,
}

impl Stream {
    pub(crate) async fn ask(&mut self, sequence: i64, req: Req) {
        let message = framed(&PubSubReq { sequence, req: Some(req) }.encode_to_vec());
        self.write(message).await;
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) {
        assert!(self.try_write(bytes).await, "the stream was reset");
    }

    /// Sends `bytes` as the other side takes them; false when it has reset the stream.
    pub(crate) async fn try_write(&mut self, mut bytes: Bytes) -> bool {
        while bytes.has_remaining() {
            self.send.reserve_capacity(bytes.len());
            let Some(Ok(taken)) = std::future::poll_fn(|cx| self.send.poll_capacity(cx)).await else {
                return false;
            };
            if self.send.send_data(bytes.split_to(taken.min(bytes.len())), false).is_err() {
                return false;
            }
        }
        true
    }

    /// Expects an answer to a ping.
    pub(crate) async fn is_open(&mut self) {
        self.ask(5, ping("")).await;
        assert_eq!(self.next().await.expect("an open session").sequence, 5);
    }

    /// The next answer; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<PubSubResp> {
        loop {
            if let Some(head) = self.unread.first_chunk() {
                let len = usize::try_from(grpc::message_len(*head).unwrap()).unwrap();
                if self.unread.len() >= grpc::HEAD_LEN + len {
                    self.unread.advance(grpc::HEAD_LEN);
                    return Some(PubSubResp::decode(self.unread.split_to(len)).unwrap());
                }
            }
            let chunk = self.receive.data().await?.unwrap();
            self.receive.flow_control().release_capacity(chunk.len()).unwrap();
            self.unread.extend_from_slice(&chunk);
        }
    }
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let head = grpc::head(u32::try_from(message.len()).unwrap());
    [&head, message].concat().into()
}

/// A fetch from partition 0 of `t`.
pub(crate) fn fetch() -> Req {
    Req::CmdKafkaFetch(CmdKafkaFetch { topic: "t".into(), ..Default::default() })
}

pub(crate) fn ping(state: &str) -> Req {
    Req::CmdPing(CmdPing { state: Bytes::copy_from_slice(state.as_bytes()) })
}

/// The last messages of a session.
pub(crate) fn close(code: u32, reason: &str) -> PubSubResp {
    let close = Control::Close(Close { code, reason: reason.into() });
    PubSubResp { sequence: 0, resp: Some(Resp::Control(ControlResp { control: Some(close) })) }
}

/// `GET path` on the admin port: status and body.
pub(crate) async fn admin(bridge: &Bridge, path: &str) -> (u16, String) {
    let answer = sluicegate_stack::http::get(bridge.admin_address(), path).await.unwrap();
    (answer.status, answer.text().to_owned())
}

/// The value of a metric.
pub(crate) async fn metric(bridge: &Bridge, name: &str) -> u64 {
    let (_, text) = admin(bridge, "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

/// The number of refused requests with this reason.
pub(crate) async fn refused(bridge: &Bridge, reason: &str) -> u64 {
    metric(bridge, &format!("sluicegate_requests_refused_total{{reason=\"{reason}\"}}")).await
}

/// The number of open sessions of the cluster `default`.
pub(crate) async fn sessions(bridge: &Bridge) -> u64 {
    metric(bridge, "sluicegate_sessions{cluster=\"default\"}").await
}

/// Waits until no session is open, which has to be within a second.
pub(crate) async fn all_left(bridge: &Bridge) {
    becomes("open sessions", 0, Duration::from_secs(1), async || sessions(bridge).await).await;
}

/// An upgrade with these headers besides what it needs.
pub(crate) fn upgrade(headers: &[(&str, &str)]) -> Upgrade {
    headers.iter().fold(Upgrade::to("/"), |upgrade, (name, value)| upgrade.and(name, *value))
}

/// The session that such an upgrade opens.
pub(crate) async fn open(bridge: &Bridge, headers: &[(&str, &str)]) -> Raw {
    Raw::connect(bridge.address()).await.upgraded(&upgrade(headers)).await
}

/// Sends the same request until no more is taken for a while, or the stream is reset.
pub(crate) async fn flood(mut stream: Stream, request: Bytes) -> Stream {
    let pause = Duration::from_millis(300);
    while let Ok(true) = tokio::time::timeout(pause, stream.try_write(request.clone())).await {}
    stream
}
