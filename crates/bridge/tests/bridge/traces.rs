//! Traces, as a collector receives them over OTLP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value as Json;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ErrorResp, ProduceRecord};
use sluicegate_stack::waiting::becomes;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::http::{WRITE, rest, send};
use crate::support::{
    ENDPOINTS, Gateway, WRITES, admin, closed_port, fetch, metric, mock, start_before, with,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const GATEWAY: &str = "b7ad6b7169203331";
const WITHIN: Duration = Duration::from_secs(20);

/// Keeps what it receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let mut attributes = resource.resource.unwrap().attributes.into_iter();
            let service = attributes.find(|attribute| attribute.key == "service.name");
            assert_eq!(text(service.unwrap().value), "sluicegate-bridge");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        (collector, address)
    }

    /// Waits for the span of this name.
    async fn span(&self, name: &str) -> Span {
        let has = async || self.0.lock().unwrap().iter().any(|span| span.name == name);
        becomes(name, true, WITHIN, has).await;
        let spans = self.0.lock().unwrap();
        let named: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(named.len(), 1, "{named:?}");
        named[0].clone()
    }

    /// The same, of [`TRACE`]. Gives its id and its status.
    async fn check(
        &self,
        name: &str,
        parent: &str,
        kind: SpanKind,
        attributes: &[(&str, &str)],
    ) -> (String, StatusCode) {
        let span = self.span(name).await;
        assert_eq!((&*hex(&span.trace_id), &*hex(&span.parent_span_id)), (TRACE, parent), "{span:?}");
        assert_eq!(span.kind(), kind, "{span:?}");
        for (key, want) in attributes {
            let found = span.attributes.iter().find(|attribute| attribute.key == *key);
            let found = found.unwrap_or_else(|| panic!("{key} in {span:?}"));
            assert_eq!(text(found.value.clone()), *want, "{key}");
        }
        (hex(&span.span_id), span.status.unwrap_or_default().code())
    }
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{GATEWAY}-0{}", u8::from(sampled))
}

async fn start(kafka: &str, collector: SocketAddr, more: &str) -> (Bridge, Gateway) {
    let more = format!("{WRITES}[traces]\nendpoint = \"http://{collector}\"\n{more}");
    let bridge = start_before(kafka.parse().unwrap(), "", &more).await;
    let gateway = Gateway::connect(&bridge).await;
    (bridge, gateway)
}

/// The answer to a request, perhaps with a `traceparent`.
async fn get(gateway: &Gateway, path: &str, sampled: Option<bool>) -> (u16, Json) {
    let traceparent = sampled.map(traceparent);
    let headers: Vec<_> = traceparent.iter().map(|value| ("traceparent", value.as_str())).collect();
    let response = send(gateway, with(rest("GET", path), &headers)).await;
    (response.status, serde_json::from_str(response.text()).unwrap())
}

/// The error of a fetch in a session that is opened with these headers.
async fn failed_fetch(gateway: &Gateway, headers: &[(&str, &str)]) -> ErrorResp {
    let mut session = gateway.open(ENDPOINTS[0], headers).await.unwrap();
    session.ask(1, fetch()).await;
    let Some(Resp::ErrorResp(error)) = session.next().await.unwrap().resp else { panic!("an error") };
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_traced_from_its_gateway_to_the_broker() {
    let (collector, address) = Collector::start().await;
    let mock = mock(1);
    let (bridge, gateway) = start(&mock.bootstrap_servers(), address, "").await;
    let path = "/topics/t/partitions/0/records?offset=0&timeout=0";
    assert_eq!(get(&gateway, path, Some(true)).await.0, 200);

    let route = "/topics/{topic}/partitions/{partition}/records";
    let attributes =
        [("http.request.method", "GET"), ("http.route", route), ("http.response.status_code", "200")];
    let (http, _) = collector.check(&format!("GET {route}"), GATEWAY, SpanKind::Server, &attributes).await;
    let servers = mock.bootstrap_servers();
    let (host, port) = servers.rsplit_once(':').unwrap();
    let attributes = [("messaging.system", "kafka"), ("server.address", host), ("server.port", port)];
    collector.check("Fetch", &http, SpanKind::Client, &attributes).await;
    assert_eq!(metric(&bridge, "sluicegate_trace_spans_dropped_total").await, 0);
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_session_are_in_the_trace_of_its_upgrade() {
    for endpoint in ENDPOINTS {
        let (collector, address) = Collector::start().await;
        let mock = mock(1);
        let (bridge, gateway) = start(&mock.bootstrap_servers(), address, "").await;
        let headers = [("traceparent", &*traceparent(true)), WRITE];
        let mut session = gateway.open(endpoint, &headers).await.unwrap();
        let record = ProduceRecord { topic: "t".into(), partition: Some(0), ..ProduceRecord::default() };
        let produce = CmdKafkaProduce { records: vec![record; 3], ..CmdKafkaProduce::default() };
        session.ask(1, Req::CmdKafkaProduce(produce)).await;
        assert!(matches!(session.next().await.unwrap().resp, Some(Resp::KafkaProduceResp(_))));
        session.ask(2, fetch()).await;
        assert!(matches!(session.next().await.unwrap().resp, Some(Resp::KafkaFetchResp(_))));
        // Queued spans are exported at the end.
        bridge.drain().await;

        let operation = [("messaging.operation.type", "send"), ("messaging.batch.message_count", "3")];
        let log = [("messaging.destination.name", "t"), ("messaging.destination.partition.id", "0")];
        let (produce, _) = collector.check("produce", GATEWAY, SpanKind::Server, &operation).await;
        collector.check("Produce", &produce, SpanKind::Producer, &operation).await;
        let (fetch, _) = collector.check("fetch", GATEWAY, SpanKind::Server, &log).await;
        collector.check("Fetch", &fetch, SpanKind::Client, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_id_joins_error_and_trace() {
    let (collector, address) = Collector::start().await;
    let (bridge, gateway) = start(&closed_port().await.to_string(), address, "").await;
    for sampled in [false, true] {
        let (status, problem) = get(&gateway, "/topics/t/partitions/0/offsets", Some(sampled)).await;
        assert_eq!((status, problem["trace_id"].as_str()), (503, Some(TRACE)));
    }
    let name = "GET /topics/{topic}/partitions/{partition}/offsets";
    let (_, status) = collector.check(name, GATEWAY, SpanKind::Server, &[("error.type", "503")]).await;
    assert_eq!(status, StatusCode::Error);
    let error = failed_fetch(&gateway, &[("traceparent", &traceparent(true))]).await;
    assert_eq!(error.trace_id, TRACE);
    collector.check("fetch", GATEWAY, SpanKind::Server, &[("error.type", "UNREACHABLE")]).await;
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bridge_begins_traces_that_the_gateway_leaves_open() {
    let (collector, address) = Collector::start().await;
    let (bridge, gateway) = start(&closed_port().await.to_string(), address, "sample_ratio = 1").await;
    let (_, problem) = get(&gateway, "/topics", None).await;
    let http = collector.span("GET /topics").await;
    assert_eq!(problem["trace_id"], hex(&http.trace_id));
    assert!(http.parent_span_id.is_empty(), "{http:?}");
    // Each command of a session is a trace of its own.
    let error = failed_fetch(&gateway, &[]).await;
    let span = collector.span("fetch").await;
    assert_eq!(error.trace_id, hex(&span.trace_id));
    assert_ne!(span.trace_id, http.trace_id);
    bridge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_or_silent_collector_affects_no_request() {
    // The kernel accepts connections to it, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for collector in [closed_port().await, silent.local_addr().unwrap()] {
        let mock = mock(1);
        let (bridge, gateway) = start(&mock.bootstrap_servers(), collector, "").await;
        for _ in 0..20 {
            assert_eq!(get(&gateway, "/topics", Some(true)).await.0, 200);
        }
        let dropped = async || metric(&bridge, "sluicegate_trace_spans_dropped_total").await >= 20;
        becomes("dropped spans", true, WITHIN, dropped).await;
        get(&gateway, "/topics", Some(true)).await;
        timeout(WITHIN, bridge.drain()).await.expect("the bridge does not wait for the collector");
    }
}

#[tokio::test]
async fn nothing_is_counted_without_a_collector() {
    let bridge = start_before(closed_port().await, "", "").await;
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(!metrics.contains("sluicegate_trace_spans"), "{metrics}");
}
