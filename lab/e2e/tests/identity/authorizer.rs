//! People whom an external authorizer of Envoy knows, and tells in the metadata of its answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::net::TcpListener;

use crate::identity::stacks::{BELIEVED, setup, topics_of_people};

in_every_profile! {
    authorizer_says_who_a_client_is
}

/// Parts of `envoy.service.auth.v3`, by the numbers of their fields.
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<AttributeRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(btree_map = "string, string", tag = "3")]
    headers: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    /// An empty `google.rpc.Status`: the request passes.
    #[prost(message, optional, tag = "1")]
    status: Option<Empty>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Empty>,
    #[prost(message, optional, tag = "4")]
    dynamic_metadata: Option<Struct>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Empty {}

/// Lets every client pass, and tells the name in its header `x-login`.
async fn check(
    request: http::Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // A gRPC message begins with a flag and its length.
    let check = CheckRequest::decode(body.get(5..).unwrap_or_default()).unwrap_or_default();
    let headers =
        check.attributes.and_then(|it| it.request).and_then(|it| it.http).unwrap_or_default().headers;
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let object = |name: &str, value| Struct { fields: [(name.to_owned(), value)].into() };
    let dynamic_metadata = headers
        .get("x-login")
        .map(|name| object("user", Value { kind: Some(Kind::StructValue(object("sub", text(name)))) }));
    let answer = CheckResponse { status: Some(Empty {}), ok: Some(Empty {}), dynamic_metadata };
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(answer.encoded_len()).unwrap_or_default());
    answer.encode(&mut message).unwrap();
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(message.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(check)));
        }
    });
    address
}

/// Envoy's filter that asks the authorizer, in front of ours, and its cluster. Envoy asks only about requests that have a
/// route by then, and our filter gives them theirs later: another one takes all of them.
fn asking(authorizer: SocketAddr) -> [(String, String); 2] {
    let ours = "          http_filters:\n          - name: envoy.filters.http.wasm\n";
    let wasm = ours.strip_prefix("          http_filters:\n").unwrap();
    let filter = format!(
        "              - match: {{prefix: /}}
                direct_response: {{status: 404}}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {{envoy_grpc: {{cluster_name: authorizer}}}}
{wasm}"
    );
    let cluster = format!(
        "  clusters:
  - name: authorizer
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: authorizer
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}\n",
        authorizer.ip(),
        authorizer.port()
    );
    [(ours.to_owned(), filter), ("  clusters:\n".to_owned(), cluster)]
}

async fn authorizer_says_who_a_client_is(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = topics_of_people(kafka, "authorized").await;
    let of = |person: &str| format!("{shared}.{person}");
    let keys =
        format!(r#""identity": {{"from": "ext_authz", "payload": "user"}}, "topics": ["{shared}.${{sub}}"]"#);
    let mut setup = setup(way, kafka, &keys, BELIEVED);
    setup.envoy_edits.extend(asking(serve().await));
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(std::time::Duration::from_secs(30)).await.unwrap();
    let open = async |header: &str| Client::builder(stack.url()).header(header, "alice").connect().await;
    let alice = open("x-login").await.unwrap();
    assert!(alice.fetch(&of("alice"), 0, 0).await.is_ok());
    assert!(alice.fetch(&of("bob"), 0, 0).await.is_err());
    for (header, person, want) in
        [("x-login", "alice", 200), ("x-login", "bob", 403), ("x-other", "alice", 401)]
    {
        let path = format!("/kafka/topics/{}/partitions/0/offsets", of(person));
        assert_eq!(ask(stack.gateway(), Request::get(path).with(header, "alice")).await.status, want);
    }
    let nobody = open("x-other").await;
    assert!(matches!(nobody, Err(ConnectError::Refused { status: 401, .. })), "{nobody:?}");
}
